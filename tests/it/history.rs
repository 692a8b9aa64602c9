//! History: what came of each attempt, as it is published and as the command tells it.

use std::time::Duration;

use async_nats::jetstream;
use serde_json::Value;
use testkit::{
    daemon::{self, Daemon},
    nats::{NatsServer, next},
    stage::Stage,
    webhook::Webhook,
};

const SOON: Duration = Duration::from_secs(60);
const SUBJECT: &str = "broadcaster.history";
const PROCESSED: &str = "broadcaster_messages_processed_total";
const TOTAL: &str = "broadcaster_history_total";

/// With what came of attempts published.
fn telling(daemon: Daemon, outcomes: &str) -> Daemon {
    let daemon = daemon.impatient().without_breaker();
    daemon.env("BROADCASTER__HISTORY__SUBJECT", SUBJECT).env("BROADCASTER__HISTORY__OUTCOMES", outcomes)
}

#[tokio::test]
async fn what_came_of_each_attempt_is_published() {
    let hook = Webhook::answering([503, 503, 200]);
    let stage = Stage::set(&hook.url(), |daemon| telling(daemon, "all")).await;
    let mut history = stage.nats.client().await.subscribe(SUBJECT).await.expect("it is connected");
    stage.nats.wait_subscriptions(SUBJECT, 1, SOON).await;
    stage.publish_with(&[("Nats-Msg-Id", "order-17")], "1").await;
    for (attempt, outcome, status) in [(1, "failed", 503), (2, "failed", 503), (3, "delivered", 200)] {
        let line: Value = serde_json::from_slice(&next(&mut history, SOON).await.payload).expect("JSON");
        let told = (&line["id"], &line["attempt"], &line["outcome"], &line["status"]);
        let expected = (&"order-17".into(), &attempt.into(), &outcome.into(), &status.into());
        assert_eq!(told, expected, "{line}");
        assert_eq!((&line["route"], &line["subject"]), (&"default".into(), &"todos.events".into()));
        assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");
        assert!(line["replica"].as_str().is_some_and(|name| !name.is_empty()), "{line}");
    }
    let published = |metrics: &testkit::metrics::Metrics| metrics.value(TOTAL, &[("result", "published")]);
    stage.daemon.wait_metrics(|metrics| published(metrics) >= 3.0, SOON).await;
}

#[tokio::test]
async fn only_failed_ones_are_published_unless_all_are_asked_for_and_the_last_ones_at_the_end() {
    let hook = Webhook::answering([500, 200, 500, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| telling(daemon, "failed")).await;
    let mut history = stage.nats.client().await.subscribe(SUBJECT).await.expect("it is connected");
    stage.nats.wait_subscriptions(SUBJECT, 1, SOON).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    stage.publish("2").await;
    stage.wait_processed(2).await;
    assert_eq!(stage.close().await.delivered, 2);
    for _ in 0..2 {
        let line: Value = serde_json::from_slice(&next(&mut history, SOON).await.payload).expect("JSON");
        assert_eq!((&line["outcome"], &line["reason"]), (&"failed".into(), &"500".into()), "{line}");
    }
}

#[tokio::test]
async fn the_command_tells_all_that_is_known_of_a_message() {
    let nats = NatsServer::builder().jetstream("").start().await;
    let context = jetstream::new(nats.client().await);
    for (name, subject) in [("HISTORY", SUBJECT), ("DEAD", "dead.todos")] {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            ..Default::default()
        };
        context.create_stream(config).await.expect("a stream can be made");
    }
    let hook = Webhook::answering([503, 400]);
    let daemon = telling(Daemon::between(&nats, &hook.url()), "failed");
    let mut daemon = daemon.route("dead_letter.subject", "dead.todos").start_ready().await;
    let client = nats.client().await;
    for (id, processed) in [("order-17", 1.0), ("other", 2.0)] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        client.publish_with_headers("todos.events", headers, "1".into()).await.expect("it is connected");
        client.flush().await.expect("the server answers");
        daemon.wait_metrics(|metrics| metrics.sum(PROCESSED, &[]) >= processed, SOON).await;
    }
    daemon.stop().await;

    let env = [
        ("NATS_URL", nats.url()),
        // What the daemon may read, whoever asks for a message need not.
        ("WEBHOOK_URL_FILE", "/nowhere/webhook-url".to_owned()),
        ("BROADCASTER__HISTORY__SUBJECT", SUBJECT.to_owned()),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__SUBJECT", "dead.todos".to_owned()),
    ];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = daemon::run(&["history", "order-17", "--json"], &env);
    let text = String::from_utf8(output.stdout).expect("it writes text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let facts: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<_> = facts.iter().map(|fact| fact["kind"].as_str().expect("it has one")).collect();
    let attempts = kinds.iter().filter(|kind| **kind == "attempt").count();
    assert_eq!((attempts, kinds.len(), kinds.last()), (2, 3, Some(&"dead_letter")), "{text}");
    assert!(facts.iter().all(|fact| fact["id"] == "order-17"), "{text}");
    let output = daemon::run(&["history", "order-17"], &env);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("order-17 of todos.events on the route default\n"), "{text}");
    assert!(text.contains("  attempt 1  failed: 503  ") && text.contains("  dead letter "), "{text}");
    let output = daemon::run(&["history", "none"], &env);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Letters are told of, though no stream has the subject of the history.
