//! How dead letters get to where they are kept: through a stream or plainly, confirmed, and past outages.

use async_nats::{HeaderMap, HeaderValue, jetstream};

use super::{SOON, STREAM, count, kept, make_stream, stream, wait_count};
use testkit::{
    daemon::Daemon,
    metrics::Metrics,
    nats::NatsServer,
    publisher::Publisher,
    stage::Stage,
    webhook::{Reply, Webhook},
};

const BY_STREAM: &str = "dead letters go through JetStream";
const BY_CORE: &str = "dead letters go by core publish";
const TROUBLE: &str = "dead letters can't be published";

#[tokio::test]
async fn a_stream_that_is_made_confirms_each_letter() {
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), kept).await;
    let line = stage.daemon.wait_log(BY_STREAM, SOON).await;
    assert!(line.contains(STREAM) && line.contains("default"), "{line}");
    Publisher::new(stage.client.clone(), "todos.events").burst(5_000).await;
    wait_count(&stage.nats, 5_000).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.dead_lettered), (5_000, 5_000));
    assert_eq!(stage.daemon.logs_containing("dead letters go").len(), 1);
}

/// A publisher that uses an id again, or one that a replay has delivered: each death has a letter.
#[tokio::test]
async fn a_stream_that_has_the_subject_is_found_and_each_death_is_a_letter() {
    let nats = NatsServer::start().await;
    make_stream(&nats).await;
    let hook = Webhook::answering([400]);
    let daemon = Daemon::between(&nats, &hook.url());
    let daemon = daemon.route("dead_letter.subject", super::SUBJECT).start_ready().await;
    let mut stage = Stage { client: nats.client().await, nats, daemon };
    stage.daemon.wait_log(BY_STREAM, SOON).await;
    for _ in 0..3 {
        stage.publish_with(&[("Nats-Msg-Id", "order-7")], "0").await;
    }
    stage.wait_processed(3).await;
    assert_eq!(stage.close().await.dead_lettered, 3);
    assert_eq!(count(&stage.nats).await, 3);
}

#[tokio::test]
async fn without_a_stream_they_are_plain_messages() {
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("dead_letter.subject", "dead.plain")).await;
    stage.daemon.wait_log(BY_CORE, SOON).await;
    stage.publish("0").await;
    stage.wait_processed(1).await;
    assert_eq!(stage.close().await.dead_lettered, 1);
}

/// Letters that a stream has kept so far don't become plain messages because it is gone.
#[tokio::test]
async fn a_stream_that_goes_is_waited_for() {
    let hook = Webhook::answering([400]);
    let nats = NatsServer::start().await;
    make_stream(&nats).await;
    let daemon = Daemon::between(&nats, &hook.url());
    let daemon = daemon.route("dead_letter.subject", super::SUBJECT).start_ready().await;
    let mut stage = Stage { client: nats.client().await, nats, daemon };
    stage.daemon.wait_log(BY_STREAM, SOON).await;
    jetstream::new(stage.client.clone()).delete_stream(STREAM).await.unwrap();
    stage.publish("1").await;
    let line = stage.daemon.wait_log(TROUBLE, SOON).await;
    assert!(line.contains("stream"), "{line}");
    make_stream(&stage.nats).await;
    stage.wait_processed(1).await;
    assert_eq!(count(&stage.nats).await, 1);
    assert_eq!(stage.close().await.dead_lettered, 1);
    assert!(stage.daemon.logs_containing(BY_CORE).is_empty());
}

