//! Routes out of values of a bucket: the same keys, read by the same code, and what only a file may do.

use std::{fs, os::unix::fs::symlink};

use super::{Given, given, no_file};
use crate::config::{Endpoints, Route, new_key, seal};

const SECTION: &str = "[endpoints]\nbucket = \"broadcaster\"\n";

fn endpoints(given: Given) -> Endpoints {
    given.load().endpoints.expect("it is configured")
}

fn read(endpoints: &Endpoints, value: &str) -> Result<Route, Vec<String>> {
    let name = "todos".parse().unwrap();
    let read = endpoints.route(&name, value.as_bytes(), "routes.todos", 7);
    read.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn a_value_is_the_same_route_as_in_the_file() {
    let value = r#"{
        "subject": "a.>", "queue_group": "g", "jetstream": null,
        "webhook": { "url": "https://h/x", "timeout": "7s", "concurrency": 3, "headers": { "x-a": "b" } },
        "retry": { "statuses": [409, "5xx"], "multiplier": 3.5 }, "breaker": { "enabled": false }
    }"#;
    let file = "[routes.todos]\nsubject = \"a.>\"\nqueue_group = \"g\"\n[routes.todos.webhook]\nurl = \"https://h/x\"\n\
                timeout = \"7s\"\nconcurrency = 3\nheaders = { x-a = \"b\" }\n[routes.todos.retry]\n\
                statuses = [409, \"5xx\"]\nmultiplier = 3.5\n[routes.todos.breaker]\nenabled = false\n";
    let route = read(&endpoints(given(SECTION)), value).unwrap();
    assert_eq!(route, given(file).load().routes[0]);
}

