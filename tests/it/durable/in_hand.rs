//! What is in hand is known by its place in the stream: a copy of it is not delivered as another message.

use super::*;
use testkit::webhook::Reply;

#[tokio::test]
async fn nats_that_is_away_for_longer_than_ack_wait_repeats_nothing_that_is_in_hand() {
    const COUNT: u64 = 600;
    let mut nats = NatsServer::start().await;
    let _stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(4)));
    let daemon = durable(&nats.url(), &hook)
        .route("jetstream.ack_wait", "1s")
        .route("webhook.concurrency", "600")
        .route("webhook.timeout", "30s")
        .start_ready()
        .await;
    let all_wait = |hook: &Webhook| hook.received() > 50;
    hook.wait_for(all_wait, PATIENCE).await;
    nats.kill();
    // Longer than the stream waits for an ack.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    nats.restart().await;
    hook.wait_delivered(600, PATIENCE).await;
    let stream = nats.client().await;
    let stream = jetstream::new(stream).get_stream("TODOS").await.unwrap();
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..COUNT);
    assert_eq!(hook.received(), 600, "posted again: {}", hook.summary());
}

#[tokio::test]
async fn a_server_that_stands_still_for_longer_than_ack_wait_repeats_nothing() {
    const COUNT: u64 = 100;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(2)));
    // Two lanes: a copy may come to the one that has not got it.
    let daemon = durable(&nats.url(), &hook)
        .env("BROADCASTER__RUNTIME__THREADS", "2")
        .route("jetstream.ack_wait", "1s")
        .route("webhook.concurrency", "100")
        .start_ready()
        .await;
    hook.wait_for(|hook| hook.received() > 20, PATIENCE).await;
    for _ in 0..3 {
        nats.stand_still(Duration::from_millis(1_200)).await;
    }
    hook.wait_delivered(100, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..COUNT);
}

#[tokio::test]
async fn an_ack_wait_that_is_edited_is_taken_over_by_every_lane() {
    const COUNT: u64 = 40;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(14)));
    let daemon = durable(&nats.url(), &hook)
        .env("BROADCASTER__RUNTIME__THREADS", "2")
        .route("webhook.concurrency", "40")
        .start_ready()
        .await;
    hook.wait_for(|hook| hook.received() >= 8, PATIENCE).await;
    let config = consumer_info(&stream).await.config;
    let config = consumer::pull::Config {
        durable_name: config.durable_name,
        description: config.description,
        ack_wait: Duration::from_secs(2),
        max_deliver: config.max_deliver,
        max_ack_pending: config.max_ack_pending,
        filter_subject: config.filter_subject,
        ..consumer::pull::Config::default()
    };
    stream.create_consumer(config).await.unwrap();
    // From the next look on there are heartbeats for the new one: none comes again after that.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let before = consumer_info(&stream).await.delivered.consumer_sequence;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let repeated = consumer_info(&stream).await.delivered.consumer_sequence - before;
    hook.answer(Reply::status(200));
    hook.wait_delivered(40, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..COUNT);
    assert!(repeated <= 8, "{repeated} came again though the new ack_wait was known");
}