#[tokio::test]
async fn what_is_kept_elsewhere_is_told_without_a_stream_of_the_history() {
    let hook = Webhook::answering([422]);
    let kept = |daemon: Daemon| {
        let daemon = telling(daemon, "all").route("dead_letter.subject", "dead.todos");
        daemon.route("dead_letter.stream", "DEAD").route("dead_letter.create", "true")
    };
    let mut stage = Stage::set(&hook.url(), kept).await;
    stage.publish_with(&[("Nats-Msg-Id", "order-17")], "1").await;
    stage.wait_processed(1).await;
    let env = [
        ("NATS_URL", stage.nats.url()),
        ("WEBHOOK_URL", "http://127.0.0.1/".to_owned()),
        ("BROADCASTER__HISTORY__SUBJECT", SUBJECT.to_owned()),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__SUBJECT", "dead.todos".to_owned()),
    ];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = daemon::run(&["history", "order-17"], &env);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("no stream keeps history.subject broadcaster.history"), "{said}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("dead letter 1: rejected"), "{told}");

    // Nor does a bucket keep it back that can't be read; that something may be missing is told.
    let bucket = ("BROADCASTER__ENDPOINTS__BUCKET", "nowhere");
    let output = daemon::run(&["history", "order-17"], &[env, vec![bucket]].concat());
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("dead letter 1: rejected"), "{told}{said}");
    assert!(!output.status.success() && said.contains("there is no bucket nowhere"), "{said}");
    stage.close().await;
}

#[test]
fn a_history_that_would_be_delivered_is_a_mistake() {
    let env = [("WEBHOOK_URL", "http://127.0.0.1/"), ("BROADCASTER__HISTORY__SUBJECT", "todos.events")];
    let output = daemon::run(&["check"], &env);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("history.subject: expected a subject that no route subscribes to"), "{said}");
    let output = daemon::run(&["history", "1"], &[("WEBHOOK_URL", "http://127.0.0.1/")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is kept of any message"));
}

#[tokio::test]
async fn a_stream_that_is_named_keeps_and_confirms_it() {
    let nats = NatsServer::builder().jetstream("").start().await;
    let hook = Webhook::start();
    let kept = |daemon: Daemon| telling(daemon, "all").env("BROADCASTER__HISTORY__STREAM", "HISTORY");
    let daemon = kept(Daemon::between(&nats, &hook.url()));
    let mut daemon = daemon.start_ready().await;
    daemon.wait_log("there is no stream HISTORY: make it, or set history.create", SOON).await;
    let (status, health) = daemon.health().await;
    assert_eq!(status, 200, "it is no reason to be unready: {health}");
    assert!(health.contains("\"history\":[\"it is not kept: there is no stream HISTORY"), "{health}");
    let client = nats.client().await;
    client.publish("todos.events", "1".into()).await.expect("it is connected");
    let lost = |metrics: &testkit::metrics::Metrics| metrics.value(TOTAL, &[("result", "dropped")]) >= 1.0;
    daemon.wait_metrics(lost, SOON).await;
    daemon.stop().await;

    let daemon = kept(Daemon::between(&nats, &hook.url())).env("BROADCASTER__HISTORY__CREATE", "true");
    let daemon =
        daemon.env("BROADCASTER__HISTORY__MAX_AGE", "2d").env("BROADCASTER__HISTORY__MAX_BYTES", "1MiB");
    let mut daemon = daemon.start_ready().await;
    daemon.wait_log("the stream of the history is made", SOON).await;
    for number in 0..3_000 {
        client.publish("todos.events", number.to_string().into()).await.expect("it is connected");
    }
    let confirmed =
        |metrics: &testkit::metrics::Metrics| metrics.value(TOTAL, &[("result", "published")]) >= 3_000.0;
    daemon.wait_metrics(confirmed, SOON).await;
    let mut stream = jetstream::new(client).get_stream("HISTORY").await.expect("it is there");
    let info = stream.info().await.expect("the server answers");
    let (messages, config) = (info.state.messages, &info.config);
    assert_eq!((config.max_age, config.max_bytes), (Duration::from_secs(2 * 24 * 60 * 60), 1 << 20));
    assert!(messages == 3_000 || info.state.bytes > 900_000, "{:?}", info.state);
    let (_, health) = daemon.health().await;
    assert!(!health.contains("history"), "{health}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_message_in_hand_is_told_of_by_those_who_have_it() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([503; 100]);
    let daemon = || {
        let daemon =
            Daemon::between(&nats, &hook.url()).route("retry.initial", "30s").route("retry.max", "60s");
        daemon.without_breaker().env("BROADCASTER__SERVICE__ACCESS", "read")
    };
    let mut replicas = [daemon().start_ready().await, daemon().start_ready().await];
    nats.wait_subscriptions("broadcaster.service.read.message", 2, SOON).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "order-17");
    let client = nats.client().await;
    client.publish_with_headers("todos.events", headers, "1".into()).await.expect("it is connected");
    client.flush().await.expect("the server answers");
    let (url, hook) = (nats.url(), hook.url());
    let env = [("WEBHOOK_URL", hook.as_str())];
    let told = async |id: &str| {
        let output = daemon::run(&["history", id, "--nats", &url], &env);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let waits = "waits for another attempt, in ";
    let mut text = String::new();
    let end = std::time::Instant::now() + SOON;
    while !text.contains(waits) {
        assert!(std::time::Instant::now() < end, "{text}");
        text = told("order-17").await.1;
    }
    assert!(text.starts_with("order-17 of todos.events on the route default\n"), "{text}");
    assert!(text.contains("last failure: 503"), "{text}");
    assert_eq!(text.lines().count(), 2, "one of them has it: {text}");
    let (status, text) = told("other").await;
    assert_eq!((status, text.as_str()), (Some(1), "nothing is known of other\n"));
    for replica in &mut replicas {
        replica.kill();
    }
}