#[tokio::test]
async fn a_stream_that_is_missing_holds_them_back_until_it_is_there() {
    const COUNT: u64 = 3_000;
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("dead_letter.stream", STREAM)).await;
    stage.daemon.wait_log(TROUBLE, SOON).await;
    Publisher::new(stage.client.clone(), "todos.events").burst(COUNT).await;
    hook.wait_for(|hook| hook.received() == 3_000, SOON).await;
    // The last answers may still be on their way to the daemon.
    let all = |metrics: &Metrics| metrics.value("broadcaster_dead_letter_queue_messages", &[]) == 3_000.0;
    stage.daemon.wait_metrics(all, SOON).await;
    let metrics = stage.daemon.metrics().await;
    let processed = metrics.sum("broadcaster_messages_processed_total", &[]);
    assert_eq!(processed, 0.0, "nothing counts before the stream has it");
    let figure = |name: &str| metrics.value(&format!("broadcaster_dead_letter_queue_{name}"), &[]);
    assert_eq!((figure("messages"), figure("max_messages")), (3_000.0, 32_768.0));
    assert!(figure("bytes") > 300_000.0 && figure("bytes") < figure("max_bytes"), "{}", figure("bytes"));
    make_stream(&stage.nats).await;
    wait_count(&stage.nats, COUNT).await;
    let none = |metrics: &Metrics| metrics.value("broadcaster_dead_letter_queue_bytes", &[]) == 0.0;
    stage.daemon.wait_metrics(none, SOON).await;
    let account = stage.close().await;
    assert_eq!((account.dead_lettered, account.dropped), (COUNT, 0));
    assert_eq!(stage.daemon.logs_containing(TROUBLE).len(), 1, "the trouble is one line");
    assert_eq!(stage.daemon.events("dead letters are published again").len(), 1);
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_loses_none() {
    const COUNT: u64 = 5_000;
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), kept).await;
    stage.daemon.wait_log(BY_STREAM, SOON).await;
    Publisher::new(stage.client.clone(), "todos.events").burst(COUNT).await;
    stage
        .daemon
        .wait_metrics(|metrics| metrics.sum("broadcaster_messages_received_total", &[]) == 5_000.0, SOON)
        .await;
    stage.nats.restart().await;
    wait_count(&stage.nats, COUNT).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.dead_lettered), (COUNT, COUNT));
}

#[tokio::test]
async fn two_routes_may_keep_their_letters_about_one_message_in_one_stream() {
    let hook = Webhook::answering([400]);
    let toml = format!(
        "[routes.default.dead_letter]\nstream = \"DEAD\"\n[routes.twin]\nqueue_group = \"twin\"\n\
         webhook.url = \"{}\"\n[routes.twin.dead_letter]\nstream = \"DEAD\"\n",
        hook.url()
    );
    let nats = NatsServer::start().await;
    make_stream(&nats).await;
    let daemon = Daemon::between(&nats, &hook.url()).config(&toml).start_ready().await;
    let mut stage = Stage { client: nats.client().await, nats, daemon };
    stage.publish_with(&[("Nats-Msg-Id", "order-7")], "0").await;
    stage.wait_processed(2).await;
    assert_eq!(count(&stage.nats).await, 2);
    assert_eq!(stage.close().await.dead_lettered, 2);
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::as_str)
}

#[tokio::test]
async fn a_letter_says_what_the_webhook_said() {
    let hook = Webhook::start();
    hook.answer(Reply::status(422).body("{\r\n  \"error\": \"no title\"\n}"));
    let mut stage = Stage::set(&hook.url(), kept).await;
    stage.publish("0").await;
    wait_count(&stage.nats, 1).await;
    let letter = stream(&stage.nats).await.get_raw_message(1).await.unwrap();
    let headers = letter.headers;
    assert_eq!(value(&headers, "Broadcaster-Last-Answer"), Some("{    \"error\": \"no title\" }"));
    let time = |name: &str| humantime::parse_rfc3339(value(&headers, name).unwrap()).unwrap();
    assert!(time("Broadcaster-Received") <= time("Broadcaster-Last-Attempt"));
    assert!(time("Broadcaster-Last-Attempt") <= time("Broadcaster-Died"));
    stage.close().await;
}

