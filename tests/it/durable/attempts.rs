//! Attempts are what was attempted, whatever the stream counts.

use super::*;
use testkit::webhook::{Behaviour, Reply};

/// Each message is refused once, which it pays for, and taken then.
fn refuse_each_once() -> Behaviour {
    let mut seen = std::collections::HashSet::new();
    Behaviour::by(move |request| Reply::status(if seen.insert(request.number()) { 500 } else { 200 }))
}

/// What the webhook was told of attempts at the message with this number.
fn attempts_at(hook: &Webhook, number: u64) -> Vec<String> {
    let requests = hook.requests();
    let of_it = requests.iter().filter(|request| request.number() == Some(number));
    of_it.map(|request| request.header("broadcaster-attempt").to_owned()).collect()
}

#[tokio::test]
async fn restarts_during_an_outage_kill_no_message() {
    const COUNT: u64 = 150;
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::answering([503]);
    for restart in 0..6 {
        let before = hook.received();
        let mut daemon = durable(&nats.url(), &hook)
            .env("BROADCASTER__SHUTDOWN__GRACE", "100ms")
            .route("retry.attempts", "4")
            .start_ready()
            .await;
        hook.wait_for(|hook| hook.received() > before, PATIENCE).await;
        let account = daemon.stop().await;
        assert_eq!((account.dropped, account.dead_lettered), (0, 0), "restart {restart}: {account:?}");
    }
    hook.answer(refuse_each_once());
    let daemon =
        durable(&nats.url(), &hook).without_breaker().route("retry.attempts", "4").start_ready().await;
    hook.wait_delivered(150, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..COUNT);
}

#[tokio::test]
async fn a_killed_replica_costs_no_attempt() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 1).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(60)));
    let replica = || {
        durable(&nats.url(), &hook)
            .route("jetstream.ack_wait", "1s")
            .without_breaker()
            .route("retry.attempts", "2")
            .start_ready()
    };
    for attempt in 1..=4 {
        let mut daemon = replica().await;
        hook.wait_for(|hook| hook.received() == attempt, PATIENCE).await;
        daemon.kill();
    }
    hook.answer(refuse_each_once());
    let daemon = replica().await;
    hook.wait_delivered(1, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
}

#[tokio::test]
async fn the_last_attempt_ends_a_message_that_goes_from_one_replica_to_the_next() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 1).await;
    let hook = Webhook::answering([500]);
    let replica = || {
        durable(&nats.url(), &hook)
            .without_breaker()
            .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
            .route("retry.attempts", "4")
            .route("retry.initial", "5s")
            .route("retry.multiplier", "1")
            .route("retry.jitter", "none")
            .start_ready()
    };
    let mut current = replica().await;
    let mut dropped = 0;
    for attempt in 1..=4 {
        hook.wait_for(|hook| attempts_at(hook, 0).len() == attempt, PATIENCE).await;
        if attempt == 4 {
            wait_acknowledged(&stream).await;
        }
        // The next one listens before this one leaves, as in a rolling restart.
        let next = replica().await;
        dropped += current.stop().await.dropped;
        current = next;
    }
    stop(current).await;
    assert_eq!(attempts_at(&hook, 0), ["1", "2", "3", "4"]);
    assert_eq!(dropped, 1);
}

#[tokio::test]
async fn a_retry_that_waits_in_the_stream_keeps_its_attempts_over_a_restart() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 1).await;
    let hook = Webhook::answering([500]);
    let replica = |attempts: &'static str| {
        durable(&nats.url(), &hook)
            .without_breaker()
            .route("retry.attempts", attempts)
            // Longer than a message waits here, so that it goes back at once.
            .route("retry.initial", "31s")
            .route("retry.max", "31s")
            .route("retry.jitter", "none")
            .start_ready()
    };
    let first = replica("2").await;
    hook.wait_for(|hook| hook.received() == 1, PATIENCE).await;
    let second = replica("2").await;
    stop(first).await;
    wait_acknowledged(&stream).await;
    assert_eq!(attempts_at(&hook, 0), ["1", "2"]);
    stop(second).await;
}
