//! Durable mode while processes are killed and connections break.

use super::*;
use testkit::webhook::Reply;

#[tokio::test]
async fn replicas_that_are_killed_every_second_lose_nothing() {
    const COUNT: u64 = 50_000;
    const CONCURRENCY: usize = 16;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(5)));
    let replica = || {
        durable(&nats.url(), &hook)
            .route("jetstream.ack_wait", "2s")
            .route("webhook.concurrency", "16")
            .start_ready()
    };
    let mut replicas = vec![replica().await, replica().await, replica().await];
    let mut kills = 0;
    while hook.distinct() < usize::try_from(COUNT).unwrap() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if hook.distinct() > 40_000 {
            // The rest comes back when the stream has waited for its acks.
            hook.wait_delivered(usize::try_from(COUNT).unwrap(), PATIENCE).await;
            break;
        }
        let index = kills % replicas.len();
        replicas[index].kill();
        replicas[index] = replica().await;
        kills += 1;
    }
    assert!(kills >= 3, "only {kills} kills");
    wait_acknowledged(&stream).await;
    let again = assert_none_lost(&hook, COUNT);
    // In flight are requests without an answer, and acks that were not written yet.
    assert!(again <= kills * 3 * CONCURRENCY, "{again} duplicates of {kills} kills");
    println!("{kills} kills, {again} duplicates");
    for replica in replicas {
        stop(replica).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_loses_nothing() {
    const COUNT: u64 = 6_000;
    let mut nats = NatsServer::start().await;
    let _stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    let daemon = durable(&nats.url(), &hook)
        .route("jetstream.ack_wait", "2s")
        .route("webhook.concurrency", "16")
        .start_ready()
        .await;
    for share in 1..=3 {
        hook.wait_for(|hook| hook.distinct() >= share * 1_000, PATIENCE).await;
        nats.restart().await;
        let before = hook.distinct();
        hook.wait_for(|hook| hook.distinct() > before + 200, Duration::from_secs(10)).await;
    }
    hook.wait_delivered(usize::try_from(COUNT).unwrap(), PATIENCE).await;
    let stream = jetstream::new(nats.client().await).get_stream("TODOS").await.unwrap();
    wait_acknowledged(&stream).await;
    let again = assert_none_lost(&hook, COUNT);
    println!("{again} duplicates of three restarts");
    stop(daemon).await;
}

#[tokio::test]
async fn a_consumer_that_is_deleted_and_made_again_is_taken_up() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 3_000).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    let daemon = durable(&nats.url(), &hook).route("webhook.concurrency", "16").start_ready().await;
    hook.wait_for(|hook| hook.distinct() >= 500, PATIENCE).await;
    stream.delete_consumer("broadcaster-default").await.unwrap();
    // It is made again by the daemon, and begins at the beginning.
    hook.wait_delivered(3_000, PATIENCE).await;
    daemon.ready(Duration::from_secs(10)).await;
    wait_acknowledged(&stream).await;
    assert_none_lost(&hook, 3_000);
    stop(daemon).await;
}

#[tokio::test]
async fn replicas_that_come_and_go_under_load_lose_nothing_and_repeat_nothing() {
    const COUNT: u64 = 20_000;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(5)));
    let replica = || durable(&nats.url(), &hook).route("webhook.concurrency", "16").start_ready();
    let (first, second) = (replica().await, replica().await);
    hook.wait_for(|hook| hook.distinct() >= 4_000, PATIENCE).await;
    let third = replica().await;
    stop(first).await;
    hook.wait_for(|hook| hook.distinct() >= 10_000, PATIENCE).await;
    stop(second).await;
    hook.wait_delivered(usize::try_from(COUNT).unwrap(), PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(third).await;
    assert_eq!(assert_none_lost(&hook, COUNT), 0, "stopping in order repeats nothing");
}

#[tokio::test]
async fn an_outage_leaves_the_backlog_in_the_stream_burns_no_attempt_and_ends_in_a_ramp() {
    const COUNT: u64 = 100_000;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::counting();
    hook.answer(Reply::status(503));
    let daemon = durable(&nats.url(), &hook)
        .route("breaker.open_for", "500ms")
        .route("retry.attempts", "3")
        .route("retry.initial", "50ms")
        .start_ready()
        .await;
    daemon.wait_log("breaker open", PATIENCE).await;
    let (began, rss) = (hook.received(), daemon.rss_kib());
    let outage = Duration::from_secs(10);
    tokio::time::sleep(outage).await;
    let attempts = hook.received() - began;
    // Three probes each half second, and no more.
    assert!(attempts <= 3 * 20 + 64, "{attempts} requests while the webhook was down");
    assert!(daemon.rss_kib() < rss + 4 * 1024, "{} KiB grew to {}", rss, daemon.rss_kib());
    hook.answer(Reply::status(200));
    let recovered = tokio::time::Instant::now();
    hook.wait_for(|hook| hook.delivered() > 0, Duration::from_secs(5)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(hook.delivered() < 1_000, "{} in the first second: that is a flood", hook.delivered());
    hook.wait_delivered(usize::try_from(COUNT).unwrap(), PATIENCE).await;
    println!("{COUNT} delivered {:?} after recovery", recovered.elapsed());
    wait_acknowledged(&stream).await;
    hook.assert_exactly_once(0..COUNT);
    stop(daemon).await;
}
