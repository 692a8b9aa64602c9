//! Secrets that others on the machine can see.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{Given, ROUTE, given};

#[test]
fn a_secret_on_the_command_line_is_said() {
    let url = "routes.todos.webhook.url";
    let instead_of_url = "BROADCASTER__ROUTES__TODOS__WEBHOOK__URL, or routes.todos.webhook.url_file";
    let instead_of_login = "NATS_URL, or nats.password_file or nats.token_file";
    for (key, value, instead) in [
        ("nats.token", "s3cret", "BROADCASTER__NATS__TOKEN, or nats.token_file"),
        ("nats.url", "nats://a,tls://u:s3cret@b", instead_of_login),
        ("nats.url", "nats://s3cret@a", instead_of_login),
        (url, "https://example.com/s3cret", instead_of_url),
        (url, "https://example.com?s3cret", instead_of_url),
        (
            "routes.todos.webhook.egress.proxy",
            "http://u:s3cret@proxy.example",
            "BROADCASTER__ROUTES__TODOS__WEBHOOK__EGRESS__PROXY, or routes.todos.webhook.egress.proxy_file",
        ),
        (
            "routes.todos.webhook.headers.x-a",
            "s3cret",
            "BROADCASTER__ROUTES__TODOS__WEBHOOK__HEADERS__X-A, or routes.todos.webhook.headers_file.x-a",
        ),
        ("tracing.headers.x-a", "s3cret", "BROADCASTER__TRACING__HEADERS__X-A, or tracing.headers_file.x-a"),
    ] {
        let endpoint = if key.starts_with("tracing") { "[tracing]\nendpoint = \"http://a\"\n" } else { "" };
        let warnings = given(&format!("{ROUTE}{endpoint}")).flag(key, value, "--flag").warnings();
        let expected = format!(
            "{key}: everybody on this machine can see the options of a process: set it by {instead} (in flag --flag)"
        );
        assert_eq!(warnings, [expected]);
    }
}

#[test]
fn what_is_no_secret_may_stand_there() {
    for (key, value) in [
        ("nats.url", "nats://a,tls://b"),
        ("routes.todos.webhook.url", "https://example.com/"),
        ("routes.todos.webhook.timeout", "5s"),
        ("routes.todos.webhook.egress.proxy", "http://proxy.example:3128"),
        ("routes.todos.subject", "todos.tokens"),
    ] {
        assert_eq!(given(ROUTE).flag(key, value, "--set").warnings(), Vec::<String>::new(), "{key}");
    }
    // Only the process itself sees its environment.
    let variable = given(ROUTE).var("BROADCASTER__NATS__TOKEN", "s3cret");
    assert_eq!(variable.warnings(), Vec::<String>::new());
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file that everybody may read, and gets to.
fn open_to_all(file: &str) -> Given {
    let given = given(file);
    set_mode(given.folder.path(), 0o755);
    set_mode(&given.folder.path().join("config.toml"), 0o644);
    given
}

const SECRETS: &str = "[nats]\nuser = \"u\"\npassword = \"s3cret\"\n[routes.a.webhook]\n\
     url = \"https://hooks.example/services/T0000000/XXXXXXXXXXXX1234\"\nheaders.Authorization = \"s3cret\"\n";

#[test]
fn a_file_with_secrets_that_everybody_may_read_is_said() {
    assert_eq!(
        open_to_all(SECRETS).warnings(),
        ["everybody on this machine may read this file, and it has secrets: nats.password, \
             routes.a.webhook.headers.Authorization, routes.a.webhook.url. Take the permission away (chmod o-r), or name \
             files that hold them: nats.password_file, routes.a.webhook.headers_file.Authorization, \
             routes.a.webhook.url_file (in DIR/config.toml)"]
    );
}

#[test]
fn nothing_is_said_of_a_file_that_others_do_not_get_to() {
    let hidden = open_to_all(SECRETS);
    set_mode(hidden.folder.path(), 0o700);
    assert_eq!(hidden.warnings(), Vec::<String>::new());
    let closed = open_to_all(SECRETS);
    set_mode(&closed.folder.path().join("config.toml"), 0o640);
    assert_eq!(closed.warnings(), Vec::<String>::new());
    let in_a_pod = open_to_all(SECRETS).var("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert_eq!(in_a_pod.warnings(), Vec::<String>::new());
    let plain =
        "[routes.a.webhook]\nurl = \"http://todos.internal/api/v1/todos\"\nheaders.accept = \"*/*\"\n";
    assert_eq!(open_to_all(plain).warnings(), Vec::<String>::new());
}
