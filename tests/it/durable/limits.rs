//! Limits of the server, the stream and the consumer.

use super::*;
use testkit::{publisher::Publisher, webhook::Reply};

#[tokio::test]
async fn messages_come_however_small_a_lanes_share_is() {
    const COUNT: u64 = 100;
    let mut nats = NatsServer::builder().config("max_payload: 1MB").start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    // A lane's part is 1 MiB, less than the largest message with all that may be around it.
    let daemon = durable(&nats.url(), &hook)
        .env("BROADCASTER__RUNTIME__THREADS", "2")
        .route("queue.bytes", "2MiB")
        .start_ready()
        .await;
    hook.wait_delivered(100, PATIENCE).await;
    // Raised while it runs; and then the queue as a whole is smaller than the largest message.
    nats.reload("max_payload: 8MB").await;
    fill(nats.client().await, COUNT..2 * COUNT).await;
    hook.wait_delivered(200, PATIENCE).await;
    Publisher::new(nats.client().await, "todos.events").padded(1_500_000).store(3).await;
    hook.wait_for(|hook| hook.received() == 203, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
}

#[tokio::test]
async fn a_message_that_never_fits_holds_up_no_other() {
    let nats = NatsServer::builder().config("max_payload: 8MB").start().await;
    let stream = make_stream(&nats).await;
    Publisher::new(nats.client().await, "todos.events").padded(3_000_000).store(1).await;
    fill(nats.client().await, 1..50).await;
    let hook = Webhook::start();
    let mut daemon = durable(&nats.url(), &hook).route("queue.bytes", "1MiB").start().await;
    let line = daemon.wait_log("one with more is never taken", PATIENCE).await;
    assert!(line.contains("queue.bytes is 1048576"), "{line}");
    hook.wait_for(|hook| hook.distinct() == 49, PATIENCE).await;
    daemon.ready(PATIENCE).await;
    wait_unacknowledged(&stream, 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn requests_keep_within_what_the_consumer_allows() {
    const COUNT: u64 = 300;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let config = consumer::pull::Config {
        durable_name: Some("broadcaster-default".to_owned()),
        filter_subject: "todos.events".to_owned(),
        max_deliver: -1,
        max_batch: 10,
        max_bytes: 64 * 1024,
        max_expires: Duration::from_secs(2),
        ..consumer::pull::Config::default()
    };
    stream.create_consumer(config).await.unwrap();
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    hook.wait_delivered(300, PATIENCE).await;
    // Requests that expire again and again are no trouble.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(daemon.logs_containing("stream in trouble"), Vec::<String>::new());
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..COUNT);
}

/// A stream that keeps messages for so long, with one in it; and where the letters go.
async fn short_lived(nats: &NatsServer, max_age: Duration) -> testkit::nats::streams::Stream {
    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        max_age,
        ..stream::Config::default()
    };
    context.create_stream(config).await.expect("a stream can be made");
    fill(nats.client().await, 0..1).await;
    nats.stream("LETTERS", &["broadcaster.dead.>"]).await
}

/// The only message is under way when the daemon stops: it becomes a letter, and is not given back.
async fn assert_dies_at_a_stop(nats: &NatsServer, letters: &testkit::nats::streams::Stream, grace: &str) {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(60)));
    let mut daemon = durable(&nats.url(), &hook)
        .env("BROADCASTER__SHUTDOWN__GRACE", grace)
        .route("dead_letter.stream", "LETTERS")
        .start_ready()
        .await;
    hook.wait_for(|hook| hook.received() == 1, PATIENCE).await;
    let account = daemon.stop().await;
    assert_eq!((account.returned, account.dead_lettered), (0, 1), "{account:?}");
    assert_eq!(letters.messages().await, 1);
}

#[tokio::test]
async fn what_would_be_gone_by_then_is_not_given_back() {
    let nats = NatsServer::start().await;
    let letters = short_lived(&nats, Duration::from_secs(4)).await;
    assert_dies_at_a_stop(&nats, &letters, "2500ms").await;
}

#[tokio::test]
async fn the_last_delivery_of_a_consumer_with_a_limit_is_not_given_back() {
    let nats = NatsServer::start().await;
    let letters = short_lived(&nats, Duration::ZERO).await;
    let stream = jetstream::new(nats.client().await).get_stream("TODOS").await.unwrap();
    let config = consumer::pull::Config {
        durable_name: Some("broadcaster-default".to_owned()),
        filter_subject: "todos.events".to_owned(),
        max_deliver: 1,
        ..consumer::pull::Config::default()
    };
    stream.create_consumer(config).await.unwrap();
    assert_dies_at_a_stop(&nats, &letters, "0s").await;
}

#[tokio::test]
async fn what_finds_no_room_for_its_retry_goes_back_whatever_the_overflow_rule() {
    const COUNT: u64 = 400;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(testkit::webhook::Behaviour::by({
        let mut seen = std::collections::HashSet::new();
        // Each is refused once; half of them would be, among good ones, so that it is their own fault.
        move |request| Reply::status(if seen.insert(request.number()) { 500 } else { 200 })
    }));
    let mut daemon = durable(&nats.url(), &hook)
        .without_breaker()
        .route("queue.overflow", "drop_newest")
        .route("retry.messages", "20")
        .route("retry.initial", "1s")
        .start_ready()
        .await;
    hook.wait_for(|hook| hook.distinct() == 400, PATIENCE).await;
    wait_acknowledged(&stream).await;
    let account = daemon.stop().await;
    assert_eq!((account.delivered, account.dropped), (COUNT, 0), "{account:?}");
}
