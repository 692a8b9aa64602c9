//! `answer.reply`: requests over NATS, by the official client, answered by a webhook.

use super::*;
use testkit::{
    daemon::Daemon,
    webhook::{Behaviour, Reply},
};

fn replying(daemon: Daemon) -> Daemon {
    daemon.impatient().without_breaker().route("answer.reply", "true")
}

async fn ask(stage: &Stage, payload: &str) -> Message {
    let request = stage.client.request("todos.events", payload.to_owned().into());
    tokio::time::timeout(SOON, request).await.expect("an answer comes").expect("an answer comes")
}

#[tokio::test]
async fn a_request_is_answered_by_the_webhook() {
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| {
        Reply::status(201).header("content-type", "text/csv").body([b"to ", &request.body[..]].concat())
    }));
    let mut stage = Stage::set(&hook.url(), replying).await;
    for number in 0..50 {
        let answer = ask(&stage, &number.to_string()).await;
        assert_eq!(answer.payload, format!("to {number}").as_bytes());
        let told = ["Broadcaster-Status", "Content-Type", "Broadcaster-Attempts", "Nats-Service-Error"];
        assert_eq!(told.map(|name| header(&answer, name)), ["201", "text/csv", "1", ""]);
        assert_eq!(header(&answer, "Broadcaster-Subject"), "todos.events");
    }
    let sent: Vec<_> = hook.ids();
    assert_eq!(sent.len(), 50);
    assert!((published(&stage, "sent").await - 50.0).abs() < 0.1);
    assert_eq!(stage.close().await.delivered, 50);
}

#[tokio::test]
async fn a_message_that_is_given_up_is_answered_with_the_reason() {
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| match &request.body[..] {
        b"refused" => Reply::status(422).header("content-type", "application/json").body("{\"no\":1}"),
        b"failing" => Reply::status(500).body("broken"),
        b"silent" => Reply::status(200).after(Duration::from_secs(60)),
        _ => Reply::status(200),
    }));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        replying(daemon)
            .route("retry.attempts", "2")
            .route("webhook.timeout", "300ms")
            .route("filter", "text != 'unwanted'")
    })
    .await;
    for (payload, body, told) in [
        ("refused", "{\"no\":1}", ["422", "rejected", "422", "rejected"]),
        ("failing", "broken", ["500", "attempts_exhausted", "500", "attempts_exhausted"]),
        ("silent", "", ["", "attempts_exhausted", "504", "attempts_exhausted"]),
        ("unwanted", "", ["", "filtered", "404", "filtered"]),
        ("good", "", ["200", "", "", ""]),
    ] {
        // What a webhook that takes nothing fails with is charged to the webhook: another one in between shows whose fault it is.
        let asked = ask(&stage, payload);
        let others = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                stage.publish("good").await;
            }
        };
        let answer = tokio::select! {
            answer = asked => answer,
            () = others => unreachable!("it goes on for ever"),
        };
        let names =
            ["Broadcaster-Status", "Broadcaster-Reason", "Nats-Service-Error-Code", "Nats-Service-Error"];
        assert_eq!(names.map(|name| header(&answer, name)), told, "{payload}");
        assert_eq!(answer.payload, body.as_bytes(), "{payload}");
    }
    stage.close().await;
}

#[tokio::test]
async fn who_asks_gets_one_answer_however_often_it_was_attempted() {
    let hook = Webhook::answering([503, 503, 200]);
    let mut stage = Stage::set(&hook.url(), replying).await;
    let mut inbox = stage.client.subscribe("answers.here").await.unwrap();
    stage.nats.wait_subscriptions("answers.here", 1, SOON).await;
    stage.client.publish_with_reply("todos.events", "answers.here", "x".into()).await.unwrap();
    stage.publish("without a reply subject").await;
    stage.wait_processed(2).await;
    assert_eq!(published(&stage, "sent").await.to_string(), "1");
    assert_eq!(stage.close().await.delivered, 2);
    let answers = all_of(&stage, &mut inbox, "answers.here").await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(header(&answers[0], "Broadcaster-Status"), "200");
}

#[tokio::test]
async fn half_a_body_is_no_answer() {
    const LIMIT: usize = 64 << 10;
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| {
        let size = request.text().parse().expect("the message is a number");
        Reply::status(200).body(vec![b'x'; size])
    }));
    let nats = NatsServer::builder().config("max_payload: 50KB").start().await;
    let daemon = replying(Daemon::between(&nats, &hook.url())).start_ready().await;
    let client = nats.client().await;
    let mut stage = Stage { nats, client, daemon };
    for (size, left_out) in [
        (40_000, ""),
        (LIMIT, "it is larger than NATS takes"),
        (LIMIT + 1, "it is longer than answer.limit"),
        (1 << 20, "it is longer than answer.limit"),
    ] {
        let answer = ask(&stage, &size.to_string()).await;
        let length = if left_out.is_empty() { size } else { 0 };
        assert_eq!((answer.payload.len(), header(&answer, "Broadcaster-Body-Left-Out")), (length, left_out));
        assert_eq!(header(&answer, "Broadcaster-Status"), "200");
    }
    assert_eq!(published(&stage, "too_large").await.to_string(), "1");
    stage.close().await;
}

#[tokio::test]
async fn who_waits_at_a_stop_is_answered_by_the_replica_that_takes_over() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Reply::status(503));
    let replica = || {
        let daemon = replying(Daemon::between(&nats, &hook.url())).route("retry.attempts", "1000");
        daemon.env("BROADCASTER__SHUTDOWN__GRACE", "0s")
    };
    let mut leaving = replica().start_ready().await;
    let client = nats.client().await;
    let asked = tokio::spawn({
        let client = client.clone();
        async move {
            let request = async_nats::Request::new().payload("x".into()).timeout(Some(SOON));
            client.send_request("todos.events", request).await
        }
    });
    hook.wait_for(|hook| hook.received() > 0, SOON).await;
    let mut staying = replica().start_ready().await;
    nats.wait_subscriptions("broadcaster.handover.broadcaster-workers", 2, SOON).await;
    assert_eq!(leaving.stop().await.handed_over, 1);
    hook.answer(Reply::status(200).body("by the other one"));
    let answer = asked.await.unwrap().expect("an answer comes");
    assert_eq!(answer.payload, "by the other one");
    assert!(staying.stop().await.adds_up());
}

#[tokio::test]
async fn what_is_answered_last_arrives_before_the_end() {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(700)).body("late"));
    let mut stage = Stage::set(&hook.url(), replying).await;
    let asked = tokio::spawn({
        let client = stage.client.clone();
        async move { client.request("todos.events", "x".into()).await }
    });
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    assert_eq!(stage.close().await.delivered, 1);
    assert_eq!(asked.await.unwrap().expect("an answer comes").payload, "late");
}
