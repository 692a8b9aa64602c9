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
async fn a_replay_to_a_route_with_batches_delivers_each_in_a_body_of_one() {
    let hook = Webhook::answering([422]);
    let nats = graveyard(&hook.url(), 3).await;
    hook.answer(200);
    let batches = ["--set", "routes.default.batch.max_messages=10"];
    let replay = [&["replay", "--all", "--json"][..], &batches].concat();
    assert_eq!(summary(&command(&nats, &hook.url(), &replay)), [3, 0, 0]);
    let mut bodies = hook.bodies().split_off(3);
    bodies.sort();
    assert_eq!(bodies, ["[0]", "[1]", "[2]"]);
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

/// A letter as somebody may publish it to the subject, with these header lines.
async fn put(nats: &NatsServer, lines: &[u8], payload: &str) {
    let head = [b"NATS/1.0\r\n", lines, b"\r\n"].concat();
    let (length, all) = (head.len(), head.len() + payload.len());
    let command = format!("HPUB broadcaster.dead.default {length} {all}\r\n");
    nats.say(&[command.as_bytes(), &head, payload.as_bytes(), b"\r\n"].concat()).await;
}

/// The same message has the same id, whatever it looks like.
#[tokio::test]
async fn a_replay_delivers_with_the_id_that_the_message_had() {
    let hook = Webhook::answering([400]);
    let mut stage = testkit::stage::Stage::set(&hook.url(), super::kept).await;
    let long = "x".repeat(300);
    let odd = "%".repeat(85);
    for (number, id) in ["order 7", "order%207", &odd, &long, ""].into_iter().enumerate() {
        stage.publish_with(&[("Nats-Msg-Id", id)], number.to_string()).await;
    }
    super::wait_count(&stage.nats, 5).await;
    stage.close().await;
    put(&stage.nats, format!("Nats-Msg-Id: {long}\r\n").as_bytes(), "5").await;
    super::wait_count(&stage.nats, 6).await;
    let first = hook.requests();
    hook.answer(503);
    for _ in 0..2 {
        command(&stage.nats, &hook.url(), &["replay", "--all"]);
    }
    let attempts = hook.requests();
    for number in 0..6 {
        let is_it = |request: &&testkit::webhook::Received| request.number() == Some(number);
        let ids: Vec<_> = attempts.iter().filter(is_it).map(|request| request.header("webhook-id")).collect();
        assert!(ids.len() > 2 && ids.iter().all(|id| *id == ids[0]), "{number}: {ids:?}");
    }
    assert_eq!(first.len(), 5);
    let listed = objects(&command(&stage.nats, &hook.url(), &["list", "--json", "--id", "order%25207"]));
    assert_eq!(listed.len(), 1, "a letter is found by the id that the list shows");
}

/// Headers that end the client library, and others that can't be headers at all.
#[tokio::test]
async fn letters_with_any_headers_are_listed_shown_and_replayed() {
    let hook = Webhook::start();
    let nats = NatsServer::start().await;
    super::make_stream(&nats).await;
    let lines: [&[u8]; 7] = [
        b"X: a\rb\r\n",
        b"no colon\r\n",
        b"a b: c\r\n",
        b"X: \xff\xfe\r\nBroadcaster-Id: odd\r\n",
        b": nothing\r\nX:\r\n",
        b"X: a\nNats-Msg-Id: other\r\n",
        b"\xff: \x00\r\n",
    ];
    for (number, lines) in lines.into_iter().enumerate() {
        put(&nats, lines, &number.to_string()).await;
    }
    let letters = objects(&command(&nats, &hook.url(), &["list", "--json"]));
    assert_eq!(letters.len(), lines.len());
    for letter in &letters {
        let shown = command(&nats, &hook.url(), &["show", letter["id"].as_str().unwrap()]);
        assert!(succeeded(&shown).contains("sequence"));
    }
    assert_eq!(summary(&command(&nats, &hook.url(), &["replay", "--all", "--json"])), [7, 0, 0]);
    hook.assert_exactly_once(0..7);
}

#[tokio::test]
async fn only_one_replays_at_a_time() {
    const COUNT: u64 = 2_000;
    let hook = Webhook::answering([400]);
    let nats = graveyard(&hook.url(), COUNT).await;
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    // At the same moment, and while one is at work.
    let mut both = [replaying(&nats, &hook), replaying(&nats, &hook)];
    hook.wait_for(|hook| hook.delivered() > 100, SOON).await;
    // What is no question is nothing to whoever has the claim.
    nats.say(b"HPUB broadcaster.replay.DEAD x 20 20\r\nNATS/1.0\r\nX: a\rb\r\n\r\n\r\n").await;
    let third = command(&nats, &hook.url(), &["replay", "--all"]);
    assert_eq!(third.status.code(), Some(1));
    assert!(text(&third).contains("another replay of the stream DEAD"), "{}", text(&third));
    let mut codes = [both[0].wait(SOON).await.code(), both[1].wait(SOON).await.code()];
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(1)]);
    assert!(hook.duplicates().is_empty(), "{} were delivered twice", hook.duplicates().len());
    assert_eq!(count(&nats).await, 0);
}

