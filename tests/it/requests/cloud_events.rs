//! CloudEvents: those of publishers, and those that are made, as the official SDKs receive them.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use data_encoding::BASE64;
use serde_json::{Value, json};
use testkit::stage::Stage;
use testkit::webhook::{Received, Webhook};
use testkit::{nats, process};

const SOON: Duration = Duration::from_secs(60);

/// An official SDK, as a receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sdk {
    Python,
    /// It leaves percent-encoded what is so in headers, against the HTTP binding, and takes bodies for text.
    Node,
}

impl Sdk {
    /// The events that are in the batch of this request.
    pub(crate) fn receive_batch(self, request: &Received) -> Vec<Value> {
        self.receive(std::slice::from_ref(request))
    }

    /// The events that these requests are.
    fn receive(self, requests: &[Received]) -> Vec<Value> {
        let (tool, variable, script) = match self {
            Self::Python => ("cloudevents-python", "CLOUDEVENTS_PYTHON", "cloud_event.py"),
            Self::Node => ("cloudevents-node", "CLOUDEVENTS_NODE", "cloud_event.js"),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/requests").join(script);
        let mut receiver = Command::new(process::tool(tool, variable))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the receiver starts");
        let lines: String = requests.iter().map(|request| format!("{}\n", as_json(request))).collect();
        let mut stdin = receiver.stdin.take().expect("it is piped");
        stdin.write_all(lines.as_bytes()).expect("the receiver reads");
        drop(stdin);
        let output = receiver.wait_with_output().expect("the receiver ends");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} takes no such event: {problem}");
        let text = String::from_utf8(output.stdout).expect("it writes JSON");
        text.lines().map(|line| serde_json::from_str(line).expect("it writes JSON")).collect()
    }
}

fn as_json(request: &Received) -> Value {
    let headers = request.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("it is text").into()));
    json!({ "headers": headers.collect::<serde_json::Map<_, Value>>(), "body": BASE64.encode(&request.body) })
}

fn assert_attributes(sdk: Sdk, event: &Value, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(event["attributes"][name], *value, "{name} by {sdk:?} in {event}");
    }
}

/// What is set, a payload, and the event that it becomes.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [u8], Value);

#[tokio::test]
async fn the_events_of_publishers_pass_through_whole() {
    let hook = Webhook::start();
    for format in ["raw", "cloudevents"] {
        let mut stage = Stage::set(&hook.url(), |daemon| {
            let daemon = daemon.route("webhook.format", format);
            // What is an event is not made into another one, nor needs its headers to be allowed for that.
            if format == "raw" { daemon } else { daemon.route("webhook.forward", "[]") }
        })
        .await;
        let before = hook.delivered();
        let binary = [
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "/shop"),
            ("ce-type", "com.example.created"),
            ("ce-time", "2026-01-31T12:00:00Z"),
            ("ce-subject", "a%20b"),
            ("Content-Type", "application/json"),
        ];
        stage.publish_with(&binary, r#"{"n": 1}"#).await;
        hook.wait_for(|hook| hook.delivered() == before + 1, SOON).await;
        let structured =
            r#"{"specversion":"1.0","id":"8","source":"/shop","type":"com.example.created","data":{"n":2}}"#;
        let kind = [("content-type", "application/cloudevents+json; charset=utf-8")];
        stage.publish_with(&kind, structured).await;
        hook.wait_for(|hook| hook.delivered() == before + 2, SOON).await;
        let requests = hook.requests().split_off(before);
        assert_eq!(requests[1].text(), structured);
        for sdk in [Sdk::Python, Sdk::Node] {
            let events = sdk.receive(&requests);
            assert_eq!(events.len(), 2);
            let common = [("source", "/shop"), ("type", "com.example.created"), ("specversion", "1.0")];
            events.iter().for_each(|event| assert_attributes(sdk, event, &common));
            assert_attributes(sdk, &events[0], &[("id", "7")]);
            assert_attributes(sdk, &events[1], &[("id", "8")]);
            assert_eq!([&events[0]["data"], &events[1]["data"]], [&json!({"n": 1}), &json!({"n": 2})]);
            let subject = if sdk == Sdk::Node { "a%20b" } else { "a b" };
            assert_eq!(events[0]["attributes"]["subject"], subject);
            assert!(events[0]["attributes"]["time"].as_str().unwrap().starts_with("2026-01-31T12:00:00"));
        }
        stage.close().await;
    }
}

