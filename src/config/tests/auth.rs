//! What logs in to a webhook: one way, whole, and what is wrong is said with its key and its place.

use secrecy::ExposeSecret as _;

use super::{ROUTE, given, no_file};
use crate::config::{ClientAuth, Config, WebhookAuth};

const AUTH: &str = "routes.todos.webhook.auth";

/// The mistake in a route with these lines below `auth`.
fn mistake(lines: &str) -> String {
    given(&format!("{ROUTE}{lines}\n")).error()
}

fn auth(config: &Config) -> &WebhookAuth {
    config.routes[0].webhook.auth.as_ref().expect("it logs in")
}

#[test]
fn there_is_one_way_to_log_in() {
    let basic = "auth.basic = { user = \"u\", password = \"p\" }";
    for (lines, expected) in [
        ("auth = {}".to_owned(), ": expected one of the sections basic, bearer, oauth2, aws"),
        ("auth.digest = {}".to_owned(), ".digest: unknown key, expected one of basic, bearer, oauth2, aws"),
        (
            format!("{basic}\nauth.bearer.token = \"t\""),
            ".bearer: expected one way to log in, and basic is set too",
        ),
        (
            format!("{basic}\nheaders.Authorization = \"x\""),
            ": expected no header authorization in webhook.headers beside it: both log in",
        ),
    ] {
        let errors = given(&format!("{ROUTE}{lines}\n")).errors();
        let wanted = format!("{AUTH}{expected}");
        assert!(errors.iter().any(|error| error.starts_with(&wanted)), "{lines}: {errors:#?}");
    }
}

#[test]
fn what_cannot_be_sent_is_refused() {
    for (lines, expected) in [
        ("auth.basic = { user = \"u:v\", password = \"p\" }", ".basic.user: expected a user without a colon"),
        ("auth.basic.user = \"u\"", ".basic.password: is missing"),
        ("auth.basic.password = \"p\"", ".basic.user: is missing"),
        ("auth.bearer = {}", ".bearer.token: is missing"),
        (
            "auth.bearer.token = \"Bearer t\"",
            ".bearer.token: expected the token alone, without the word Bearer",
        ),
        ("auth.bearer.token = \"a b\"", ".bearer.token: expected a token of visible ASCII letters"),
        ("auth.bearer.token = \"ä\"", ".bearer.token: expected a token of visible ASCII letters"),
        (
            "auth.aws = { region = \"r\", service = \"s\", access_key_id = \"a\" }",
            ".aws.secret_access_key: is missing",
        ),
        (
            "auth.aws = { region = \"a/b\", service = \"s\", access_key_id = \"a\", secret_access_key = \"s\" }",
            ".aws.region: expected a name such as",
        ),
        ("auth.oauth2.client_id = \"c\"", ".oauth2.token_url: is missing"),
        ("auth.oauth2.token_url = \"https://login/\"", ".oauth2.client_id: is missing"),
    ] {
        let error = mistake(lines);
        let expected = expected.replace(": is missing", " is missing");
        assert!(error.starts_with(&format!("{AUTH}{expected}")), "{lines}: {error}");
    }
    let oauth2 = |more: &str| mistake(&format!("auth.oauth2 = {{ client_id = \"c\", {more} }}"));
    for (more, expected) in [
        (
            "token_url = \"https://u:p@login/\"",
            "token_url: expected no user or password in the URL: set client_id",
        ),
        ("token_url = \"login/token\"", "token_url: expected a URL"),
        ("token_url = \"http://a/\", client_auth = \"jwt\"", "client_auth: expected \"basic\" or \"body\""),
        (
            "token_url = \"http://a/\", parameters = { scope = \"a\" }",
            "parameters.scope: expected another parameter",
        ),
        ("token_url = \"http://a/\", tls = { system_roots = false }", "tls.system_roots: expected a ca_file"),
    ] {
        let error = oauth2(more);
        assert!(error.starts_with(&format!("{AUTH}.oauth2.{expected}")), "{more}: {error}");
    }
}

#[test]
fn a_token_in_a_file_is_looked_at_when_it_is_loaded() {
    let given = given(ROUTE);
    let path = given.beside("token", "not a token\n");
    let error = given.flag(&format!("{AUTH}.bearer.token_file"), path.to_str().unwrap(), "--set").error();
    let expected = format!(
        "{AUTH}.bearer.token_file: expected a token of visible ASCII letters, without blanks in DIR/token"
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn what_logs_in_is_read_whole() {
    let basic =
        given(&format!("{ROUTE}auth.basic = {{ user = \"Aladdin\", password = \"open sesame\" }}\n")).load();
    let WebhookAuth::Basic(basic) = auth(&basic) else { panic!("a user") };
    // The example of RFC 7617.
    let header = basic.header(basic.password.secret().expose_secret());
    assert!(header == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==" && header.is_sensitive());
    let settings = [
        ("token_url", "https://login.example.com/token"),
        ("client_id", "c"),
        ("client_secret", "s3cret"),
        ("scope", "a b"),
        ("parameters.resource", "s3cret"),
    ];
    let url = "https://example.com/";
    let flags = settings.into_iter().fold(no_file().var("WEBHOOK_URL", url), |given, (key, value)| {
        given.flag(&format!("routes.default.webhook.auth.oauth2.{key}"), value, "--set")
    });
    let config = flags.load();
    let WebhookAuth::Oauth2(oauth2) = auth(&config) else { panic!("a client") };
    assert_eq!((oauth2.client_auth, oauth2.scope.as_deref()), (ClientAuth::Basic, Some("a b")));
    assert_eq!(oauth2.parameters["resource"].expose_secret(), "s3cret");
    for text in [config.to_toml(), format!("{config:?}")] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}
