//! Replicas that are killed under load, again and again, and not told before.

use std::time::Duration;

use super::*;
use testkit::webhook::Reply;

/// Fifty thousand messages, three replicas, of which one after the other is killed each second and started again. None is
/// lost, and what comes twice was at the webhook, or its ack on the way, when a replica was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_that_are_killed_each_second_lose_nothing() {
    const COUNT: u64 = 50_000;
    const CONCURRENCY: usize = 64;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    // Else they were through before the third is killed.
    hook.answer(Reply::status(200).after(Duration::from_millis(25)));
    let replica = || {
        durable(&nats.url(), &hook)
            .route("webhook.concurrency", &CONCURRENCY.to_string())
            .route("jetstream.ack_wait", "2s")
            .start_ready()
    };
    let mut replicas = [replica().await, replica().await, replica().await];
    let mut kills = 0;
    let mut each_second = tokio::time::interval(Duration::from_secs(1));
    while hook.distinct() < usize::try_from(COUNT).unwrap() - 3 * CONCURRENCY {
        each_second.tick().await;
        let victim = &mut replicas[kills % 3];
        victim.kill();
        *victim = replica().await;
        kills += 1;
        assert!(kills < 60, "they do not get through: {}", hook.summary());
    }
    wait_acknowledged(&stream).await;
    let again = assert_none_lost(&hook, COUNT);
    println!("{kills} kills: {again} of {COUNT} delivered again");
    assert!(kills >= 3, "only {kills} were killed");
    // At the webhook, and as many whose acks were not written, or not read.
    assert!(again <= kills * 2 * CONCURRENCY, "{again} came again after {kills} kills");
    for replica in replicas {
        stop(replica).await;
    }
}
