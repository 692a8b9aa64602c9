//! What a receiver gets.

use super::*;
use crate::{
    requests::cloud_events::Sdk,
    signing::{SYMMETRIC, Verifier, signing},
};

/// The only request of a route with these settings, which gets these payloads, all with the headers.
async fn request(
    settings: &[(&str, &str)],
    headers: &[(&str, &str)],
    payloads: &[&'static [u8]],
) -> Received {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        let daemon = batched(daemon, payloads.len(), "20s");
        settings.iter().fold(daemon, |daemon, (key, value)| daemon.route(key, value))
    })
    .await;
    for payload in payloads {
        stage.publish_with(headers, *payload).await;
    }
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    assert_eq!(stage.close().await.delivered, payloads.len() as u64);
    hook.requests().remove(0)
}

#[tokio::test]
async fn payloads_stand_in_an_array_as_they_came() {
    let payloads: [&[u8]; 4] = [b"{ \"a\" : 1.0 }", b"not json", b"[1,\n2]", b"12345678901234567890123"];
    let request = request(&[], &[("traceparent", "00-1-2-3"), ("X-A", "b")], &payloads).await;
    let expected = r#"[{ "a" : 1.0 },{"data_base64":"bm90IGpzb24="},[1,
2],12345678901234567890123]"#;
    assert_eq!(request.text(), expected);
    let header = |name| request.header(name);
    assert_eq!([header("content-type"), header("broadcaster-count")], ["application/json", "4"]);
    assert_eq!([header("broadcaster-attempt"), header("broadcaster-subject")], ["1", "todos.events"]);
    assert_eq!([header("traceparent"), header("x-a")], ["", ""], "each message may have its own");
    assert!(header("webhook-id").starts_with("batch-"), "{}", header("webhook-id"));
}

#[tokio::test]
async fn lines_are_lines_of_json() {
    let payloads: [&[u8]; 3] = [b"{\n\"a\": \"x\\ny\"\r\n}", b"2", b"\xff"];
    let request = request(&[("batch.format", "ndjson")], &[], &payloads).await;
    let lines: Vec<Value> =
        request.text().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(lines, [json!({"a": "x\ny"}), json!(2), json!({"data_base64": "/w=="})]);
    assert_eq!(request.header("content-type"), "application/x-ndjson");
}

#[tokio::test]
async fn envelopes_say_of_each_message_what_there_is_to_know() {
    let headers = [("Nats-Msg-Id", "order-7"), ("X-User", "Zoë")];
    let request = request(&[("webhook.format", "envelope")], &headers, &[b"1", b"2"]).await;
    let body: Vec<Value> = serde_json::from_slice(&request.body).expect("it is JSON");
    assert_eq!(body.iter().map(|entry| &entry["data"]).collect::<Vec<_>>(), [&json!(1), &json!(2)]);
    assert!(body.iter().all(|entry| entry["id"] == "order-7" && entry["subject"] == "todos.events"));
    assert!(body.iter().all(|entry| entry["headers"]["x-user"] == json!(["Zoë"])), "{body:?}");
}

