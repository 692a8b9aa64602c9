//! The command `broadcaster dead-letters`: what it lists, shows, replays and removes, and what a replay that is killed
//! loses.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use super::{SOON, count, graveyard};
use testkit::{
    daemon::{Daemon, run},
    nats::NatsServer,
    webhook::{Behaviour, Reply, Webhook},
};

/// Runs `dead-letters` with these arguments.
fn command(nats: &NatsServer, url: &str, arguments: &[&str]) -> Output {
    let nats_url = nats.url();
    let env = [
        ("NATS_URL", nats_url.as_str()),
        ("WEBHOOK_URL", url),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__STREAM", "DEAD"),
        ("BROADCASTER__ROUTES__DEFAULT__RETRY__INITIAL", "5ms"),
    ];
    run(&[&["dead-letters"], arguments].concat(), &env)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn objects(output: &Output) -> Vec<Value> {
    let lines = succeeded(output);
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect()
}

/// What a replay says that it came to, of those delivered, failed and left.
fn summary(output: &Output) -> [u64; 3] {
    let line: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert!(line.is_object(), "no summary: {}", text(output));
    ["delivered", "failed", "left"].map(|key| line[key].as_u64().expect("it is a count"))
}

#[tokio::test]
async fn they_are_listed_and_shown() {
    let hook = Webhook::start();
    hook.answer(Reply::status(422).body("no title"));
    let nats = graveyard(&hook.url(), 3).await;
    let table = succeeded(&command(&nats, &hook.url(), &["list"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    for word in ["ID", "SEQUENCE", "TIME", "REASON", "FAILURE", "ATTEMPTS", "SIZE", "rejected", "422"] {
        assert!(table.contains(word), "no {word}: {table}");
    }
    let letters = objects(&command(&nats, &hook.url(), &["list", "--json"]));
    assert_eq!(letters.len(), 3);
    let ids: Vec<_> = hook.ids();
    for letter in &letters {
        assert!(ids.iter().any(|id| letter["id"] == id.as_str()), "{letter}");
        assert_eq!((&letter["attempts"], &letter["size"]), (&1.into(), &1.into()), "{letter}");
    }
    let id = letters[0]["id"].as_str().unwrap();
    let shown = succeeded(&command(&nats, &hook.url(), &["show", id]));
    assert!(shown.contains("Broadcaster-Last-Answer: no title"), "{shown}");
    let shown = objects(&command(&nats, &hook.url(), &["show", id, "--json"]));
    assert!(
        shown[0]["payload"].as_str().is_some_and(|payload| payload.parse::<u8>().is_ok()),
        "{}",
        shown[0]
    );
    let missing = command(&nats, &hook.url(), &["show", "nothing"]);
    assert_eq!(missing.status.code(), Some(1));
}

#[tokio::test]
async fn without_a_stream_the_command_says_what_is_missing() {
    let nats = NatsServer::start().await;
    for arguments in [&["list"][..], &["replay", "--all"], &["purge", "--all"], &["show", "x"]] {
        let output = command(&nats, "http://127.0.0.1:1/", arguments);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("no stream keeps the subject"), "{}", text(&output));
    }
    for arguments in
        [&["replay"][..], &["purge"], &["purge", "--reason", "boredom"], &["replay", "--since", "x"]]
    {
        assert_eq!(command(&nats, "http://127.0.0.1:1/", arguments).status.code(), Some(2), "{arguments:?}");
    }
    let unknown = command(&nats, "http://127.0.0.1:1/", &["list", "--route", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test]
async fn a_replay_delivers_as_the_daemon_does_and_removes_what_was_delivered() {
    let hook = Webhook::answering([400]);
    let mut stage = testkit::stage::Stage::set(&hook.url(), super::kept).await;
    let headers = [("Nats-Msg-Id", "order-7"), ("Content-Type", "text/x-todo"), ("X-Tenant", "a")];
    stage.publish_with(&headers, "7 \u{1f41f}").await;
    super::wait_count(&stage.nats, 1).await;
    stage.close().await;
    hook.answer(200);
    let output = command(&stage.nats, &hook.url(), &["replay", "--all", "--json"]);
    succeeded(&output);
    assert_eq!(summary(&output), [1, 0, 0]);
    let requests = hook.requests();
    let (first, replayed) = (&requests[0], &requests[1]);
    for header in ["webhook-id", "broadcaster-subject", "content-type"] {
        assert_eq!(first.header(header), replayed.header(header), "{header}");
    }
    assert_eq!((replayed.header("webhook-id"), replayed.header("broadcaster-attempt")), ("order-7", "2"));
    assert_eq!(first.body, replayed.body);
    assert_eq!(count(&stage.nats).await, 0);
}

#[tokio::test]
async fn what_fails_again_is_kept() {
    let hook = Webhook::answering([400]);
    let nats = graveyard(&hook.url(), 40).await;
    hook.answer(Behaviour::by(|request| {
        Reply::status(if request.number().is_some_and(|n| n % 4 == 0) { 503 } else { 200 })
    }));
    let output = command(&nats, &hook.url(), &["replay", "--all", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(summary(&output), [30, 10, 10]);
    assert_eq!(count(&nats).await, 10);
    hook.down().await;
    let output = command(&nats, &hook.url(), &["replay", "--all"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("delivered 0, failed 10, left 10"), "{}", text(&output));
    hook.up().await;
    hook.answer(200);
    assert_eq!(summary(&command(&nats, &hook.url(), &["replay", "--all", "--json"])), [10, 0, 0]);
    hook.assert_exactly_once(0..40);
}

#[tokio::test]
async fn letters_are_chosen_by_id_reason_and_time() {
    let hook = Webhook::answering([400]);
    let nats = graveyard(&hook.url(), 5).await;
    hook.answer(200);
    let replay =
        |arguments: &[&str]| command(&nats, &hook.url(), &[&["replay", "--json"], arguments].concat());
    let letters = objects(&command(&nats, &hook.url(), &["list", "--json"]));
    let id = letters[2]["id"].as_str().unwrap();

    let listed = objects(&replay(&["--reason", "rejected", "--dry-run"]));
    assert_eq!((listed.len(), hook.delivered()), (5, 0));
    assert_eq!(summary(&replay(&["--reason", "shutdown"])), [0, 0, 5]);
    assert_eq!(summary(&replay(&["--since", "2100-01-01T00:00:00Z"])), [0, 0, 5]);
    assert_eq!(summary(&replay(&["--id", id])), [1, 0, 4]);
    assert_eq!(hook.requests().last().unwrap().header("webhook-id"), id);
    assert_eq!(replay(&["--id", id]).status.code(), Some(1));

    let purge = |arguments: &[&str]| command(&nats, &hook.url(), &[&["purge", "--json"], arguments].concat());
    let other = letters[0]["id"].as_str().unwrap();
    assert_eq!(objects(&purge(&["--all", "--dry-run"])).len(), 4);
    assert_eq!(objects(&purge(&["--id", other])), [serde_json::json!({ "removed": 1 })]);
    assert_eq!(summary(&replay(&["--since", "1h", "--reason", "rejected"])), [3, 0, 0]);
    assert_eq!(objects(&purge(&["--all"])), [serde_json::json!({ "removed": 0 })]);
}

#[tokio::test]
async fn letters_can_go_to_another_route() {
    let (broken, mended) = (Webhook::answering([400]), Webhook::start());
    let nats = graveyard(&broken.url(), 3).await;
    let other = format!("routes.other.webhook.url={}", mended.url());
    let other = ["--set", "routes.other.subject=x", "--set", &other];
    let output =
        command(&nats, &broken.url(), &[&["replay", "--all", "--to-route", "other"][..], &other].concat());
    succeeded(&output);
    mended.assert_exactly_once(0..3);
    assert_eq!(count(&nats).await, 0);
}

/// What a replay is told by its first signal: it finishes what is under way, and says what is left.
#[tokio::test]
async fn a_replay_that_is_interrupted_finishes_what_is_under_way() {
    const COUNT: u64 = 2_000;
    let hook = Webhook::answering([400]);
    let nats = graveyard(&hook.url(), COUNT).await;
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    let mut replay = replaying(&nats, &hook);
    hook.wait_for(|hook| hook.delivered() > 200, SOON).await;
    replay.signal(Signal::INT);
    assert_eq!(replay.wait(SOON).await.code(), Some(1));
    let delivered = hook.delivered() as u64;
    assert!(delivered < COUNT, "it was over before the signal");
    assert_eq!(count(&nats).await, COUNT - delivered);
    assert!(hook.duplicates().is_empty());
}

fn replaying(nats: &NatsServer, hook: &Webhook) -> testkit::daemon::Running {
    Daemon::between(nats, &hook.url())
        .route("dead_letter.stream", "DEAD")
        .arg("dead-letters")
        .arg("replay")
        .arg("--all")
        .spawn()
}

#[tokio::test]
async fn a_replay_that_is_killed_loses_nothing_and_repeats_what_was_under_way() {
    const COUNT: u64 = 10_000;
    const CONCURRENCY: usize = 64;
    let hook = Webhook::answering([400]);
    let nats = graveyard(&hook.url(), COUNT).await;
    hook.answer(200);
    let mut replay = replaying(&nats, &hook);
    hook.wait_for(|hook| hook.delivered() > 3_000, SOON).await;
    replay.kill();
    assert!(hook.delivered() < 10_000, "it was over before the kill");
    let began = Instant::now();
    let output = command(&nats, &hook.url(), &["replay", "--all", "--json"]);
    let took = began.elapsed();
    let [delivered, failed, left] = summary(&output);
    assert_eq!((failed, left), (0, 0));
    assert!(hook.missing(0..COUNT).is_empty(), "lost: {:?}", hook.missing(0..COUNT));
    assert!(hook.duplicates().len() <= CONCURRENCY, "{} repeated", hook.duplicates().len());
    assert!(took < Duration::from_secs(20), "{delivered} letters took {took:?}");
    eprintln!("{delivered} letters in {took:?}, {} repeated", hook.duplicates().len());
}
