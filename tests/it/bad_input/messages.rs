//! Messages that a publisher should not send, but may.

use std::time::Duration;

use bytes::Bytes;

use testkit::stage::Stage;
use testkit::webhook::{Received, Webhook};

const SOON: Duration = Duration::from_secs(60);

/// The largest payload that nats-server takes unless told otherwise.
const LARGEST: usize = 1024 * 1024;

/// A webhook that received what `publish` published and a good message after it. Gives the request of the former.
async fn delivered(publish: impl AsyncFnOnce(&Stage)) -> Received {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.env("BROADCASTER__RUNTIME__THREADS", "1")).await;
    publish(&stage).await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    stage.publish("good").await;
    hook.wait_for(|hook| hook.delivered() == 2, SOON).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.delivered), (2, 2));
    let [bad, good] = <[Received; 2]>::try_from(hook.requests()).ok().expect("there were two requests");
    assert_eq!(good.text(), "good");
    bad
}

async fn assert_arrives(payload: Bytes) {
    let request = delivered(async |stage| stage.publish(payload.clone()).await).await;
    assert_eq!(request.header("content-length"), payload.len().to_string());
    assert!(
        request.body == payload,
        "{} bytes arrived changed, of {} that were sent",
        request.body.len(),
        payload.len()
    );
}

#[tokio::test]
async fn an_empty_payload_arrives_as_an_empty_body() {
    assert_arrives(Bytes::new()).await;
}

#[tokio::test]
async fn a_payload_of_a_mebibyte_arrives_whole() {
    let payload: Vec<u8> = (0..LARGEST).map(|n| (n % 251).to_le_bytes()[0]).collect();
    assert_arrives(payload.into()).await;
}

#[tokio::test]
async fn a_binary_payload_arrives_byte_for_byte() {
    assert_arrives((0..=u8::MAX).collect()).await;
}

#[tokio::test]
async fn odd_characters_in_headers_harm_neither_the_message_nor_the_request() {
    let odd = [
        ("Content-Type", "text/\u{1f41f}"),
        ("Nats-Msg-Id", "a\u{1f41f}\tb\u{7f}\u{1}"),
        ("X-Controls", "\u{0}\u{1b}[31m\u{7f}"),
        ("X-Empty", ""),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
        ("X-Colon", ":a: b:"),
        ("Host", "elsewhere.example"),
        ("Content-Length", "7"),
        ("Transfer-Encoding", "chunked"),
    ];
    let request = delivered(async |stage| stage.publish_with(&odd, "body").await).await;
    assert_eq!(request.text(), "body");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id"), "a%F0%9F%90%9F%09b%7F%01");
    assert_eq!(request.header("content-length"), "4");
    assert!(request.header("host").starts_with("127.0.0.1:"), "{}", request.header("host"));
    assert_eq!(request.header("transfer-encoding"), "");
    assert_eq!(request.header("x-controls"), "");
}

#[tokio::test]
async fn thousands_of_headers_are_carried_and_not_passed_on() {
    let request = delivered(async |stage| {
        let names: Vec<String> = (0..20_000).map(|n| format!("X-{n}")).collect();
        let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "value")).collect();
        stage.publish_with(&headers, "many").await;
    })
    .await;
    assert_eq!(request.text(), "many");
    assert!(request.headers.len() < 10, "{:?}", request.headers);
}

#[tokio::test]
async fn giant_headers_do_not_make_a_giant_request() {
    let giant = "x".repeat(300_000);
    let headers = [("Content-Type", giant.as_str()), ("Nats-Msg-Id", &giant), ("X-Giant", &giant)];
    let request = delivered(async |stage| stage.publish_with(&headers, "giant").await).await;
    assert_eq!(request.text(), "giant");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id").len(), 36, "{}", request.header("webhook-id"));
}
