//! The files in `config/examples`: what the daemon makes with each of them, of messages of every kind, is what the service
//! takes by its own words.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::{fs, path::PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};
use testkit::{daemon::Daemon, nats::NatsServer, webhook::Webhook};

use super::SOON;

const ROUTING_KEY: &str = "R0123456789ABCDEFGHIJKLMNOPQRSTU";

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the service takes, by the document that the schema names.
fn schema(preset: &str) -> Validator {
    let text = fs::read_to_string(root(&format!("tests/it/bodies/schemas/{preset}.json")))
        .unwrap_or_else(|error| panic!("{preset} has no schema: {error}"));
    let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    assert!(schema["$comment"].as_str().is_some_and(|source| source.contains("https://")), "no source");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("it is a schema")
}

/// A todo as publishers of this example send it.
fn todo() -> Value {
    json!({
        "title": "Buy <milk> & \"bread\"",
        "description": "Two litres.\nAnd a loaf.",
        "severity": "error",
        "source": "shop",
        "alert": "shopping",
        "status": "open",
    })
}

/// Messages that are less good.
fn odd() -> Vec<Vec<u8>> {
    let hostile =
        "\"}],\"chat_id\":1,\"x\":[{\"y\":\"\\\u{1}\u{0}\u{7f}\u{2028}<!channel> @everyone {{ id }} {% x";
    let long = "\u{1f600}\"\\".repeat(20_000);
    let values = [
        json!({}),
        json!({ "title": hostile, "description": hostile, "severity": hostile, "source": hostile, "alert": hostile }),
        json!({ "title": long, "description": long, "severity": long, "alert": long }),
        json!({ "title": "", "description": " ", "severity": "", "source": "", "alert": "", "status": "" }),
        json!({ "title": null, "description": null, "severity": null, "source": null, "alert": null }),
        json!({ "title": { "a": ["\""] }, "description": [1], "severity": 1, "source": true, "status": ["x"] }),
        json!({ "title": 7.5, "status": "resolved", "severity": "critical" }),
        json!([1, "\"", { "title": "x" }]),
        json!("a text"),
        json!(5),
        json!(null),
    ];
    let mut payloads: Vec<_> = values.iter().map(|value| value.to_string().into_bytes()).collect();
    payloads.extend([&b""[..], b"no JSON \"", b"\xff\xfe\"", b"{\"title\": \"cut"].map(<[u8]>::to_vec));
    payloads
}

/// What the preset makes of a good todo first, and then of all others.
async fn made_by(preset: &str) -> Value {
    let hook = Webhook::start();
    let nats = NatsServer::start().await;
    let set = |key: &str| format!("BROADCASTER__ROUTES__TODOS__{key}");
    let mut daemon = Daemon::new()
        .config_file(&root(&format!("config/examples/{preset}.toml")))
        .env("NATS_URL", nats.url())
        .env(set("WEBHOOK__URL"), hook.url())
        .env(set("WEBHOOK__SECRETS__ROUTING_KEY"), ROUTING_KEY)
        .env(set("RATE_LIMIT__PER_SECOND"), "1000")
        .env(set("RATE_LIMIT__BURST"), "1000")
        .start_ready()
        .await;
    let client = nats.client().await;
    let mut published = 1;
    client.publish("todos.eu.created", todo().to_string().into()).await.expect("a message");
    hook.wait_delivered(1, SOON).await;
    let subjects = ["todos.eu.created", "todos.\"}]},\"x\":\"", "todos.\\.{{x}}.<!channel>"];
    for (number, payload) in odd().into_iter().enumerate() {
        let subject = subjects[number % subjects.len()];
        client.publish(subject, payload.into()).await.expect("a message");
        published += 1;
    }
    hook.wait_delivered(published, SOON).await;
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "the account does not add up: {account:?}");

    let schema = schema(preset);
    let mut bodies = Vec::new();
    for request in hook.requests() {
        let body: Value = serde_json::from_slice(&request.body)
            .unwrap_or_else(|error| panic!("{preset} makes no JSON: {error}: {}", request.text()));
        let wrong: Vec<_> = schema.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{preset} does not take {body}: {wrong:#?}");
        assert_eq!(request.header("content-type"), "application/json");
        bodies.push(body);
    }
    bodies.swap_remove(0)
}

/// The value at a place of a body.
fn at<'b>(body: &'b Value, place: &str) -> &'b Value {
    body.pointer(place).unwrap_or_else(|| panic!("{body} has nothing at {place}"))
}

#[tokio::test]
async fn slack_gets_messages_that_call_nobody() {
    let body = made_by("slack").await;
    assert_eq!(body["text"], "Buy &lt;milk&gt; &amp; \"bread\"");
    assert_eq!(at(&body, "/blocks/0/text/text"), "Buy <milk> & \"bread\"");
    assert_eq!(at(&body, "/blocks/1/text/text"), "Two litres.\nAnd a loaf.");
}

#[tokio::test]
async fn discord_gets_embeds_that_call_nobody() {
    let body = made_by("discord").await;
    assert_eq!(at(&body, "/embeds/0/title"), "Buy <milk> & \"bread\"");
    assert_eq!(at(&body, "/embeds/0/fields/0/value"), "todos.eu.created");
    assert_eq!(at(&body, "/allowed_mentions/parse"), &json!([]));
}

#[tokio::test]
async fn teams_gets_adaptive_cards() {
    let body = made_by("teams").await;
    assert_eq!(at(&body, "/attachments/0/content/body/0/text"), "Buy <milk> & \"bread\"");
    assert_eq!(at(&body, "/attachments/0/content/body/1/text"), "Two litres.\nAnd a loaf.");
}

#[tokio::test]
async fn telegram_gets_plain_text() {
    let body = made_by("telegram").await;
    assert_eq!(body["text"], "Buy <milk> & \"bread\"\n\nTwo litres.\nAnd a loaf.\ntodos.eu.created");
    assert_eq!(body["chat_id"], "@your_channel");
}

#[tokio::test]
async fn pagerduty_gets_events() {
    let body = made_by("pagerduty").await;
    assert_eq!((&body["event_action"], &body["dedup_key"]), (&json!("trigger"), &json!("shopping")));
    assert_eq!(body["routing_key"], ROUTING_KEY);
    assert_eq!(at(&body, "/payload/severity"), "error");
    assert_eq!(at(&body, "/payload/custom_details/payload"), &todo());
}

#[tokio::test]
async fn receivers_of_alertmanager_get_alerts() {
    let body = made_by("alertmanager").await;
    assert_eq!(
        (&body["status"], &body["groupKey"]),
        (&json!("firing"), &json!("{}:{alertname=\"shopping\"}"))
    );
    assert_eq!(at(&body, "/alerts/0/annotations/summary"), "Buy <milk> & \"bread\"");
}

#[test]
fn every_preset_is_tried() {
    let this = include_str!("presets.rs");
    for entry in fs::read_dir(root("config/examples")).expect("there are examples") {
        let path = entry.expect("it can be read").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let text = fs::read_to_string(&path).expect("a text");
        let tried = this.contains(&format!("made_by(\"{name}\")"));
        assert!(tried || !text.contains("template"), "{name} is not tried");
    }
}
