//! What durable mode does while nothing fails but the webhook.

use super::*;
use testkit::{metrics::Metrics, publisher::Publisher, webhook::Reply};

#[tokio::test]
async fn what_is_in_the_stream_is_delivered_once_and_acknowledged() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 2_000).await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    hook.wait_delivered(2_000, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..2_000);
    assert_none_lost(&hook, 2_000);
    assert_eq!(consumer_info(&stream).await.delivered.consumer_sequence, 2_000, "redelivered");
}

#[tokio::test]
async fn a_publishers_own_id_is_kept() {
    let nats = NatsServer::start().await;
    let _stream = make_stream(&nats).await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "order-7");
    let client = nats.client().await;
    client.publish_with_headers("todos.events", headers, "0".into()).await.unwrap();
    client.flush().await.unwrap();
    hook.wait_delivered(1, PATIENCE).await;
    assert_eq!(hook.ids(), ["order-7"]);
    stop(daemon).await;
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_ack_wait_causes_no_redelivery() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 20).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(3_500)));
    let daemon = durable(&nats.url(), &hook)
        .route("jetstream.ack_wait", "1s")
        .route("webhook.concurrency", "10")
        .start_ready()
        .await;
    // The second ten wait in the queue while the first ten are under way.
    hook.wait_delivered(20, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..20);
    assert_eq!(hook.received(), 20);
    assert_eq!(consumer_info(&stream).await.delivered.consumer_sequence, 20, "redelivered");
}

#[tokio::test]
async fn what_is_rejected_is_dropped_and_never_comes_back() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 10).await;
    let hook = Webhook::answering([400]);
    let mut daemon = durable(&nats.url(), &hook).route("jetstream.ack_wait", "1s").start_ready().await;
    hook.wait_for(|hook| hook.received() == 10, PATIENCE).await;
    wait_acknowledged(&stream).await;
    let account = daemon.stop().await;
    assert_eq!((account.received, account.dropped), (10, 10), "{account:?}");
    assert_eq!(hook.received(), 10);
}

#[tokio::test]
async fn what_is_in_hand_at_a_stop_goes_back_to_the_stream() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 1_000).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(30)));
    let mut daemon =
        durable(&nats.url(), &hook).env("BROADCASTER__SHUTDOWN__GRACE", "0s").start_ready().await;
    hook.wait_for(|hook| hook.received() == 64, PATIENCE).await;
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.returned == account.received, "{account:?}");
    hook.answer(Reply::status(200));
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    // Long before the stream would have waited for its acks.
    hook.wait_delivered(1_000, Duration::from_secs(15)).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    assert_none_lost(&hook, 1_000);
}

#[tokio::test]
async fn a_missing_stream_or_consumer_is_named_and_waited_for() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).route("jetstream.create", "false").start().await;
    daemon.wait_log("there is no stream TODOS", PATIENCE).await;
    assert_eq!(daemon.health().await.0, 503);
    let stream = stream_of(&nats, 10).await;
    daemon.wait_log("there is no consumer broadcaster-default of stream TODOS", PATIENCE).await;
    let config = consumer::pull::Config {
        durable_name: Some("broadcaster-default".to_owned()),
        max_deliver: 5,
        ..consumer::pull::Config::default()
    };
    stream.create_consumer(config).await.unwrap();
    daemon.ready(Duration::from_secs(10)).await;
    hook.wait_delivered(10, PATIENCE).await;
    daemon.wait_log("max_deliver is 5, expected -1", PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
}

#[tokio::test]
async fn a_webhook_that_asks_to_wait_leaves_the_backlog_in_the_stream() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 20_000).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(429).header("retry-after", "3"));
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    hook.wait_for(|hook| hook.received() >= 1, PATIENCE).await;
    hook.answer(Reply::status(200));
    let metrics = daemon.metrics().await;
    let held = metrics.sum("broadcaster_messages_received_total", &[]);
    assert!(held <= 3_000.0, "{held} messages were pulled though the webhook said wait");
    hook.wait_delivered(20_000, PATIENCE).await;
    wait_acknowledged(&stream).await;
    let metrics = daemon.metrics().await;
    assert!(metrics.value("broadcaster_consumer_last_pull_timestamp_seconds", &[]) > 1.7e9);
    stop(daemon).await;
    assert_none_lost(&hook, 20_000);
}

#[tokio::test]
async fn a_consumer_that_allows_too_few_in_hand_is_named() {
    let nats = NatsServer::start().await;
    let _stream = stream_of(&nats, 1_000).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(30)));
    let mut daemon = durable(&nats.url(), &hook)
        .route("jetstream.max_ack_pending", "20")
        .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
        .start_ready()
        .await;
    let line = daemon.wait_log("the consumer delivers no more", PATIENCE).await;
    assert!(line.contains("\"max_ack_pending\":20"), "{line}");
    let metrics = daemon.metrics().await;
    let gauge = |name: &str| metrics.value(&format!("broadcaster_consumer_{name}"), &[]);
    assert_eq!((gauge("pending"), gauge("ack_pending"), gauge("max_ack_pending")), (980.0, 20.0, 20.0));
    let account = daemon.stop().await;
    assert_eq!((account.received, account.returned), (20, 20), "{account:?}");
}

#[tokio::test]
async fn what_comes_while_the_lines_are_given_up_is_not_taken_any_more() {
    const LEFT: u64 = 40_000;
    let nats = NatsServer::start().await;
    let stream = make_stream(&nats).await;
    let hook = Webhook::counting();
    hook.answer(Reply::status(200).after(Duration::from_secs(60)));
    let url = hook.url();
    // The second route takes seconds to be given up: more is left than may wait for a stream that is not there.
    let mut daemon = Daemon::new()
        .env("NATS_URL", nats.url())
        .config(&format!(
            "shutdown.grace = \"0s\"\nruntime.threads = 1\n\
             [routes.a]\nwebhook.url = {url:?}\njetstream = {{ stream = \"TODOS\", create = true }}\n\
             [routes.b]\nsubject = \"core\"\nwebhook.url = {url:?}\ndead_letter.stream = \"MISSING\"\n"
        ))
        .start_ready()
        .await;
    Publisher::new(nats.client().await, "core").burst(LEFT).await;
    let all = |metrics: &Metrics| metrics.sum("broadcaster_messages_received_total", &[]) >= LEFT as f64;
    daemon.wait_metrics(all, PATIENCE).await;
    daemon.term();
    let coming = Publisher::new(nats.client().await, "todos.events").steadily(100);
    daemon.wait(PATIENCE).await;
    coming.halt().await;
    let account = daemon.account();
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    drop(stream);
}

#[tokio::test]
async fn no_more_is_asked_for_than_the_bounds_have_room_for() {
    const COUNT: u64 = 60;
    const ALL: usize = 60;
    let nats = NatsServer::start().await;
    let stream = make_stream(&nats).await;
    Publisher::new(nats.client().await, "todos.events").padded(900_000).store(COUNT).await;
    let hook = Webhook::counting();
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    // Two threads: an even part is less than the largest message that NATS takes.
    let mut daemon = durable(&nats.url(), &hook)
        .env("BROADCASTER__RUNTIME__THREADS", "2")
        .route("queue.bytes", "2MiB")
        .start_ready()
        .await;
    // Far less than the time after which somebody looks who was not woken.
    hook.wait_delivered(ALL, PATIENCE / 4).await;
    wait_acknowledged(&stream).await;
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.delivered == COUNT, "{account:?}");
    hook.assert_exactly_once(0..COUNT);
}
