//! `answer.verdict`: a receiver says what to do with a message.

use super::*;
use testkit::{
    metrics::Metrics,
    webhook::{Behaviour, Reply},
};

use crate::durable::{durable, fill};

/// Answers `first` once for each message, and 200 from then on.
fn once(first: Reply) -> Behaviour {
    let mut known = std::collections::HashSet::new();
    Behaviour::by(
        move |request| {
            if known.insert(request.body.clone()) { first.clone() } else { Reply::status(200) }
        },
    )
}

fn said(verdict: &str) -> Reply {
    Reply::status(200).header("webhook-delivery", verdict)
}

#[tokio::test]
async fn a_message_is_tried_again_when_the_receiver_says_so() {
    for first in [
        said("retry"),
        Reply::status(202).header("content-type", "application/json").body("{\"verdict\": \"retry\"}"),
    ] {
        let hook = Webhook::start();
        hook.answer(once(first));
        let mut stage =
            Stage::set(&hook.url(), |daemon| daemon.impatient().route("answer.verdict", "true")).await;
        stage.publish("1").await;
        stage.publish("2").await;
        stage.wait_processed(2).await;
        let mut attempts: Vec<_> =
            hook.requests().iter().map(|request| request.header("broadcaster-attempt").to_owned()).collect();
        attempts.sort();
        assert_eq!(attempts, ["1", "1", "2", "2"]);
        stage.assert_codes([("200", 2), ("asked_again", 2)]).await;
        assert_eq!(stage.close().await.delivered, 2);
    }
}

#[tokio::test]
async fn a_message_waits_as_long_as_the_receiver_says_and_no_other_does() {
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| match (&request.body[..], request.header("broadcaster-attempt")) {
        (b"1", "1") => said("retry; after=2"),
        _ => Reply::status(200),
    }));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.impatient().route("answer.verdict", "true").route("retry.max", "10s")
    })
    .await;
    let begin = std::time::Instant::now();
    stage.publish("1").await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    stage.publish("2").await;
    hook.wait_for(|hook| hook.received() == 2, SOON).await;
    assert!(begin.elapsed() < Duration::from_millis(1_800), "the other message waited too");
    stage.wait_processed(2).await;
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    stage.close().await;
}

#[tokio::test]
async fn a_message_that_is_always_asked_for_again_ends_after_its_attempts() {
    let hook = Webhook::start();
    hook.answer(said("retry"));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .impatient()
            .route("answer.verdict", "true")
            .route("retry.attempts", "3")
            .route("dead_letter.subject", "dead")
    })
    .await;
    let mut dead = stage.client.subscribe("dead").await.unwrap();
    stage.nats.wait_subscriptions("dead", 1, SOON).await;
    stage.publish("1").await;
    let letter = testkit::nats::next(&mut dead, SOON).await;
    let names = ["Broadcaster-Reason", "Broadcaster-Last-Failure", "Broadcaster-Attempts"];
    assert_eq!(names.map(|name| header(&letter, name)), ["attempts_exhausted", "asked_again", "3"]);
    assert_eq!(stage.close().await.dead_lettered, 1);
}

#[tokio::test]
async fn what_the_receiver_drops_is_neither_retried_nor_kept() {
    for first in [
        said("drop"),
        Reply::status(503).header("webhook-delivery", "drop"),
        Reply::status(400).body("{\"verdict\": \"drop\"}"),
    ] {
        let hook = Webhook::start();
        hook.answer(first);
        let mut stage = Stage::set(&hook.url(), |daemon| {
            daemon.impatient().route("answer.verdict", "true").route("dead_letter.subject", "dead")
        })
        .await;
        stage.publish("1").await;
        stage.wait_processed(1).await;
        assert_eq!(hook.received(), 1);
        let account = stage.close().await;
        assert_eq!((account.filtered, account.dead_lettered), (1, 0), "{account:?}");
    }
}

#[tokio::test]
async fn a_word_that_is_no_verdict_counts_for_nothing_and_is_said_once() {
    let hook = Webhook::start();
    hook.answer(said("perhaps"));
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("answer.verdict", "true")).await;
    for number in 0..10 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(10).await;
    let told = stage.daemon.logs_containing("a verdict that is none");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(stage.close().await.delivered, 10);
}

#[tokio::test]
async fn nobody_is_listened_to_who_need_not_be() {
    let hook = Webhook::start();
    hook.answer(said("retry"));
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    assert_eq!(hook.received(), 1);
    assert_eq!(stage.close().await.delivered, 1);
}

#[tokio::test]
async fn verdicts_hold_for_messages_from_a_stream() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("TODOS", &["todos.>"]).await;
    fill(nats.client().await, 0..30).await;
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| match request.number().unwrap_or_default() % 3 {
        0 => said("drop"),
        1 if request.header("broadcaster-attempt") == "1" => said("retry"),
        _ => Reply::status(200),
    }));
    let daemon = durable(&nats.url(), &hook).impatient().route("answer.verdict", "true");
    let mut daemon = daemon.start_ready().await;
    let done = |metrics: &Metrics| metrics.sum("broadcaster_messages_processed_total", &[]) >= 30.0;
    daemon.wait_metrics(done, SOON).await;
    stream.wait_acknowledged("broadcaster-default", SOON).await;
    let account = daemon.stop().await;
    assert!(account.adds_up(), "{account:?}");
    assert_eq!((account.delivered, account.filtered, account.in_hand), (20, 10, 0));
    assert_eq!(hook.received(), 40);
    assert_eq!(stream.consumer("broadcaster-default").await.num_redelivered, 0);
}