#[test]
fn a_mistake_has_its_key_and_its_revision_and_shows_no_secret() {
    let endpoints = endpoints(given(SECTION));
    let place = "(in routes.todos@7 of bucket broadcaster)";
    for (value, problem) in [
        ("", format!("expected JSON, at line 1, column 0 {place}")),
        ("[1]", format!("expected a JSON object {place}")),
        ("{}", format!("routes.todos.webhook.url: is missing {place}")),
        (
            r#"{"webhook": {"url": "s3cret"}}"#,
            format!(
                "routes.todos.webhook.url: expected an address such as \"https://example.com/hook\" {place}"
            ),
        ),
        (r#"{"webhook": {"url": "http://h/"}, "routes": {}}"#, "routes.todos.routes: unknown key".to_owned()),
        (
            r#"{"webhook": {"url": "http://h/"}, "subject": "a.>", "dead_letter": {"subject": "a.b"}}"#,
            "routes.todos.dead_letter.subject: expected a subject that no route receives".to_owned(),
        ),
    ] {
        let errors = read(&endpoints, value).unwrap_err();
        let start = problem.split(" an address").next().unwrap_or_default();
        assert!(errors.iter().any(|error| error.starts_with(start)), "{errors:?} and not {problem}");
        assert!(errors.iter().all(|error| !error.contains("s3cret")), "{errors:?}");
    }
    let long = format!("{{\"subject\": \"{}\"}}", "a".repeat(300 << 10));
    assert_eq!(
        read(&endpoints, &long).unwrap_err(),
        [format!("expected a value of at most 256 KiB {place}")]
    );
}

#[test]
fn a_value_names_only_files_of_the_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::write(folder.join("secret"), "t0ken").unwrap();
    let inner = folder.join("inner");
    fs::create_dir_all(inner.join("..data")).unwrap();
    fs::write(inner.join("..data/token"), "t0ken").unwrap();
    symlink("..data/token", inner.join("token")).unwrap();
    symlink("../secret", inner.join("out")).unwrap();
    let with_folder =
        endpoints(given(SECTION).flag("endpoints.secrets_dir", inner.to_str().unwrap(), "--set"));
    let value = |file: &str| {
        format!(r#"{{"webhook": {{"url": "http://h/", "headers_file": {{"x-token": {file:?}}}}}}}"#)
    };
    // A link within the folder, as Kubernetes mounts secrets.
    read(&with_folder, &value("token")).unwrap();
    let absolute = folder.join("secret");
    for file in ["out", "../secret", absolute.to_str().unwrap(), "./token", ""] {
        let errors = read(&with_folder, &value(file)).unwrap_err();
        assert!(
            errors[0].contains("expected the name of a file in endpoints.secrets_dir"),
            "{file}: {errors:?}"
        );
    }
    let without = endpoints(given(SECTION));
    let errors = read(&without, &value("token")).unwrap_err();
    assert!(errors[0].contains("the operator has set no endpoints.secrets_dir"), "{errors:?}");
}

const LIMITS: &str = "[endpoints.limits]\ndeny_private = true\nsubjects = [\"acme.>\", \"shared\"]\nconcurrency = 8\n\
                      messages = 100\nbytes = \"1MiB\"\n";

#[test]
fn what_a_value_leaves_out_is_within_the_limits() {
    let limited = endpoints(given(&format!("{SECTION}{LIMITS}")));
    let route =
        read(&limited, r#"{"subject": "acme.a", "webhook": {"url": "https://example.com/"}}"#).unwrap();
    assert!(route.webhook.egress.deny_private);
    assert_eq!(route.webhook.concurrency.most().get(), 8);
    for bounds in [route.queue.bounds, route.retry.bounds] {
        assert_eq!((bounds.messages.get(), bounds.bytes.get()), (100, 1 << 20));
    }
    let adaptive = r#"{"subject": "shared", "webhook": {"url": "https://example.com/", "concurrency": "adaptive"},
        "retry": {"messages": 7}, "dead_letter": {"subject": "acme.dead"}}"#;
    let route = read(&limited, adaptive).unwrap();
    assert_eq!((route.webhook.concurrency.most().get(), route.retry.bounds.messages.get()), (8, 7));
    // A limit that is above what holds without it changes nothing.
    let wide = "[endpoints.limits]\nconcurrency = 1000\nmessages = 1000000\nbytes = \"1GiB\"\n";
    let value = r#"{"webhook": {"url": "https://example.com/"}}"#;
    let (wide, without) = (endpoints(given(&format!("{SECTION}{wide}"))), endpoints(given(SECTION)));
    assert_eq!(read(&wide, value), read(&without, value));
}

#[test]
fn what_is_beyond_a_limit_is_named_with_what_is_right() {
    let limited = endpoints(given(&format!("{SECTION}{LIMITS}")));
    let place = "(in routes.todos@7 of bucket broadcaster)";
    let value = r#"{
        "subject": "globex.a", "dead_letter": {"subject": "globex.dead"},
        "webhook": {"url": "https://example.com/", "concurrency": 9,
            "egress": {"deny_private": true, "allow": ["10.0.0.0/8"], "proxy": "http://proxy:3128"}},
        "queue": {"messages": 101}, "retry": {"bytes": "2MiB"}
    }"#;
    let by = "as the operator has set endpoints.limits";
    let within = format!("a subject within acme.>, shared, {by}.subjects");
    let wanted = [
        ("webhook.egress.allow", format!("no exceptions, {by}.deny_private")),
        ("webhook.egress.proxy", format!("no proxy of your own, {by}.deny_private")),
        ("webhook.concurrency", format!("8 at most, {by}.concurrency")),
        ("queue.messages", format!("100 at most, {by}.messages")),
        ("retry.bytes", format!("1048576 at most, {by}.bytes")),
        ("subject", within.clone()),
        ("dead_letter.subject", within),
    ];
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(key, expected)| format!("routes.todos.{key}: expected {expected} {place}"))
        .collect();
    assert_eq!(read(&limited, value).unwrap_err(), wanted);
    let value =
        r#"{"subject": "acme.a", "webhook": {"url": "https://h/", "egress": {"deny_private": false}}}"#;
    let expected = format!("true, {by}.deny_private {place}");
    assert_eq!(
        read(&limited, value).unwrap_err(),
        [format!("routes.todos.webhook.egress.deny_private: expected {expected}")]
    );
    let private = r#"{"subject": "acme.a", "webhook": {"url": "http://10.0.0.7/"}}"#;
    assert!(
        read(&limited, private).unwrap_err()[0].contains("10.0.0.7"),
        "an address of its own is refused, too"
    );
}

