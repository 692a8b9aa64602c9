//! The command line: help, versions, `check`, and what is said about mistakes.

mod fleet;
mod listen;
mod mistakes;
mod operate;
mod send;
mod warnings;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use testkit::daemon::run;

/// What the program writes to its standard output, after a good end.
fn stdout_of(arguments: &[&str], env: &[(&str, &str)]) -> String {
    let output = run(arguments, env);
    assert!(output.status.success(), "{arguments:?} ended with {}: {}", output.status, stderr(&output));
    assert_eq!(stderr(&output), "", "{arguments:?}");
    String::from_utf8(output.stdout).expect("the program writes text")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file with this text, in a directory that goes with the test.
pub(crate) fn file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).expect("the directory is writable");
    // Some of what is in there is a secret.
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    let path = path.to_str().expect("the path is text").to_owned();
    (directory, path)
}

#[test]
fn help_says_how_to_use_it() {
    for flag in ["--help", "-h", "help"] {
        let help = stdout_of(&[flag], &[]);
        for word in [
            "Usage: broadcaster",
            "check",
            "--config",
            "--set",
            "WEBHOOK_URL",
            "BROADCASTER__",
            "78",
            "--version",
        ] {
            assert!(help.contains(word), "{flag} does not mention {word}: {help}");
        }
    }
    assert!(stdout_of(&["check", "--help"], &[]).contains("--config"));
}

#[test]
fn the_version_has_the_commit() {
    for flag in ["--version", "-V"] {
        let line = stdout_of(&[flag], &[]);
        let version = concat!("broadcaster ", env!("CARGO_PKG_VERSION"), " (");
        let commit = line.strip_prefix(version).and_then(|rest| rest.strip_suffix(")\n"));
        let commit = commit.unwrap_or_else(|| panic!("{line:?} does not begin with {version:?}"));
        let hash = commit.trim_end_matches('+');
        let is_hash = hash.len() >= 9 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hash || commit == "unknown", "no commit: {line:?}");
    }
}

#[test]
fn a_webhook_url_is_enough() {
    let printed = stdout_of(&["check"], &[("WEBHOOK_URL", "http://127.0.0.1:8080/todos")]);
    for line in [
        "[routes.default]",
        "url = \"nats://127.0.0.1:4222\"",
        "subject = \"todos.events\"",
        "queue_group = \"broadcaster-workers\"",
        "api = \"[::]:8002\"",
        "metrics = \"[::]:7777\"",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "no {line}: {printed}");
    }
}

#[test]
fn what_kubernetes_puts_into_a_pod_is_no_setting() {
    let url = ("WEBHOOK_URL", "http://127.0.0.1/");
    let injected = [
        url,
        ("BROADCASTER_SVC_PORT", "tcp://10.0.0.1:8002"),
        ("BROADCASTER_SVC_SERVICE_HOST", "10.0.0.1"),
        ("BROADCASTER_PORT_8002_TCP_ADDR", "10.0.0.1"),
        ("BROADCASTER_SERVICE_PORT_API", "8002"),
        ("NATS_PORT", "tcp://10.0.0.2:4222"),
        ("NATS_SERVICE_HOST", "10.0.0.2"),
    ];
    assert_eq!(stdout_of(&["check"], &injected), stdout_of(&["check"], &[url]));
}

/// Everything that can be set, with a secret wherever there may be one.
const FULL: &str = r#"
[log]
level = "debug"
format = "json"
[nats]
url = "nats://127.0.0.1:4222,tls://nats.example"
user = "broadcaster"
password = "SECRET-1"
[runtime]
threads = 2
[shutdown]
grace = "1m 30s"
[routes.b]
subject = "b.*.>"
queue_group = "b"
[routes.b.webhook]
url = "https://hooks.example:8443/SECRET-2?key=SECRET-3"
timeout = "7s"
connect_timeout = "1500ms"
concurrency = 9
[routes.b.webhook.headers]
authorization = "Bearer SECRET-4"
x-odd_name = "SECRET-5"
[routes.b.queue]
messages = 77
bytes = "100KiB"
overflow = "drop_oldest"
[routes.b.retry]
attempts = 3
multiplier = 1.5
jitter = "none"
statuses = ["404", "5xx", "!503"]
[routes.b.rate_limit]
per_second = 10
burst = 2
[routes.b.dead_letter]
subject = "dead.b"
[routes.c]
subject = "c"
webhook = { url = "http://[::1]:9/SECRET-6" }
"#;

#[test]
fn check_prints_what_is_in_effect_and_masks_secrets() {
    let (_directory, path) = file(FULL);
    let printed = stdout_of(&["check", "--config", &path], &[]);
    assert!(!printed.contains("SECRET"), "a secret is shown: {printed}");
    for line in [
        "grace = \"1m 30s\"",
        "connect_timeout = \"1s 500ms\"",
        "url = \"https://hooks.example:8443/…\"",
        "bytes = \"100KiB\"",
        "statuses = [\"404\", \"5xx\", \"!503\"]",
        "[routes.c]",
    ] {
        assert!(printed.contains(line), "no {line}: {printed}");
    }
    // What is masked is refused; with secrets in its place, all of it is what it was.
    let (_directory, again) = file(&printed);
    let output = run(&["check", "--config", &again], &[]);
    assert_eq!(output.status.code(), Some(78));
    for key in ["nats.password", "b.webhook.url", "b.webhook.headers.authorization", "c.webhook.url"] {
        assert!(stderr(&output).contains(&format!("{key}: expected the ")), "{key}: {}", stderr(&output));
    }
    let (_directory, again) = file(&printed.replace("********", "SECRET").replace("/…", "/SECRET"));
    assert_eq!(stdout_of(&["check", "--config", &again], &[]), printed);
}

