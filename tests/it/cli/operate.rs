//! `status`, `routes`, `pause`, `resume`, `reload`, `log-level` and `tail`, against a real daemon.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use testkit::{
    daemon::{self, Daemon, Running},
    nats::NatsServer,
    process::Process,
    stage::Stage,
    terminal::Terminal,
    webhook::Webhook,
};

use super::{listen::publish, stderr};

const SOON: Duration = Duration::from_secs(60);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_daemon_and_its_routes_are_seen() {
    let hook = Webhook::answering([200, 503]);
    let mut stage = Stage::set(&hook.url(), Daemon::without_breaker).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    let url = format!("http://{}", stage.daemon.api());
    let told = |arguments: &[&str]| {
        let output = daemon::run(&[arguments, &["--url", &url]].concat(), &[]);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("it writes text")
    };
    let page = told(&["status"]);
    assert!(page.starts_with("broadcaster ") && page.contains(": ready, generation "), "{page}");
    assert!(page.contains("\n1 routes: ") && page.contains(" default "), "{page}");
    let json: Value = serde_json::from_str(&told(&["status", "--json"])).expect("JSON");
    assert_eq!(json["routes"][0]["messages"]["delivered"], 1, "{json}");
    assert!(!told(&["status", "--search", "nothing"]).contains(" default "));
    assert!(told(&["routes", "ls"]).starts_with("default "));
    let one = told(&["routes", "get", "default"]);
    assert!(one.contains("subject = \"todos.events\""), "{one}");
    let unknown = daemon::run(&["routes", "get", "nobody", "--url", &url], &[]);
    assert_eq!(unknown.status.code(), Some(1), "{}", stderr(&unknown));
    stage.close().await;
    let gone = daemon::run(&["status", "--url", &url], &[]);
    assert_eq!(gone.status.code(), Some(69), "{}", stderr(&gone));
    assert!(stderr(&gone).starts_with("error: cannot reach the daemon at 127.0.0.1:"), "{}", stderr(&gone));
}

#[tokio::test]
async fn the_status_is_watched_on_a_terminal_and_shows_what_changes() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), Daemon::without_breaker).await;
    let url = format!("http://{}", stage.daemon.api());
    let arguments = ["status", "--watch", "--url", &url];
    let terminal = Terminal::start(&arguments, &[("TERM", "xterm"), ("LANG", "C.UTF-8")]);
    // Each look begins at the top of the screen, and clears what is below it.
    let page = terminal.wait(|written| written.matches("\u{1b}[H\u{1b}[J").count() >= 2, SOON).await;
    assert!(page.starts_with("\u{1b}[H\u{1b}[Jbroadcaster "), "{page:?}");
    assert!(page.contains(": \u{1b}[32mready\u{1b}[0m, generation 1\n"), "{page:?}");
    let plain = Terminal::start(&arguments, &[("TERM", "xterm"), ("NO_COLOR", "1"), ("LANG", "C")]);
    let plain_page = plain.wait(|written| written.contains(" default "), SOON).await;
    assert!(plain_page.contains(": ready, ") && plain_page.is_ascii(), "{plain_page:?}");
    stage.publish("1").await;
    terminal.wait(|written| written.contains("delivering "), SOON).await;
    stage.close().await;
    terminal.wait(|written| written.contains("cannot reach the daemon at "), SOON).await;
    for terminal in [terminal, plain] {
        terminal.terminate();
        let (status, _) = terminal.end(SOON).await;
        assert!(!status.success(), "a signal ends it: {status}");
    }
    // A pipe gets neither colours nor a screen.
    let mut stage = Stage::set(&hook.url(), Daemon::without_breaker).await;
    let url = format!("http://{}", stage.daemon.api());
    let piped = daemon::run(&["status", "--url", &url], &[("TERM", "xterm")]);
    assert!(!piped.stdout.contains(&0x1b), "{}", String::from_utf8_lossy(&piped.stdout));
    stage.close().await;
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, status, expected) in [
        (&["status", "--url", "ftp://x"][..], 2, "--url: expected http://"),
        (&["status", "--ca-file", "/none"], 1, "--ca-file: expected certificates in PEM in /none"),
        (
            &["status", "--token-file", "/none"],
            1,
            "--token-file, or BROADCASTER_TOKEN_FILE: cannot read /none: ",
        ),
        (&["status", "--limit", "0"], 2, "1..=500"),
    ] {
        let output = daemon::run(arguments, &[]);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}

/// A daemon whose API takes a token, and the file with the token.
async fn daemon(nats: &NatsServer, hook: &Webhook, role: &str) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(folder.path().join("token"), TOKEN).expect("it is writable");
    let described = Daemon::between(nats, &hook.url()).impatient().without_breaker();
    let described = described.arg("--set").arg(format!("server.tokens.ops.token={TOKEN}"));
    let described = described.arg("--set").arg(format!("server.tokens.ops.role={role}"));
    (described.start_ready().await, folder)
}

/// What the program with these arguments says about `running`.
fn command(running: &Running, folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let url = format!("http://{}", running.api());
    let token = folder.path().join("token");
    let file = ("BROADCASTER_TOKEN_FILE", token.to_str().expect("it is text"));
    daemon::run(&[arguments, &["--url", &url]].concat(), &[file])
}

/// What it writes, after a good end.
fn told(running: &Running, folder: &tempfile::TempDir, arguments: &[&str]) -> String {
    let output = command(running, folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).expect("it writes text")
}

