//! In durable mode, what will not be delivered is acknowledged when its dead letter is stored, and not before.

use super::*;

#[tokio::test]
async fn nothing_is_acknowledged_while_the_stream_of_dead_letters_is_away() {
    const COUNT: u64 = 500;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::answering([400]);
    let mut daemon = durable(&nats.url(), &hook)
        .route("jetstream.ack_wait", "1s")
        .route("dead_letter.stream", "DEAD")
        .start_ready()
        .await;
    hook.wait_for(|hook| hook.received() == 500, PATIENCE).await;
    // Longer than ack_wait: there are heartbeats for dead letters that wait, too.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let info = consumer_info(&stream).await;
    assert_eq!((info.num_ack_pending, info.num_redelivered), (500, 0), "{info:?}");
    assert_eq!(daemon.metrics().await.sum("broadcaster_messages_processed_total", &[]), 0.0);

    let dead = nats.stream("DEAD", &["broadcaster.dead.>"]).await;
    wait_acknowledged(&stream).await;
    assert_eq!(dead.messages().await, COUNT);
    assert_eq!(hook.received(), 500, "nothing was delivered again");
    let account = daemon.stop().await;
    assert_eq!((account.dead_lettered, account.dropped), (COUNT, 0), "{account:?}");
}

#[tokio::test]
async fn what_waits_for_the_stream_of_dead_letters_at_a_stop_comes_back() {
    const COUNT: u64 = 100;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::answering([400]);
    let rejected = || durable(&nats.url(), &hook).route("dead_letter.stream", "DEAD").start_ready();
    let mut daemon = rejected().await;
    hook.wait_for(|hook| hook.received() == 100, PATIENCE).await;
    let account = daemon.stop().await;
    assert_eq!((account.returned, account.dead_lettered), (COUNT, 0), "{account:?}");

    let dead = nats.stream("DEAD", &["broadcaster.dead.>"]).await;
    let mut daemon = rejected().await;
    wait_acknowledged(&stream).await;
    assert_eq!(dead.messages().await, COUNT);
    assert_eq!(daemon.stop().await.dead_lettered, COUNT);
}