#[test]
fn a_value_takes_nothing_that_is_kept_for_somebody_else() {
    let section = format!("{SECTION}[service]\naccess = \"read\"\n[history]\nsubject = \"audit.attempts\"\n");
    let endpoints = endpoints(given(&section));
    let read = |subject: &str| {
        read(&endpoints, &format!(r#"{{"subject": {subject:?}, "webhook": {{"url": "https://h/"}}}}"#))
    };
    for subject in [
        "$KV.broadcaster.>",
        "$KV.broadcaster.routes.a",
        "$JS.>",
        "$JS.API.STREAM.DELETE.*",
        "$SYS.REQ.>",
        "_INBOX.>",
        "broadcaster.handover.>",
        "broadcaster.service.act.*",
        "audit.attempts",
        "audit.*",
        "broadcaster.>",
        "*.service.>",
        ">",
    ] {
        let problem = &read(subject).unwrap_err()[0];
        assert!(problem.contains("kept for") || problem.contains("also receives"), "{subject}: {problem}");
    }
    for subject in ["todos.>", "$KV.other.>", "broadcaster.events", "audit.others"] {
        read(subject).unwrap();
    }
    // In the file it is the operator who has decided that.
    let file = "[routes.a]\nsubject = \"broadcaster.>\"\nwebhook.url = \"http://h/\"\n";
    assert_eq!(given(&format!("{SECTION}{file}")).load().routes.len(), 1);
    let error =
        given(&format!("{SECTION}{}", file.replace("broadcaster.>", "$KV.broadcaster.routes.*"))).error();
    assert!(error.contains("kept for the bucket of endpoints"), "{error}");
}

#[test]
fn what_is_sealed_in_a_value_is_read_as_if_it_stood_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity");
    let (seed, public) = new_key().unwrap();
    fs::write(&file, seed).unwrap();
    let with_identity =
        endpoints(given(SECTION).flag("endpoints.identity_file", file.to_str().unwrap(), "--set"));
    let name = "todos".parse().unwrap();
    let sealed = |secret: &str| format!(r#"{{"sealed": {:?}}}"#, seal(secret, &name, &public).unwrap());
    let value = |url: &str, token: &str| {
        format!(
            r#"{{"webhook": {{"url": {url}, "headers": {{"sealed": "a"}}, "auth": {{"bearer": {{"token": {token}}}}}}}}}"#
        )
    };
    let plain = read(&with_identity, &value(r#""https://h/s3cret""#, r#""t0ken""#)).unwrap();
    assert_eq!(read(&with_identity, &value(&sealed("https://h/s3cret"), &sealed("t0ken"))).unwrap(), plain);
    let errors = read(&endpoints(given(SECTION)), &value(r#""https://h/""#, &sealed("t0ken"))).unwrap_err();
    assert!(
        errors[0].starts_with("routes.todos.webhook.auth.bearer.token: expected nothing that is sealed"),
        "{errors:?}"
    );
    // A mistake in what was sealed does not show it.
    let errors = read(&with_identity, &value(&sealed("no address: s3cret"), r#""t0ken""#)).unwrap_err();
    assert!(errors.iter().all(|error| !error.contains("s3cret")), "{errors:?}");
}

#[test]
fn with_a_bucket_the_file_needs_no_route() {
    assert!(given(SECTION).load().routes.is_empty());
    assert!(no_file().errors()[0].contains("WEBHOOK_URL"));
    assert_eq!(
        given("[endpoints]\nbucket = \"a.b\"\n").error(),
        "endpoints.bucket: expected 1 to 200 letters, digits, _ and - as the name of a bucket, not \"a.b\" (in DIR/config.toml:2)"
    );
}

/// A key that names files and does not look like it would let a value read any file.
#[test]
fn every_key_that_names_files_ends_so() {
    let sources = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/route")).unwrap();
    let mut folders: Vec<_> = sources.map(|entry| entry.unwrap().path()).collect();
    let mut found = 0;
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in
            text.lines().filter(|line| line.contains("files::named_by") || line.contains("files::secret("))
        {
            // `files::secret(at, "key", "key_file", …)`: the key of the file is the last text.
            let names: Vec<_> = line.split('"').skip(1).step_by(2).collect();
            if let Some(last) = names.last() {
                assert!(last.ends_with("_file"), "{}: {line}", path.display());
                found += 1;
            }
        }
    }
    assert!(found >= 8, "{found}");
}
