//! `[routes.NAME.webhook.signing]`: what is refused, and in which words.

use super::{ROUTE, given};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The only mistake that is in `lines` of the section, without the key's beginning and the place.
fn mistake(lines: &str) -> String {
    let error = given(&format!("{ROUTE}[routes.todos.webhook.signing]\n{lines}\n")).error();
    let error = error.strip_prefix("routes.todos.webhook.").unwrap_or(&error);
    error.split(" (in ").next().unwrap_or_default().to_owned()
}

#[test]
fn a_key_is_needed_that_can_sign() {
    let none = "expected a key, such as [….webhook.signing.keys.current] with secret_file; broadcaster keys new makes one";
    assert_eq!(mistake("scheme = \"github\""), format!("signing.keys: {none}"));
    let missing = mistake("keys.a.until = \"2900-01-01T00:00:00Z\"");
    assert!(missing.starts_with("signing.keys.a.secret_file is missing: "), "{missing}");
    let wrong = mistake("keys.a.secret = \"hunter2\"");
    assert_eq!(wrong, "signing.keys.a.secret: expected a key that begins with whsec_ or whsk_");
    let name = mistake("keys.A.secret = \"x\"\nscheme = \"slack\"");
    assert!(name.starts_with("signing.keys.A: expected 1 to 64 of a-z, 0-9, _ and -"), "{name}");
    let until = mistake(&format!("keys.a = {{ secret = \"{KEY}\", until = \"tomorrow\" }}"));
    let expected = "expected a time in UTC such as \"2027-01-31T00:00:00Z\", not \"tomorrow\"";
    assert_eq!(until, format!("signing.keys.a.until: {expected}"));
}

#[test]
fn keys_that_have_all_ended_are_a_mistake_and_those_that_will_a_notice() {
    let ended = mistake(&format!("keys.a = {{ secret = \"{KEY}\", until = \"2001-01-01T00:00:00Z\" }}"));
    assert_eq!(ended, "signing.keys: expected a key that has not ended: nothing is sent unsigned");
    let notices = |keys: &str| {
        given(&format!("{ROUTE}[routes.todos.webhook.signing]\n{keys}\n")).load().routes[0]
            .notices()
            .join("\n")
    };
    let ending = format!("keys.a = {{ secret = \"{KEY}\", until = \"2900-01-01T00:00:00Z\" }}");
    let expected =
        "nothing is sent any more after 2900-01-01T00:00:00Z, when the last key of webhook.signing ends";
    assert!(notices(&ending).contains(expected));
    assert!(!notices(&format!("{ending}\nkeys.b.secret = \"{KEY}\"")).contains("signing"));
}

#[test]
fn where_there_is_room_for_one_signature_it_is_clear_whose_it_is() {
    let keys = "scheme = \"github\"\nkeys.a.secret = \"a\"\nkeys.b.secret = \"b\"";
    let error = mistake(keys);
    assert!(error.starts_with("signing.keys: expected until, another one at each key but one"), "{error}");
    let lines = format!("{keys}\nkeys.a.until = \"2900-01-01T00:00:00Z\"");
    given(&format!("{ROUTE}[routes.todos.webhook.signing]\n{lines}\n")).load();
}

#[test]
fn a_convention_is_described_whole_and_only_where_it_is_chosen() {
    let custom = |lines: &str| mistake(&format!("scheme = \"custom\"\nkeys.a.secret = \"a\"\n{lines}"));
    assert!(custom("").starts_with("signing.header is missing: "));
    for (lines, expected) in [
        (
            "header = \"a b\"",
            "signing.header: expected the name of a header such as \"X-Signature\", not \"a b\"",
        ),
        ("header = \"Webhook-Id\"", "signing.header: expected another header: this one says something else"),
        (
            "header = \"Content-Type\"",
            "signing.header: expected another header: this one says something else",
        ),
        ("header = \"ce-id\"", "signing.header: expected another header: this one says something else"),
        (
            "header = \"x\"\ntimestamp_header = \"X\"",
            "signing.timestamp_header: expected another header than the one of the signature",
        ),
        (
            "header = \"x\"\nsigned = \"{id}\"",
            "signing.signed: expected {body} in it: else anybody could change the body",
        ),
        (
            "header = \"x\"\nsigned = \"{timestamp}.{body}\"",
            "signing.signed: expected a timestamp_header, or {timestamp} in lead: a receiver can't guess what was signed",
        ),
        (
            "header = \"x\"\nsigned = \"{id}{body}\"",
            "signing.signed: expected a sign such as . or : between {id}, {timestamp} and {body}, and no %",
        ),
        ("header = \"x\"\nlead = \"{body}\"", "signing.lead: expected no {body} in it"),
        ("header = \"x\"\nprefix = \"é\"", "signing.prefix: expected ASCII text, not \"é\""),
    ] {
        assert_eq!(custom(lines), expected, "{lines}");
    }
    let error = mistake(&format!("keys.a.secret = \"{KEY}\"\nprefix = \"a\""));
    assert_eq!(error, "signing.prefix: expected scheme = \"custom\" beside this");
}

#[test]
fn the_headers_of_a_signature_are_set_by_nobody_else() {
    let page = |scheme: &str, header: &str| {
        format!(
            "{ROUTE}headers.{header} = \"a\"\n[routes.todos.webhook.signing]\nscheme = \"{scheme}\"\nkeys.a.secret = \"a\"\n"
        )
    };
    for (scheme, header) in [("github", "x-hub-signature-256"), ("slack", "x-slack-request-timestamp")] {
        let error = given(&page(scheme, header)).error();
        let expected = "expected another header: webhook.signing sets this one";
        assert!(error.starts_with(&format!("routes.todos.webhook.headers.{header}: {expected}")), "{error}");
    }
    given(&page("github", "x-other")).load();
    let login = "auth.bearer.token = \"t\"\nsigning.keys.a.secret = \"a\"\nsigning.scheme = \"custom\"\n";
    let error = given(&format!("{ROUTE}{login}signing.header = \"Authorization\"\n")).error();
    let expected = "expected no signature in the header authorization beside it: both set that";
    assert!(error.starts_with(&format!("routes.todos.webhook.auth: {expected}")), "{error}");
}