#[tokio::test]
async fn a_route_is_seen_held_and_let_go_on() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let (mut running, folder) = daemon(&nats, &hook, "act").await;
    let page = told(&running, &folder, &["status"]);
    assert!(page.starts_with("broadcaster ") && page.contains(": ready, generation "), "{page}");
    assert!(page.contains("\n1 routes: ") && page.contains(" default "), "{page}");
    let held = told(&running, &folder, &["pause", "default", "--why", "moving house"]);
    assert!(
        held.starts_with("default is held by ops since ") && held.ends_with(": moving house\n"),
        "{held}"
    );
    publish(&nats, "1").await;
    running.wait_metrics(|metrics| metrics.sum("broadcaster_queue_messages", &[]) >= 1.0, SOON).await;
    let page = told(&running, &folder, &["routes", "ls"]);
    assert!(page.starts_with("default ") && page.contains("moving house"), "{page}");
    let one = told(&running, &folder, &["routes", "get", "default"]);
    assert!(one.contains("subject = \"todos.events\""), "{one}");
    assert_eq!(hook.received(), 0);
    assert_eq!(told(&running, &folder, &["routes", "resume", "default"]), "default goes on\n");
    hook.wait_delivered(1, SOON).await;
    let drained = told(&running, &folder, &["drain", "default"]);
    assert!(drained.starts_with("default is drained by ops since "), "{drained}");
    let page = told(&running, &folder, &["routes", "ls"]);
    assert!(page.contains("drained by an operator: nothing is taken from NATS"), "{page}");
    assert_eq!(told(&running, &folder, &["resume", "default"]), "default goes on\n");
    let json: Value = serde_json::from_str(&told(&running, &folder, &["status", "--json"])).expect("JSON");
    assert_eq!(json["routes"][0]["messages"]["received"], 1, "{json}");
    assert_eq!(running.stop().await.delivered, 1);
}

#[tokio::test]
async fn the_daemon_does_what_it_is_told() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let (mut running, folder) = daemon(&nats, &hook, "act").await;
    let reloaded = told(&running, &folder, &["reload"]);
    assert!(reloaded.contains("; no route has changed"), "{reloaded}");
    assert_eq!(told(&running, &folder, &["log-level"]), "info\n");
    let level = told(&running, &folder, &["log-level", "debug", "--for", "5m"]);
    assert!(level.starts_with("debug until ") && level.ends_with(", then info\n"), "{level}");
    let tested = told(&running, &folder, &["routes", "test", "default", "--body", r#"{"a":1}"#]);
    assert!(tested.starts_with("delivered: 200 in "), "{tested}");
    assert_eq!(hook.requests()[0].text(), r#"{"a":1}"#);
    running.stop().await;
}

#[tokio::test]
async fn attempts_are_shown_as_they_happen() {
    let (nats, hook) = (NatsServer::start().await, Webhook::answering([503, 200]));
    let (mut running, folder) = daemon(&nats, &hook, "read").await;
    let mut tail = Command::new(daemon::binary());
    tail.args(["tail", "--json", "--route", "default", "--url", &format!("http://{}", running.api())]);
    tail.arg("--token-file").arg(folder.path().join("token"));
    tail.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tail = Process::spawn("broadcaster tail", &mut tail);
    let mut lines = BufReader::new(tail.take_stdout()).lines();
    // It may begin to listen a moment after it was started: messages follow until one is told of.
    let (told, heard) = std::sync::mpsc::sync_channel(1_000);
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            drop(told.try_send(line));
        }
    });
    let mut first = None;
    while first.is_none() {
        publish(&nats, "1").await;
        first = testkit::poll(Duration::from_millis(200), || heard.try_recv().ok()).await;
    }
    let line: Value = serde_json::from_str(&first.expect("a line")).expect("JSON");
    assert_eq!((&line["route"], &line["subject"]), (&"default".into(), &"todos.events".into()), "{line}");
    running.stop().await;
    assert!(tail.wait(SOON).await.success());
}

#[tokio::test]
async fn who_may_not_or_reaches_nobody_is_told_so() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let (mut running, folder) = daemon(&nats, &hook, "read").await;
    for (arguments, status, expected) in [
        (&["pause", "default"][..], 77, "refused: "),
        (&["reload", "--token-file", "/dev/zero"], 1, "cannot read /dev/zero: it is larger than"),
        (&["reload", "--token-file", "/dev/null"], 1, "which is empty"),
        (
            &["reload", "--token-file", "/none"],
            1,
            "--token-file, or BROADCASTER_TOKEN_FILE: cannot read /none: ",
        ),
        (&["routes", "get", "nobody"], 1, "no route"),
        (&["log-level", "--for", "5m"], 2, "<LEVEL>"),
    ] {
        let output = command(&running, &folder, arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains(TOKEN));
    }
    let gone = format!("http://{}", running.api());
    running.stop().await;
    let output = daemon::run(&["status", "--url", &gone], &[]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: cannot reach the daemon at 127.0.0.1:"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_pipe_gets_json_and_nothing_else() {
    let mut command = Command::new(daemon::binary());
    command.args(["status", "--watch", "--json", "--url", "127.0.0.1:1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watching = command.spawn().expect("it can be run");
    let mut said = String::new();
    let errors = watching.stderr.take().expect("it is piped");
    BufReader::new(errors).read_line(&mut said).expect("it can be read");
    assert!(said.starts_with("cannot reach the daemon at 127.0.0.1:1: "), "{said}");
    watching.kill().expect("it runs");
    let output = watching.wait_with_output().expect("it has ended");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn whoever_has_read_enough_does_not_make_a_configuration_wrong() {
    let (reader, writer) = std::io::pipe().expect("the system has one");
    drop(reader);
    let mut command = Command::new(daemon::binary());
    command.arg("check").env("WEBHOOK_URL", "http://127.0.0.1:1/").stdout(writer);
    let output = command.output().expect("it can be run");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