#[tokio::test]
async fn a_replay_takes_only_letters_of_its_route() {
    let hook = Webhook::start();
    let nats = NatsServer::start().await;
    super::make_stream(&nats).await;
    for (number, route) in ["default", "other", "gone"].into_iter().enumerate() {
        let lines = format!("Broadcaster-Route: {route}\r\nBroadcaster-Id: of-{route}\r\n");
        put(&nats, lines.as_bytes(), &number.to_string()).await;
    }
    put(&nats, b"X: y\r\n", "3").await;
    let url = hook.url();
    let other = format!("routes.other.webhook.url={url}");
    let shared = [
        "--set",
        "routes.other.subject=x",
        "--set",
        &other,
        "--set",
        "routes.other.dead_letter.subject=broadcaster.dead.default",
        "--route",
        "default",
    ];
    let run = |arguments: &[&str]| command(&nats, &url, &[arguments, &shared].concat());
    let listed = objects(&run(&["replay", "--all", "--dry-run", "--json"]));
    assert_eq!(listed.len(), 1, "{listed:?}");
    let output = run(&["replay", "--all"]);
    assert!(text(&output).contains("delivered 1, failed 0, left 3; 2 are of routes"), "{}", text(&output));
    hook.assert_exactly_once(0..1);
    assert_eq!(summary(&run(&["replay", "--all", "--to-route", "default", "--json"])), [2, 0, 1]);
    let mut numbers: Vec<_> = hook.requests().iter().filter_map(|request| request.number()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 2, 3], "another route's was delivered");
}

/// Streams that don't let anybody look at them by a consumer, and those that don't let go.
#[tokio::test]
async fn other_streams_work_or_are_refused_by_name() {
    use async_nats::jetstream::{
        self, consumer,
        stream::{Config, RetentionPolicy, SubjectTransform},
    };
    let transform =
        || SubjectTransform { source: "broadcaster.>".to_owned(), destination: "kept.>".to_owned() };
    for (settings, refused) in [
        (Config { retention: RetentionPolicy::WorkQueue, ..Config::default() }, None),
        (Config { retention: RetentionPolicy::Interest, ..Config::default() }, None),
        (Config { no_ack: true, ..Config::default() }, None),
        (Config { subject_transform: Some(transform()), ..Config::default() }, None),
        (Config { deny_delete: true, ..Config::default() }, Some("deny_delete")),
    ] {
        let nats = NatsServer::start().await;
        let config = Config {
            name: super::STREAM.to_owned(),
            subjects: vec!["broadcaster.dead.>".to_owned()],
            ..settings.clone()
        };
        let stream = jetstream::new(nats.client().await).create_stream(config).await.unwrap();
        let waiting =
            consumer::pull::Config { durable_name: Some("others".to_owned()), ..Default::default() };
        stream.create_consumer(waiting).await.unwrap();
        let hook = Webhook::start();
        for number in 0..100 {
            put(&nats, b"Broadcaster-Route: default\r\n", &number.to_string()).await;
        }
        let listed = objects(&command(&nats, &hook.url(), &["list", "--json"]));
        assert_eq!(listed.len(), 100, "{settings:?}");
        let id = listed[70]["id"].as_str().unwrap();
        let shown = objects(&command(&nats, &hook.url(), &["show", id, "--json"]));
        assert_eq!(shown[0]["payload"], "70");
        let replay = command(&nats, &hook.url(), &["replay", "--all", "--json"]);
        if let Some(setting) = refused {
            assert!(text(&replay).contains(setting) && hook.received() == 0, "{}", text(&replay));
            continue;
        }
        assert_eq!(summary(&replay), [100, 0, 0], "{settings:?}");
        hook.assert_exactly_once(0..100);
    }
}

#[tokio::test]
async fn a_list_takes_the_same_selection_as_a_replay() {
    let hook = Webhook::answering([400]);
    let nats = graveyard(&hook.url(), 5).await;
    let list = |arguments: &[&str]| {
        objects(&command(&nats, &hook.url(), &[&["list", "--json"], arguments].concat()))
    };
    let all = list(&[]);
    assert_eq!((all.len(), list(&["--all"]).len()), (5, 5));
    assert_eq!(list(&["--id", all[2]["id"].as_str().unwrap()]), [all[2].clone()]);
    assert_eq!((list(&["--reason", "rejected"]).len(), list(&["--reason", "shutdown"]).len()), (5, 0));
    assert_eq!((list(&["--since", "1h"]).len(), list(&["--since", "2100-01-01T00:00:00Z"]).len()), (5, 0));
}
