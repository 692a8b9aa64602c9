//! What is no mistake, but hardly meant: said by `check`, and at each start.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use testkit::{daemon::Daemon, daemon::run, nats::NatsServer, webhook::Webhook};

use super::{file, stderr};

const SOON: Duration = Duration::from_secs(60);

/// What `check` says beside what it prints, after a good end.
fn warnings(arguments: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let output = run(&[&["check"], arguments].concat(), env);
    let said = stderr(&output);
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("warning: "), "it is no TOML then");
    said.lines().map(str::to_owned).collect()
}

const URL: (&str, &str) = ("WEBHOOK_URL", "http://127.0.0.1/");

#[test]
fn a_secret_among_the_options_is_said_and_not_shown() {
    for (arguments, flag, instead) in [
        (&["--webhook-url", "http://127.0.0.1/SECRET"][..], "--webhook-url", "WEBHOOK_URL"),
        (&["--webhook-url=https://hooks.example/?key=SECRET"], "--webhook-url", "url_file"),
        (&["--nats-url", "nats://u:SECRET@127.0.0.1"], "--nats-url", "NATS_URL"),
        (&["--set", "nats.token=SECRET"], "--set", "BROADCASTER__NATS__TOKEN"),
        (&["--set", "nats.user=u", "--set", "nats.password=SECRET"], "--set", "nats.password_file"),
        (&["--set", "routes.default.webhook.headers.authorization=SECRET"], "--set", "headers_file"),
    ] {
        let said = warnings(arguments, &[URL]);
        let [line] = &said[..] else { panic!("{arguments:?}: {said:#?}") };
        assert!(line.contains(&format!("(in flag {flag})")) && line.contains(instead), "{line}");
        assert!(!line.contains("SECRET"), "{line}");
    }
    assert_eq!(warnings(&["--nats-url", "nats://127.0.0.1", "--log-level", "debug"], &[URL]), [""; 0]);
}

#[test]
fn every_command_says_so() {
    let option = ["--nats-url", "nats://u:SECRET@127.0.0.1:1"];
    // It fails, without anything to look at; what it was given was visible all the same.
    let output = run(&[&["dead-letters", "list"][..], &option].concat(), &[URL, ("NATS_USER", "u")]);
    let said = stderr(&output);
    assert!(said.starts_with("warning: nats.url: everybody on this machine can see"), "{said}");
    assert!(!said.contains("SECRET") && !said.contains("NATS_USER"), "{said}");
}

#[tokio::test]
async fn the_daemon_says_all_of_it_at_its_start() {
    let hook = Webhook::start();
    let nats = NatsServer::start().await;
    let mut daemon = Daemon::new()
        .env("NATS_URL", nats.url())
        .env("NATS_USER", "somebody")
        .env("BROADCASTER_NATS_TOKEN", "SECRET")
        .arg("--subject=*.>")
        .arg(format!("--webhook-url={}/SECRET", hook.url()))
        .start_ready()
        .await;
    for text in [
        "NATS_USER is not read: set BROADCASTER__NATS__USER",
        "BROADCASTER_NATS_TOKEN is not read: set BROADCASTER__NATS__TOKEN",
        "everybody on this machine can see the options of a process: set it by WEBHOOK_URL",
        "also receives _INBOX.>",
    ] {
        let line = daemon.wait_log(text, SOON).await;
        assert!(line.contains("\"WARN\"") && !line.contains("SECRET"), "{line}");
        assert_eq!(daemon.logs_containing(text).len(), 1, "{text}");
    }
    daemon.stop().await;
}

#[test]
fn what_the_nats_command_reads_is_not_ignored_in_silence() {
    let ignored = [
        ("NATS_USER", "u", "BROADCASTER__NATS__USER"),
        ("NATS_PASSWORD", "SECRET", "BROADCASTER__NATS__PASSWORD"),
        ("NATS_CREDS", "/x.creds", "BROADCASTER__NATS__CREDENTIALS_FILE"),
        ("nats_url", "nats://x", "NATS_URL"),
        ("BROADCASTER_LOG_LEVEL", "debug", "BROADCASTER__LOG__LEVEL"),
    ];
    for (name, value, instead) in ignored {
        let expected = format!("warning: {name} is not read: set {instead}");
        assert_eq!(warnings(&[], &[URL, (name, value)]), [expected]);
    }
}

#[test]
fn a_file_with_a_secret_that_everybody_may_read_is_said() {
    let text = "[routes.a.webhook]\nurl = \"http://127.0.0.1/\"\nheaders.x-api-key = \"SECRET\"\n";
    let (directory, path) = file(text);
    assert_eq!(warnings(&["--config", &path], &[]), [""; 0]);
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let said = warnings(&["--config", &path], &[]);
    let [line] = &said[..] else { panic!("{said:#?}") };
    assert!(line.contains("routes.a.webhook.headers_file.x-api-key") && line.contains(&path), "{line}");
    assert!(!line.contains("SECRET"), "{line}");
}