#[tokio::test]
async fn messages_become_events_in_either_mode() {
    let hook = Webhook::start();
    for mode in ["binary", "structured"] {
        let mut stage = Stage::set(&hook.url(), |daemon| {
            daemon
                .env("NATS_SUBJECT", "todos.>")
                .route("webhook.format", "cloudevents")
                .route("webhook.cloudevents.mode", mode)
                .route("webhook.cloudevents.type", "com.example.{{ tokens[1] }}")
                .route("webhook.cloudevents.subject", "{{ headers['x-user'] | default('nobody') }}")
                .route("webhook.cloudevents.dataschema", "https://example.com/{{ tokens[1] }}.json")
        })
        .await;
        let before = hook.delivered();
        let cases: [Case<'_>; 3] = [
            // What looks like a part of an event is none.
            (
                &[("Nats-Msg-Id", "id-1"), ("ce-type", "forged"), ("x-user", "Zoë")],
                b"{\"n\": 1}",
                json!({"n": 1}),
            ),
            (
                &[("Nats-Msg-Id", "id-1"), ("Content-Type", "text/plain"), ("x-user", "Zoë")],
                b"hello",
                json!("hello"),
            ),
            (
                &[("Nats-Msg-Id", "id-1"), ("Content-Type", "application/octet-stream"), ("x-user", "Zoë")],
                b"\xff\0",
                json!({ "base64": "/wA=" }),
            ),
        ];
        for (number, (headers, payload, _)) in cases.iter().enumerate() {
            let mut map = async_nats::HeaderMap::new();
            headers.iter().for_each(|(name, value)| map.insert(*name, *value));
            stage.client.publish_with_headers("todos.created", map, payload.to_vec().into()).await.unwrap();
            hook.wait_for(|hook| hook.delivered() == before + number + 1, SOON).await;
        }
        let requests = hook.requests().split_off(before);
        assert!(requests.iter().all(|request| request.header("webhook-id") == "id-1"));
        for sdk in [Sdk::Python, Sdk::Node] {
            let is_encoded = sdk == Sdk::Node && mode == "binary";
            let subject = if is_encoded { "Zo%C3%AB" } else { "Zoë" };
            for (event, (.., data)) in sdk.receive(&requests).iter().zip(&cases) {
                let expected = [
                    ("specversion", "1.0"),
                    ("id", "id-1"),
                    ("source", "nats:todos.created"),
                    ("type", "com.example.created"),
                    ("dataschema", "https://example.com/created.json"),
                    ("subject", subject),
                ];
                assert_attributes(sdk, event, &expected);
                assert!(event["attributes"]["time"].is_string(), "{event}");
                // The script gives the SDK for Node a text.
                let is_lost = is_encoded && data.is_object() && data["base64"].is_string();
                // Python takes only JSON and text for what they are in binary mode.
                assert!(is_lost || event["data"] == *data, "{sdk:?}, {mode}: {event} has not {data}");
            }
        }
        stage.close().await;
    }
}

#[tokio::test]
async fn a_message_that_can_be_no_event_is_a_dead_letter_with_the_reason() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .route("webhook.format", "cloudevents")
            .route("webhook.cloudevents.source", "{{ headers['x-source'] }}")
            .route("dead_letter.subject", "dead")
    })
    .await;
    let mut letters = stage.client.subscribe("dead").await.unwrap();
    stage.client.flush().await.unwrap();
    stage.publish_with(&[("X-Source", "not a uri")], "{}").await;
    let letter = nats::next(&mut letters, SOON).await;
    let headers = letter.headers.expect("a letter has headers");
    let header = |name: &str| headers.get(name).map(|value| value.as_str()).unwrap_or_default();
    assert_eq!(header("Broadcaster-Reason"), "unsendable");
    let cause = header("Broadcaster-Last-Cause");
    assert_eq!(cause, "no CloudEvent: its source: it is no URI reference (RFC 3986)");
    assert_eq!(hook.received(), 0);
    stage.publish_with(&[("X-Source", "/shop")], "{}").await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    stage.close().await;
}