#[test]
fn a_token_and_a_login_in_a_url_are_masked() {
    for env in [
        ("BROADCASTER__NATS__TOKEN", "SECRET"),
        ("NATS_URL", "nats://SECRET@127.0.0.1:4222"),
        ("NATS_URL", "nats://user:SECRET@127.0.0.1:4222"),
    ] {
        let printed = stdout_of(&["check"], &[("WEBHOOK_URL", "http://127.0.0.1/"), env]);
        assert!(!printed.contains("SECRET"), "{} is shown: {printed}", env.0);
    }
}

#[test]
fn later_layers_win() {
    let (_directory, path) = file("[routes.default]\nsubject = \"file\"\nqueue_group = \"file\"\n");
    let env = [
        ("WEBHOOK_URL", "http://127.0.0.1/"),
        ("BROADCASTER_CONFIG", path.as_str()),
        ("NATS_QUEUE_GROUP", "variable"),
        ("LOG_LEVEL", "warn"),
    ];
    let printed = stdout_of(&["check", "--log-level", "debug"], &env);
    for line in ["subject = \"file\"", "queue_group = \"variable\"", "level = \"debug\""] {
        assert!(printed.contains(line), "no {line}: {printed}");
    }
}

#[test]
fn every_mistake_is_listed_with_its_key_and_place_and_no_secret() {
    let text = "[nats]\ntoken = \"SECRET\"\npassword = \"SECRET\"\n\
                [routes.todos]\nsubject = \"a b\"\nsubjct = \"SECRET\"\n\
                [routes.todos.webhook]\nurl = \"ftp://SECRET\"\ntimeout = \"soon\"\n";
    let (_directory, path) = file(text);
    let env = [("BROADCASTER__SERVER__API", "nowhere"), ("LOG_LEVEL", "loud")];
    for command in [&["check", "--config", &path][..], &["--config", &path]] {
        let output = run(command, &env);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(output.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&output.stdout));
        assert!(!said.contains("SECRET"), "a secret is shown: {said}");
        for (key, place) in [
            ("nats.user", ""),
            ("routes.todos.subject", ":5"),
            ("routes.todos.subjct", ":6"),
            ("routes.todos.webhook.url", ":8"),
            ("routes.todos.webhook.timeout", ":9"),
            ("server.api", "BROADCASTER__SERVER__API"),
            ("log.level", "LOG_LEVEL"),
        ] {
            let line = said.lines().find(|line| line.trim_start().starts_with(key));
            let line = line.unwrap_or_else(|| panic!("{key} is not mentioned: {said}"));
            assert!(line.contains(place), "{key} without its place {place}: {line}");
        }
    }
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_a_wrong_configuration() {
    let (_directory, path) = file("[routes.default]\nsecret = \"SECRET\nx\n");
    let missing = format!("{path}.missing");
    for (path, place) in [(&path, ":2"), (&missing, "--config")] {
        let output = run(&["check", "--config", path], &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(path.as_str()) && said.contains(place), "{said}");
        assert!(!said.contains("SECRET"), "a secret is shown: {said}");
    }
}

#[test]
fn a_wrong_option_is_refused_without_repeating_what_may_be_a_secret() {
    for arguments in [
        &["--set", "SECRET"][..],
        &["--set=SECRET", "check"],
        &["--sett=nats.token=SECRET"],
        &["--webhook-urll=http://x/SECRET"],
        &["http://x/SECRET"],
        &["--set", "nats.token=", "SECRET"],
        &["check", "http://x/SECRET"],
        &["--config"],
        &["deliver"],
    ] {
        let output = run(arguments, &[("WEBHOOK_URL", "http://127.0.0.1/")]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("error: "), "{arguments:?}: {said}");
        assert!(!said.contains("SECRET"), "{arguments:?} is repeated: {said}");
    }
}

#[test]
fn every_file_in_config_passes_check() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = directory.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        // The demo's address is known when the demo runs.
        let url = ("BROADCASTER__ROUTES__TODOS__WEBHOOK__URL", "http://127.0.0.1:8080/todos");
        let printed = stdout_of(&["check", "--config", path.to_str().unwrap()], &[url]);
        assert!(printed.contains("[routes.todos]"), "{}: {printed}", path.display());
    }
}

#[test]
fn check_says_what_a_start_says_of_messages() {
    let printed = stdout_of(&["check"], &[("WEBHOOK_URL", "http://127.0.0.1/")]);
    for notice in ["messages that are given up are dropped", "todos.events, the default subject"] {
        let is_it = |line: &str| line.starts_with("# routes.default: ") && line.contains(notice);
        assert!(printed.lines().any(is_it), "{printed}");
    }
}
