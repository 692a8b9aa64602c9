//! `answer.publish`: what the webhook has answered, on a subject and in a stream.

use super::*;
use testkit::{
    daemon::Daemon,
    nats::next,
    webhook::{Behaviour, Reply},
};

use crate::durable::{durable, fill};

#[tokio::test]
async fn the_last_answer_to_each_message_is_published() {
    let hook = Webhook::start();
    let mut failed = false;
    hook.answer(Behaviour::by(move |request| match &request.body[..] {
        b"refused" => Reply::status(400).body("no"),
        b"retried" if !std::mem::replace(&mut failed, true) => Reply::status(503).body("later"),
        _ => Reply::status(202).body("yes"),
    }));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.impatient().without_breaker().route("answer.publish", "todos_answers.all")
    })
    .await;
    let mut answers = stage.client.subscribe("todos_answers.all").await.unwrap();
    stage.nats.wait_subscriptions("todos_answers.all", 1, SOON).await;
    for (payload, body, told) in [
        ("taken", "yes", ["202", "1", ""]),
        ("refused", "no", ["400", "1", "rejected"]),
        ("retried", "yes", ["202", "2", ""]),
    ] {
        // Who waits for a reply gets none from a route that only publishes.
        stage.client.publish_with_reply("todos.events", "nobody", payload.into()).await.unwrap();
        let answer = next(&mut answers, SOON).await;
        let names = ["Broadcaster-Status", "Broadcaster-Attempts", "Broadcaster-Reason"];
        assert_eq!(names.map(|name| header(&answer, name)), told, "{payload}");
        assert_eq!(answer.payload, body, "{payload}");
        assert_eq!(header(&answer, "Broadcaster-Id"), hook.ids().pop().unwrap(), "{payload}");
    }
    stage.wait_processed(3).await;
    stage.close().await;
    let more = all_of(&stage, &mut answers, "todos_answers.all").await;
    assert!(more.is_empty(), "published twice: {more:?}");
}

#[tokio::test]
async fn a_durable_route_puts_its_answers_into_a_stream() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("TODOS", &["todos.>"]).await;
    let kept = nats.stream("ANSWERS", &["answers.>"]).await;
    fill(nats.client().await, 0..500).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).body("taken"));
    let mut daemon = durable(&nats.url(), &hook).route("answer.publish", "answers.todos").start_ready().await;
    stream.wait_acknowledged("broadcaster-default", SOON).await;
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.delivered == 500, "{account:?}");
    assert_eq!(kept.messages().await, 500);
}

#[tokio::test]
async fn without_nats_answers_are_counted_and_nothing_piles_up() {
    const COUNT: u64 = 5_000;
    let hook = Webhook::counting();
    hook.answer(Reply::status(503));
    let nats = NatsServer::start().await;
    let daemon = Daemon::between(&nats, &hook.url())
        .impatient()
        .without_breaker()
        .route("retry.attempts", "100000")
        .route("answer.reply", "true")
        .route("answer.publish", "answers.all")
        .start_ready()
        .await;
    let client = nats.client().await;
    let mut stage = Stage { nats, client, daemon };
    for number in 0..COUNT {
        let published =
            stage.client.publish_with_reply("todos.events", "_INBOX.x", number.to_string().into());
        published.await.unwrap();
    }
    let received = |metrics: &testkit::metrics::Metrics| {
        metrics.sum("broadcaster_messages_received_total", &[]) >= COUNT as f64
    };
    stage.daemon.wait_metrics(received, SOON).await;
    stage.nats.kill();
    let lost = |metrics: &testkit::metrics::Metrics| metrics.sum("broadcaster_nats_connected", &[]) < 1.0;
    stage.daemon.wait_metrics(lost, SOON).await;
    hook.answer(Reply::status(200).body(vec![b'x'; 60_000]));
    stage.wait_processed(u32::try_from(COUNT).unwrap()).await;
    let lost = published(&stage, "disconnected").await;
    assert_eq!(
        (lost.to_string(), published(&stage, "sent").await.to_string()),
        ((2 * COUNT).to_string(), "0".to_owned())
    );
    let said = stage.daemon.logs_containing("an answer can't be published");
    assert!((1..=2).contains(&said.len()), "{said:?}");
    assert!(stage.daemon.own_memory() < 150 << 20, "{} bytes", stage.daemon.own_memory());
    assert_eq!(stage.close().await.delivered, COUNT);
}
