//! Envelopes and templates, and what becomes of a message that none can be made of.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use async_nats::jetstream;
use serde_json::{Value, json};
use testkit::{
    daemon::Daemon,
    nats::{NatsServer, next},
    stage::Stage,
    webhook::Webhook,
};

use super::SOON;

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(body)))
}

#[tokio::test]
async fn an_envelope_says_all_there_is_to_know_of_a_message() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("webhook.format", "envelope")).await;
    let headers = [("Nats-Msg-Id", "order-7"), ("X-A", "1"), ("X-A", "\"2\""), ("Content-Type", "text/csv")];
    stage.publish_with(&headers, r#"{"amount": 12345678901234567890.10}"#).await;
    hook.wait_delivered(1, SOON).await;
    stage.publish(&b"\xff\"}"[..]).await;
    hook.wait_delivered(2, SOON).await;

    let requests = hook.requests();
    let text = requests[0].text();
    assert!(text.ends_with(r#""data":{"amount": 12345678901234567890.10}}"#), "{text}");
    let envelope = json_of(&requests[0].body);
    assert_eq!((&envelope["id"], &envelope["subject"]), (&json!("order-7"), &json!("todos.events")));
    assert_eq!(envelope["headers"]["x-a"], json!(["1", "\"2\""]));
    assert!(humantime::parse_rfc3339(envelope["time"].as_str().unwrap()).is_ok(), "{text}");
    assert!(envelope.get("stream").is_none() && envelope.get("sequence").is_none(), "{text}");
    assert_eq!(requests[0].header("content-type"), "application/json");
    assert_eq!(json_of(&requests[1].body)["data_base64"], "/yJ9");
    stage.close().await;
}

#[tokio::test]
async fn an_envelope_from_a_stream_says_its_place_there() {
    let hook = Webhook::start();
    let nats = NatsServer::start().await;
    let context = jetstream::new(nats.client().await);
    let stream = jetstream::stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        ..jetstream::stream::Config::default()
    };
    context.create_stream(stream).await.expect("a stream is made");
    for payload in ["1", "2"] {
        let stored = context.publish("todos.events", payload.into()).await.expect("it is sent");
        stored.await.expect("it is stored");
    }
    let mut daemon = Daemon::between(&nats, &hook.url())
        .route("jetstream.stream", "TODOS")
        .route("jetstream.create", "true")
        .route("webhook.format", "envelope")
        .route("webhook.concurrency", "1")
        .start_ready()
        .await;
    hook.wait_delivered(2, SOON).await;
    daemon.stop().await;
    let envelope = json_of(&hook.requests()[1].body);
    assert_eq!((&envelope["stream"], &envelope["sequence"]), (&json!("TODOS"), &json!(2)));
    assert_eq!(envelope["data"], 2);
}

#[tokio::test]
async fn a_template_makes_a_body_of_any_type() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .route("webhook.format", "template")
            .route("webhook.content_type", "application/x-www-form-urlencoded")
            .route(
                "webhook.template",
                "title={{ data.title }}&by={{ headers['X-User'] | default('nobody') }}",
            )
    })
    .await;
    stage.publish_with(&[("x-user", "ann & bob")], r#"{"title": "a=b&c"}"#).await;
    hook.wait_delivered(1, SOON).await;
    let request = hook.requests().remove(0);
    assert_eq!(request.text(), "title=a%3Db%26c&by=ann%20%26%20bob");
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
    stage.close().await;
}

#[tokio::test]
async fn a_message_that_no_body_can_be_made_of_is_a_dead_letter_as_it_came() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .route("webhook.format", "template")
            .route("webhook.template", r#"{"text": "{{ data.title }}"}"#)
            .route("dead_letter.subject", "dead.todos")
    })
    .await;
    let mut dead = stage.client.subscribe("dead.todos").await.expect("a subscription");
    stage.client.flush().await.expect("the server has it");
    for (payload, cause) in [
        (r#"{"name": "x"}"#, "no body by the template: `data.title` is undefined"),
        ("hello", "the payload is no JSON"),
    ] {
        stage.publish(payload).await;
        let letter = next(&mut dead, SOON).await;
        let headers = letter.headers.expect("it has headers");
        let header = |name| headers.get(name).map(ToString::to_string).unwrap_or_default();
        assert_eq!(&letter.payload[..], payload.as_bytes());
        assert_eq!(header("Broadcaster-Reason"), "unsendable");
        assert!(header("Broadcaster-Last-Cause").contains(cause), "{headers:?}");
    }
    // It was nobody's fault but the message's own: the next one is delivered.
    stage.publish(r#"{"title": "x"}"#).await;
    hook.wait_delivered(1, SOON).await;
    assert_eq!((hook.received(), hook.requests()[0].text()), (1, r#"{"text": "x"}"#.to_owned()));
    stage.close().await;
}

#[tokio::test]
async fn a_dead_letter_has_the_payload_and_not_the_body_that_was_made() {
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.route("webhook.format", "envelope").route("dead_letter.subject", "dead.todos")
    })
    .await;
    let mut dead = stage.client.subscribe("dead.todos").await.expect("a subscription");
    stage.client.flush().await.expect("the server has it");
    stage.publish("{\"a\": 1}").await;
    assert_eq!(&next(&mut dead, SOON).await.payload[..], b"{\"a\": 1}");
    assert_eq!(json_of(&hook.requests()[0].body)["data"], json!({ "a": 1 }));
    stage.close().await;
}

#[tokio::test]
async fn a_body_is_the_same_on_every_attempt() {
    let hook = Webhook::answering([503, 503, 200]);
    let mut stage =
        Stage::set(&hook.url(), |daemon| daemon.impatient().route("webhook.format", "envelope")).await;
    stage.publish("x").await;
    hook.wait_delivered(1, SOON).await;
    let without_time = |body: &[u8]| {
        let mut envelope = json_of(body);
        envelope.as_object_mut().and_then(|fields| fields.remove("time"));
        envelope
    };
    let bodies: Vec<_> = hook.requests().iter().map(|request| without_time(&request.body)).collect();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    stage.close().await;
}
