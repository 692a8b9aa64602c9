//! Compressed bodies of requests, as decoders of receivers read them.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use testkit::{
    nats,
    process::tool,
    stage::Stage,
    webhook::{Behaviour, Received, Reply, Webhook},
};

use crate::signing::{SYMMETRIC, Verifier, signing};

const SOON: Duration = Duration::from_secs(20);

/// A decoder that receivers use.
#[derive(Clone, Copy, Debug)]
enum Decoder {
    /// `gzip` of Python.
    Python,
    /// `zlib` of Node.
    Node,
    /// The command `zstd`.
    Zstd,
}

impl Decoder {
    fn of(encoding: &str) -> &'static [Self] {
        match encoding {
            "gzip" => &[Self::Python, Self::Node],
            "zstd" => &[Self::Zstd],
            other => unreachable!("nobody has asked for {other:?}"),
        }
    }

    fn decode(self, body: &[u8]) -> Vec<u8> {
        let mut command = match self {
            Self::Python => {
                let mut python = Command::new("python3");
                let program =
                    "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
                python.args(["-c", program]);
                python
            }
            Self::Node => {
                let mut node = Command::new(tool("webhook-node", "WEBHOOK_NODE"));
                let program =
                    "process.stdout.write(require('zlib').gunzipSync(require('fs').readFileSync(0)))";
                node.args(["-e", program]);
                node
            }
            Self::Zstd => {
                let mut zstd = Command::new(tool("zstd", "ZSTD"));
                zstd.args(["--decompress", "--stdout"]);
                zstd
            }
        };
        let mut decoder =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the decoder starts");
        decoder.stdin.take().expect("it is piped").write_all(body).expect("the decoder reads");
        let output = decoder.wait_with_output().expect("the decoder ends");
        assert!(output.status.success(), "{self:?} can't decode {} bytes", body.len());
        output.stdout
    }
}

/// The body of `request` as each decoder for its encoding reads it.
fn decoded(request: &Received) -> Vec<u8> {
    let bodies =
        Decoder::of(request.header("content-encoding")).iter().map(|decoder| decoder.decode(&request.body));
    let mut bodies: Vec<_> = bodies.collect();
    let body = bodies.remove(0);
    assert!(bodies.iter().all(|other| *other == body), "decoders read something else");
    body
}

/// A payload that compression makes smaller.
fn large() -> String {
    "{\"title\": \"buy milk\"},".repeat(500)
}

#[tokio::test]
async fn decoders_read_what_is_sent() {
    for encoding in ["gzip", "zstd"] {
        let hook = Webhook::start();
        let mut stage =
            Stage::set(&hook.url(), |daemon| daemon.route("webhook.compression.encoding", encoding)).await;
        // Several, as what compresses them is made once.
        for round in 1..=3 {
            stage.publish(format!("{round}{}", large())).await;
            hook.wait_for(|hook| hook.delivered() == round, SOON).await;
        }
        for (request, round) in hook.requests().iter().zip(1..) {
            assert_eq!(request.header("content-encoding"), encoding);
            assert_eq!(decoded(request), format!("{round}{}", large()).as_bytes());
            assert!(request.body.len() < large().len() / 4, "{encoding}: {} bytes", request.body.len());
        }
        stage.close().await;
    }
}

#[tokio::test]
async fn what_is_small_or_is_compressed_already_is_sent_as_it_is() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.route("webhook.compression.encoding", "gzip").route("webhook.forward", "content-encoding")
    })
    .await;
    stage.publish("x".repeat(1_023)).await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    stage.publish_with(&[("Content-Encoding", "br")], large()).await;
    hook.wait_for(|hook| hook.delivered() == 2, SOON).await;
    let encodings: Vec<_> =
        hook.requests().iter().map(|request| request.header("content-encoding").to_owned()).collect();
    assert_eq!(encodings, ["", "br"]);
    assert_eq!(hook.bodies(), [Bytes::from("x".repeat(1_023)), Bytes::from(large())]);
    stage.close().await;
}

#[tokio::test]
async fn the_signature_is_of_the_body_as_an_application_reads_it() {
    let hook = Webhook::start();
    let keys = [("keys.a.secret", SYMMETRIC)];
    let mut stage = Stage::set(&hook.url(), |daemon| {
        signing(daemon.route("webhook.compression.encoding", "gzip"), &keys)
    })
    .await;
    // The library of Python reads it as JSON.
    stage.publish(format!("[{}1]", large())).await;
    hook.wait_for(|hook| hook.delivered() == 1, SOON).await;
    let request = hook.requests().remove(0);
    let request = Received { body: decoded(&request).into(), ..request };
    for verifier in [Verifier::StandardRust, Verifier::StandardPython, Verifier::StandardNode] {
        verifier.insist(&request, SYMMETRIC);
    }
    stage.close().await;
}

#[tokio::test]
async fn a_webhook_that_takes_no_compressed_bodies_is_said_to() {
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| {
        Reply::status(if request.headers.contains_key("content-encoding") { 415 } else { 200 })
    }));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.route("webhook.compression.encoding", "zstd").route("dead_letter.subject", "dead")
    })
    .await;
    let mut letters = stage.client.subscribe("dead").await.expect("a subscription");
    stage.client.flush().await.expect("NATS is there");
    stage.publish(large()).await;
    stage.publish("small").await;
    stage.wait_processed(2).await;
    let letter = nats::next(&mut letters, SOON).await;
    assert_eq!(letter.payload, large(), "a letter has the payload as it came");
    let headers = letter.headers.expect("a letter has headers");
    let cause = headers.get("Broadcaster-Last-Cause").map(|cause| cause.as_str()).unwrap_or_default();
    assert_eq!(cause, "the body was compressed, and it may not take zstd: see webhook.compression");
    stage.daemon.wait_log("it may not take zstd", SOON).await;
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dead_lettered), (1, 1), "{account:?}");
}

#[tokio::test]
async fn batches_are_compressed_as_a_whole() {
    const COUNT: usize = 200;
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon
            .env("BROADCASTER__RUNTIME__THREADS", "1")
            .route("batch.max_messages", &COUNT.to_string())
            .route("batch.max_wait", "20s")
            .route("webhook.format", "envelope")
            .route("webhook.compression.encoding", "zstd")
    })
    .await;
    for number in 0..COUNT {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(200).await;
    let request = hook.requests().remove(0);
    let body: Vec<serde_json::Value> = serde_json::from_slice(&decoded(&request)).expect("it is JSON");
    assert!(
        body.iter()
            .map(|entry| &entry["data"])
            .eq((0..COUNT).map(serde_json::Value::from).collect::<Vec<_>>().iter())
    );
    assert_eq!(request.header("broadcaster-count"), COUNT.to_string());
    assert_eq!(stage.close().await.delivered, COUNT as u64);
}