/// Of what is too large for NATS the headers are cut, as far as it takes, and the payload never.
#[tokio::test]
async fn of_a_large_letter_the_headers_are_cut() {
    const LARGEST: usize = 1024 * 1024;
    let hook = Webhook::start();
    hook.answer(Reply::status(400).body("x".repeat(2_000)));
    let mut stage = Stage::set(&hook.url(), kept).await;
    for size in [LARGEST, LARGEST - 1_000, LARGEST - 3_000] {
        stage.publish(vec![b'0'; size]).await;
    }
    wait_count(&stage.nats, 3).await;
    let stream = stream(&stage.nats).await;
    let mut found = Vec::new();
    for sequence in 1..=3 {
        let letter = stream.get_raw_message(sequence).await.unwrap();
        let reason = value(&letter.headers, "Broadcaster-Reason").is_some();
        let answer = value(&letter.headers, "Broadcaster-Last-Answer").map_or(0, str::len);
        found.push((letter.payload.len(), reason, answer));
    }
    found.sort_unstable();
    assert_eq!(found, [(LARGEST - 3_000, true, 1024), (LARGEST - 1_000, true, 0), (LARGEST, false, 0)]);
    assert_eq!(stage.close().await.dead_lettered, 3);
}

/// A user that may not ask JetStream anything: the letters go plainly, or to the stream that the configuration names.
#[tokio::test]
async fn without_the_permission_to_ask_the_configuration_decides() {
    let users = "authorization: { users: [{ user: \"all\", password: \"all\" },\n\
         { user: \"daemon\", password: \"daemon\", permissions: { publish: { deny: \"$JS.API.>\" } } }],\n\
         }\nno_auth_user: all";
    let nats = NatsServer::builder().config(users).start().await;
    make_stream(&nats).await;
    let hook = Webhook::answering([400]);
    for (setting, value, line) in
        [("dead_letter.subject", "dead.plain", BY_CORE), ("dead_letter.stream", STREAM, BY_STREAM)]
    {
        let daemon = Daemon::between(&nats, &hook.url())
            .route(setting, value)
            .env("BROADCASTER__NATS__USER", "daemon")
            .env("BROADCASTER__NATS__PASSWORD", "daemon");
        let mut daemon = daemon.start_ready().await;
        daemon.wait_log(line, SOON).await;
        Publisher::new(nats.client().await, "todos.events").burst(10).await;
        let processed = "broadcaster_messages_processed_total";
        daemon.wait_metrics(|metrics| metrics.sum(processed, &[]) == 10.0, SOON).await;
        assert_eq!(daemon.stop().await.dead_lettered, 10);
    }
    assert_eq!(count(&nats).await, 10);
}

/// A letter made of headers that can be read by few clients can be read by all.
#[tokio::test]
async fn a_letter_of_odd_headers_can_be_read_by_every_client() {
    let odd: [&[u8]; 8] = [
        b"X: a\rb\r\n",
        b"no colon\r\n",
        b"a b: c\r\n",
        b"X: \xff\xfe\r\n",
        b": nothing\r\n",
        b"\xff: \x00\r\n",
        b"X: a\nNats-Msg-Id: other\r\n",
        b"Nats-Rollup: all\r\nNats-Expected-Stream: X\r\nBroadcaster-Route: other\r\n",
    ];
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), kept).await;
    stage.daemon.wait_log(BY_STREAM, SOON).await;
    // This client ends with the first header that it can't read.
    let mut letters = stage.client.subscribe(super::SUBJECT).await.unwrap();
    stage.nats.wait_subscriptions(super::SUBJECT, 2, SOON).await;
    for (number, odd) in odd.into_iter().enumerate() {
        let head = [b"NATS/1.0\r\n", odd, b"X-Good: yes\r\n\r\n"].concat();
        let line = format!("HPUB todos.events {} {}\r\n", head.len(), head.len() + 1);
        let number = number.to_string();
        stage.nats.say(&[line.as_bytes(), &head, number.as_bytes(), b"\r\n"].concat()).await;
    }
    for _ in odd {
        let letter = testkit::nats::next(&mut letters, SOON).await;
        let headers = letter.headers.unwrap();
        assert_eq!(
            (value(&headers, "X-Good"), value(&headers, "Broadcaster-Route")),
            (Some("yes"), Some("default"))
        );
        assert_eq!(value(&headers, "Nats-Rollup"), None, "a command to the stream");
    }
    wait_count(&stage.nats, odd.len() as u64).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.dead_lettered), (odd.len() as u64, odd.len() as u64));
}
