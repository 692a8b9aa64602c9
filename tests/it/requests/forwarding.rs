//! The publisher's headers, and those of the operator that are not always the same.

use std::{fs, time::Duration};

use testkit::stage::Stage;
use testkit::webhook::{Received, Webhook};

const SOON: Duration = Duration::from_secs(60);
const NOTICE: &str = "a header of a publisher is";

/// The values of a header, in the order in which they came.
fn values<'r>(request: &'r Received, name: &str) -> Vec<&'r str> {
    request.headers.get_all(name).iter().map(|value| value.to_str().expect("values are text")).collect()
}

#[tokio::test]
async fn an_event_and_a_trace_arrive_whole_and_other_headers_do_not() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    let event = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.created"),
        ("ce-source", "/shop"),
        ("ce-id", "7"),
        ("ce-time", "2026-01-31T12:00:00Z"),
        ("ce-subject", "a%20b"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    let others = [("X-Tenant", "a"), ("Authorization", "Bearer s3cret"), ("Nats-Msg-Id", "order-7")];
    stage.publish_with(&[&event[..], &others].concat(), "{}").await;
    hook.wait_delivered(1, SOON).await;
    let request = hook.requests().remove(0);
    for (name, value) in event {
        assert!(values(&request, name).contains(&value), "{name} is {:?}", values(&request, name));
    }
    assert_eq!(values(&request, "tracestate"), ["a=1", "b=2"]);
    assert!(others.iter().all(|(name, _)| request.headers.get(*name).is_none()), "{:?}", request.headers);
    assert!(stage.daemon.logs_containing(NOTICE).is_empty());
    stage.close().await;
}

#[tokio::test]
async fn what_is_allowed_goes_with_a_request_but_for_what_is_not_the_publishers() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.route("webhook.forward", "x-*, *-kind, nats-msg-id").route("webhook.headers.x-key", "ours")
    })
    .await;
    let headers = [
        ("X-Tenant", "a"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("Todo-Kind", "b"),
        ("X-Key", "theirs"),
        ("X_Key", "theirs"),
        ("Nats-Msg-Id", "order-7"),
        ("Other", "c"),
    ];
    stage.publish_with(&headers, "{}").await;
    hook.wait_delivered(1, SOON).await;
    let request = hook.requests().remove(0);
    for (name, expected) in [
        ("x-tenant", &["a"][..]),
        ("x-a", &["1", "2"]),
        ("todo-kind", &["b"]),
        ("x-key", &["ours"]),
        ("x_key", &[]),
        ("nats-msg-id", &["order-7"]),
        ("other", &[]),
    ] {
        assert_eq!(values(&request, name), expected, "{name}");
    }
    stage.close().await;
}

#[tokio::test]
async fn an_odd_header_is_encoded_and_the_log_says_so_once_a_minute() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("webhook.forward", "*")).await;
    for number in 1..=10 {
        stage.publish_with(&[("X-Name", "Zoë")], "{}").await;
        hook.wait_delivered(number, SOON).await;
    }
    let request = hook.requests().remove(0);
    assert_eq!(request.header("x-name"), "Zo%C3%AB");
    let told = stage.daemon.logs_containing(NOTICE);
    let [line] = told.as_slice() else { panic!("one line is to say it: {told:?}") };
    assert!(
        line.contains("X-Name") && line.contains("percent-encoded") && line.contains("default"),
        "{line}"
    );
    stage.close().await;
}

#[tokio::test]
async fn the_method_is_the_operators() {
    for method in ["PUT", "PATCH"] {
        let hook = Webhook::start();
        let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("webhook.method", method)).await;
        stage.publish("{}").await;
        hook.wait_delivered(1, SOON).await;
        assert_eq!(hook.requests()[0].method.as_str(), method);
        stage.close().await;
    }
}

#[tokio::test]
async fn a_header_is_made_for_each_message_and_one_that_can_not_be_made_is_the_end_of_it() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .env("NATS_SUBJECT", "todos.>")
            .route("webhook.header_templates.x-made", "{{ tokens[1] }}/{{ headers['x-user'] }}")
    })
    .await;
    let publish = async |subject: &'static str, user: Option<&str>| {
        let mut headers = async_nats::HeaderMap::new();
        if let Some(user) = user {
            headers.insert("X-User", user);
        }
        stage.client.publish_with_headers(subject, headers, "{}".into()).await.unwrap();
    };
    publish("todos.eu", Some("ann é%")).await;
    publish("todos.us", None).await;
    publish("todos.us", Some("bob")).await;
    hook.wait_delivered(2, SOON).await;
    stage.wait_processed(3).await;
    let mut made: Vec<_> =
        hook.requests().iter().map(|request| request.header("x-made").to_owned()).collect();
    made.sort();
    assert_eq!(made, ["eu/ann %C3%A9%25", "us/bob"]);
    stage.assert_codes([("200", 2), ("unsendable", 1)]).await;
    let line = stage.daemon.wait_log("no request can be made of a message", SOON).await;
    assert!(line.contains("no value for the header X-Made: `headers['x-user']` is undefined"), "{line}");
    stage.close().await;
}

#[tokio::test]
async fn the_value_of_a_header_is_read_again_when_its_file_changes() {
    let hook = Webhook::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    // Swapped as a whole, as Kubernetes does it.
    let write = |token: &str| {
        fs::write(folder.path().join("new"), token).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
    };
    write("Bearer one\n");
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.route("webhook.headers_file.authorization", path.to_str().unwrap())
    })
    .await;
    stage.publish("{}").await;
    hook.wait_delivered(1, SOON).await;
    assert_eq!(values(&hook.requests()[0], "authorization"), ["Bearer one"]);
    write("Bearer two\n");
    stage.daemon.wait_log("file read again", SOON).await;
    stage.publish("{}").await;
    hook.wait_delivered(2, SOON).await;
    write("Bearer\u{7}three\n");
    stage.daemon.wait_log("a file can't be read again", SOON).await;
    stage.publish("{}").await;
    hook.wait_delivered(3, SOON).await;
    for request in &hook.requests()[1..] {
        assert_eq!(values(request, "authorization"), ["Bearer two"]);
    }
    assert!(stage.daemon.logs_containing("Bearer").is_empty(), "the log shows a secret");
    stage.close().await;
}
