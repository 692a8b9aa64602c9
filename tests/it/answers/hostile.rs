//! Reply subjects and answers that mean no good: nothing goes where it must not, and no connection ends over it.

use super::*;
use testkit::raw::{self, Misbehaviour, RawPeer};

#[tokio::test]
async fn no_answer_goes_to_a_subject_that_is_not_for_answers() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("answer.reply", "true")).await;
    let _stream = stage.nats.stream("KEPT", &["kept"]).await;
    let mut spy = stage.client.subscribe(">").await.unwrap();
    stage.nats.wait_subscriptions(">", 1, SOON).await;
    let long = "a".repeat(4_000);
    let hostile = [
        "$JS.API.STREAM.DELETE.KEPT",
        "$SYS.REQ.SERVER.PING",
        "$KV.bucket.key",
        "broadcaster.handover.broadcaster-workers",
        "_INBOX.broadcaster-0198c0de.1",
        "a..b",
        "a.",
        "a.*",
        ">",
        "a\u{1}b",
        &long,
    ];
    let mut commands = Vec::new();
    for (number, reply) in hostile.iter().enumerate() {
        let payload = number.to_string();
        commands.extend(format!("PUB todos.events {reply} {}\r\n{payload}\r\n", payload.len()).bytes());
    }
    commands.extend(b"PUB todos.events fine.reply 2\r\n99\r\n");
    stage.nats.say(&commands).await;
    stage.wait_processed(u32::try_from(hostile.len()).unwrap() + 1).await;
    let metrics = stage.daemon.metrics().await;
    assert_eq!(metrics.sum("broadcaster_nats_reconnects_total", &[]).to_string(), "0");
    assert_eq!(stage.close().await.delivered, hostile.len() as u64 + 1);
    let answers: Vec<_> = all_of(&stage, &mut spy, "end")
        .await
        .into_iter()
        .filter(|message| !header(message, "Broadcaster-Status").is_empty())
        .map(|message| message.subject.to_string())
        .collect();
    assert_eq!(answers, ["fine.reply"]);
}

#[tokio::test]
async fn a_reply_subject_that_is_no_text_is_none() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("answer.reply", "true")).await;
    stage.nats.say(b"PUB todos.events \xff\xfe 1\r\n1\r\nPUB todos.events a\xc3 1\r\n2\r\n").await;
    stage.wait_processed(2).await;
    assert_eq!(published(&stage, "sent").await.to_string(), "0");
    assert_eq!(stage.close().await.delivered, 2);
}

#[tokio::test]
async fn an_answer_forges_no_line_of_the_protocol() {
    const BODY: &str = "\r\nPUB forged 0\r\n\r\nNATS/1.0\r\nNats-Msg-Id: forged\r\n\r\n\r\n";
    const HEAD: &[u8] = b"content-type: text/plain\xff\x80; x=\"\tPUB forged 0\"";
    let length = format!("content-length: {}\r\n", BODY.len());
    let answer = [b"HTTP/1.1 200 OK\r\n", length.as_bytes(), HEAD, b"\r\n\r\n", BODY.as_bytes()].concat();
    let peer = RawPeer::start([Misbehaviour::Say(answer.leak())]);
    let mut stage = Stage::set(&peer.url(), |daemon| {
        daemon.route("answer.reply", "true").env("BROADCASTER__RUNTIME__THREADS", "1")
    })
    .await;
    let mut spy = stage.client.subscribe("forged").await.unwrap();
    stage.nats.wait_subscriptions("forged", 1, SOON).await;
    for _ in 0..3 {
        let answer = stage.client.request("todos.events", "x".into()).await.expect("an answer comes");
        assert_eq!(answer.payload, BODY);
        assert!(header(&answer, "Content-Type").starts_with("text/plain"), "{answer:?}");
        assert_eq!(header(&answer, "Nats-Msg-Id"), "");
    }
    stage.close().await;
    assert!(all_of(&stage, &mut spy, "forged").await.is_empty());
}

/// The answer to a request over NATS, where the webhook misbehaves so.
async fn answer_of(misbehaviour: Misbehaviour) -> Message {
    let peer = RawPeer::start([misbehaviour]);
    let mut stage =
        Stage::set(&peer.url(), |daemon| daemon.route("answer.reply", "true").route("webhook.timeout", "8s"))
            .await;
    let request = async_nats::Request::new().payload("x".into()).timeout(Some(SOON));
    let answer = stage.client.send_request("todos.events", request).await.expect("an answer comes");
    assert_eq!(stage.close().await.delivered, 1);
    answer
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_waited_for() {
    const SLOW: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nslowly, byte by byte, and to its end";
    let answer = answer_of(Misbehaviour::Drip(SLOW, Duration::from_millis(60))).await;
    assert_eq!(answer.payload, "slowly, byte by byte, and to its end");
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_is_left_out() {
    for (misbehaviour, why) in [
        (Misbehaviour::SayAndClose(raw::HALF_AN_ANSWER), "the connection ended within the answer"),
        (Misbehaviour::Say(raw::HALF_AN_ANSWER), "the answer did not end in time"),
        (Misbehaviour::SayAndClose(raw::BAD_CHUNK), "a malformed chunk"),
        (Misbehaviour::Say(raw::TWO_LENGTHS), "more than one Content-Length"),
        (Misbehaviour::EndlessBody, "it is longer than answer.limit"),
        (Misbehaviour::EndlessHead, "too many header fields"),
    ] {
        let answer = answer_of(misbehaviour).await;
        let told = ["Broadcaster-Status", "Broadcaster-Body-Left-Out"].map(|name| header(&answer, name));
        assert_eq!((told, answer.payload.len()), (["200", why], 0));
    }
}
