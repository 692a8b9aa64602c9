//! Durable mode on three servers, of which one after the other goes away.

use super::*;
use testkit::{nats::cluster::Cluster, webhook::Reply};

/// How long it may take to go on, once there is a leader.
const RECOVERY: Duration = Duration::from_secs(10);

async fn goes_on(hook: &Webhook) {
    let before = hook.distinct();
    hook.wait_for(|hook| hook.distinct() >= before + 200, RECOVERY).await;
}

/// Waits until another server than `killed` leads: that takes the servers up to nine seconds, and is theirs alone.
async fn elected(killed: &str, leader: impl AsyncFn() -> String) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while leader().await == killed {
        assert!(tokio::time::Instant::now() < end, "no new leader in place of {killed}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn leaders_that_are_killed_and_servers_that_step_down_lose_nothing() {
    const COUNT: u64 = 8_000;
    let mut cluster = Cluster::start().await;
    let stream = cluster.stream("TODOS", &["todos.>"]).await;
    fill(cluster.client().await, 0..COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    let daemon = durable(&cluster.url(), &hook)
        .route("jetstream.ack_wait", "2s")
        .route("webhook.concurrency", "10")
        .start_ready()
        .await;
    goes_on(&hook).await;

    let killed = cluster.kill_leader(&stream).await;
    elected(&killed, async || stream.leader().await).await;
    elected(&killed, async || stream.consumer_leader("broadcaster-default").await).await;
    goes_on(&hook).await;
    cluster.restart(&killed).await;
    cluster.wait_whole().await;

    let killed = cluster.kill_consumer_leader(&stream, "broadcaster-default").await;
    elected(&killed, async || stream.leader().await).await;
    elected(&killed, async || stream.consumer_leader("broadcaster-default").await).await;
    goes_on(&hook).await;
    cluster.restart(&killed).await;
    cluster.wait_whole().await;

    // A server that announces its end is left before it ends.
    let leaving = stream.consumer_leader("broadcaster-default").await;
    cluster.node(&leaving).lame_duck();
    goes_on(&hook).await;

    hook.wait_delivered(usize::try_from(COUNT).unwrap(), PATIENCE).await;
    let again = assert_none_lost(&hook, COUNT);
    println!("{again} duplicates of two killed leaders and a lame duck");
    stop(daemon).await;
}