#[tokio::test]
async fn templates_make_each_of_them() {
    let template = r#"{"title": "{{ data.title }}", "id": "{{ id }}"}"#;
    let settings = [("webhook.format", "template"), ("webhook.template", template)];
    let payloads: [&[u8]; 2] = [br#"{"title": "a\"b"}"#, br#"{"title": "c"}"#];
    let request = request(&settings, &[("Nats-Msg-Id", "7")], &payloads).await;
    let body: Value = serde_json::from_slice(&request.body).expect("it is JSON");
    assert_eq!(body, json!([{"title": "a\"b", "id": "7"}, {"title": "c", "id": "7"}]));
}

#[tokio::test]
async fn a_template_stands_around_all_of_them() {
    let template = r#"{"source": "todos", "count": {{ count }}, "records": {{ messages }}}"#;
    let settings = [("batch.format", "template"), ("batch.template", template)];
    let request = request(&settings, &[], &[b"{\"a\": \"\xc3\xa9\"}", b"\xff"]).await;
    let expected = r#"{"source": "todos", "count": 2, "records": [{"a": "é"},{"data_base64":"/w=="}]}"#;
    assert_eq!((request.text().as_str(), request.header("content-type")), (expected, "application/json"));
}

#[tokio::test]
async fn the_sdks_read_batches_of_events() {
    let settings = [
        ("batch.format", "cloudevents"),
        ("webhook.format", "cloudevents"),
        ("webhook.cloudevents.mode", "structured"),
        ("webhook.cloudevents.type", "com.example.created"),
    ];
    let made = request(&settings, &[("Nats-Msg-Id", "id-1")], &[b"{\"n\": 1}", b"{\"n\": 2}"]).await;
    assert_eq!(made.header("content-type"), "application/cloudevents-batch+json");
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "id-1"),
        ("ce-source", "nats:todos.events"),
        ("CE-Type", "com.example.created"),
        ("ce-subject", "a%20b"),
        ("Content-Type", "application/json"),
    ];
    let of_publishers = request(&settings, &binary, &[b"{\"n\": 1}", b"{\"n\": 2}"]).await;
    for (request, subject) in [(&made, "todos.events"), (&of_publishers, "a b")] {
        for sdk in [Sdk::Python, Sdk::Node] {
            let events = sdk.receive_batch(request);
            assert_eq!(events.len(), 2, "{sdk:?}");
            for (event, number) in events.iter().zip(1..) {
                assert_eq!(event["data"], json!({ "n": number }), "{sdk:?}: {event}");
                let attribute = |name: &str| event["attributes"][name].clone();
                assert_eq!(
                    [attribute("id"), attribute("source"), attribute("type"), attribute("subject")],
                    ["id-1", "nats:todos.events", "com.example.created", subject],
                    "{sdk:?}: {event}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_whole_body_is_signed() {
    let hook = Webhook::start();
    let keys = [("keys.a.secret", SYMMETRIC)];
    let mut stage = Stage::set(&hook.url(), |daemon| signing(batched(daemon, 3, "20s"), &keys)).await;
    publish(&stage, 3).await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    stage.close().await;
    let request = hook.requests().remove(0);
    for verifier in [Verifier::StandardRust, Verifier::StandardPython, Verifier::StandardNode] {
        verifier.insist(&request, SYMMETRIC);
    }
}

#[tokio::test]
async fn a_batch_that_comes_again_has_the_same_id_and_another_one_has_not() {
    let hook = Webhook::answering([503, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| batched(daemon.impatient(), 3, "20s")).await;
    for _ in 0..2 {
        publish(&stage, 3).await;
    }
    stage.wait_processed(6).await;
    let mut ids = hook.ids();
    assert_eq!((hook.received(), ids.len()), (3, 3), "{}", hook.summary());
    let bodies = hook.bodies();
    assert_eq!((&bodies[0], &bodies[1]), (&bodies[2], &bodies[2]));
    // The first one came again, before or after the other one.
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(stage.close().await.delivered, 6);
}

#[tokio::test]
async fn a_quiet_route_waits_for_nobody_and_a_body_looks_the_same_for_one() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| batched(daemon, 100, "0s")).await;
    stage.publish_with(&[("Nats-Msg-Id", "order-7")], "7").await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    let request = hook.requests().remove(0);
    assert_eq!((request.text().as_str(), request.header("broadcaster-count")), ("[7]", "1"));
    assert_eq!(request.header("webhook-id"), "order-7");
    let metrics = stage.daemon.metrics().await;
    let latency = metrics.sum("broadcaster_delivery_latency_seconds_sum", &[]);
    assert!(latency < 1.0, "{latency} s");
    stage.close().await;
}

#[tokio::test]
async fn what_waits_while_the_workers_are_busy_goes_together() {
    const COUNT: u64 = 2_000;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    let mut stage =
        Stage::set(&hook.url(), |daemon| batched(daemon, 50, "0s").route("webhook.concurrency", "2")).await;
    publish(&stage, COUNT).await;
    stage.wait_processed(2_000).await;
    assert_taken_once(&hook, COUNT, &[]);
    let sizes: Vec<_> = hook.requests().iter().map(|request| numbers(request).len()).collect();
    assert!(sizes.iter().all(|size| *size <= 50), "{sizes:?}");
    assert!(sizes.len() < 100, "{} requests for {COUNT} messages", sizes.len());
    stage.assert_codes([("200", sizes.len() as u64)]).await;
    assert_eq!(stage.close().await.delivered, COUNT);
}

#[tokio::test]
async fn a_batch_waits_for_more_but_not_for_ever() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| batched(daemon, 1_000, "300ms")).await;
    let begin = Instant::now();
    publish(&stage, 5).await;
    stage.wait_processed(5).await;
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    assert_eq!(hook.bodies(), ["[0,1,2,3,4]"]);
    stage.close().await;
}

#[tokio::test]
async fn no_batch_is_larger_than_it_may_be() {
    let hook = Webhook::start();
    let mut stage =
        Stage::set(&hook.url(), |daemon| batched(daemon, 100, "300ms").route("batch.max_bytes", "64KiB"))
            .await;
    for size in [30_000, 30_000, 30_000, 100_000, 10] {
        stage.publish(format!("\"{}\"", "x".repeat(size - 2))).await;
    }
    stage.wait_processed(5).await;
    let mut sizes: Vec<_> = hook.bodies().iter().map(bytes::Bytes::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [12, 30_002, 60_003, 100_002]);
    stage.close().await;
}

#[tokio::test]
async fn a_batch_of_several_subjects_names_none() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        batched(daemon, 2, "20s").env("NATS_SUBJECT", "todos.>").route("webhook.format", "envelope")
    })
    .await;
    for subject in ["todos.a", "todos.b"] {
        stage.client.publish(subject, "1".into()).await.expect("the client takes it");
    }
    stage.wait_processed(2).await;
    let request = hook.requests().remove(0);
    assert!(!request.headers.contains_key("broadcaster-subject"));
    let body: Value = serde_json::from_slice(&request.body).expect("it is JSON");
    assert_eq!([&body[0]["subject"], &body[1]["subject"]], ["todos.a", "todos.b"]);
    stage.close().await;
}
