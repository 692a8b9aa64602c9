//! Batches out of a stream.

use super::*;
use crate::durable::{durable, stream_of, wait_acknowledged};
use testkit::nats::NatsServer;

#[tokio::test]
async fn what_is_in_the_stream_comes_in_full_batches_and_is_acknowledged_one_by_one() {
    const COUNT: u64 = 3_000;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(5)));
    let mut daemon = batched(durable(&nats.url(), &hook), 1_000, "2s")
        .route("webhook.concurrency", "1")
        .start_ready()
        .await;
    hook.wait_for(|hook| answered(hook, |status| status == 200).len() == 3_000, SOON).await;
    wait_acknowledged(&stream).await;
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.delivered == COUNT, "{account:?}");
    assert_taken_once(&hook, COUNT, &[]);
    let sizes: Vec<_> = hook.requests().iter().map(|request| numbers(request).len()).collect();
    assert!(sizes.contains(&1_000), "no batch was full: {sizes:?}");
    let info = stream.consumer_info("broadcaster-default").await.expect("it is there");
    assert_eq!(info.delivered.consumer_sequence, COUNT, "redelivered");
}

#[tokio::test]
async fn a_culprit_becomes_a_letter_and_all_are_acknowledged() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 100).await;
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| {
        Reply::status(if numbers(request).contains(&42) { 422 } else { 200 })
    }));
    let mut daemon = batched(durable(&nats.url(), &hook), 25, "1s")
        .route("dead_letter.subject", "dead")
        .route("dead_letter.stream", "DEAD")
        .route("dead_letter.create", "true")
        .start_ready()
        .await;
    wait_acknowledged(&stream).await;
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
    assert_eq!((account.delivered, account.dead_lettered, account.returned), (99, 1, 0), "{account:?}");
    assert_taken_once(&hook, 100, &[42]);
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_ack_wait_causes_no_redelivery() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 60).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(2_500)));
    // The last ten wait for more as long as they may, longer than ack_wait too.
    let mut daemon =
        batched(durable(&nats.url(), &hook), 25, "3s").route("jetstream.ack_wait", "1s").start_ready().await;
    wait_acknowledged(&stream).await;
    let account = daemon.stop().await;
    assert_eq!(account.delivered, 60, "{account:?}");
    assert_taken_once(&hook, 60, &[]);
    let info = stream.consumer_info("broadcaster-default").await.expect("it is there");
    assert_eq!(info.delivered.consumer_sequence, 60, "redelivered");
}
