//! The reader of what a NATS server says against async-nats: what both take must be the same to both.
//!
//! Left out is where they differ on purpose: async-nats ends lines at a lone LF, takes headers without a name, trims blanks
//! that are not ASCII, keeps those that a value begins with on its second line, and gives the connection up, or the process,
//! over what can't be a header.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{ConnectOptions, Subscriber};
use broadcaster::message::HeaderBlock;
use broadcaster::nats::intake::{Incoming, Operation};
use testkit::nats::next;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::intake_reading::{check, read};

const SOON: Duration = Duration::from_secs(60);

/// A message as either of them gives it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    subject: String,
    reply: Option<String>,
    headers: BTreeMap<String, Vec<String>>,
    payload: Vec<u8>,
    status: Option<u16>,
    description: String,
    length: usize,
}

impl From<async_nats::Message> for Read {
    fn from(message: async_nats::Message) -> Self {
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (name, values) in message.headers.iter().flat_map(async_nats::HeaderMap::iter) {
            headers.insert(name.to_string(), values.iter().map(ToString::to_string).collect());
        }
        Self {
            subject: message.subject.to_string(),
            reply: message.reply.map(|reply| reply.to_string()),
            headers,
            payload: message.payload.to_vec(),
            status: message.status.map(|status| status.as_u16()),
            description: message.description.unwrap_or_default(),
            length: message.length,
        }
    }
}

impl From<Incoming> for Read {
    fn from(message: Incoming) -> Self {
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in message.headers().iter() {
            headers.entry(name.to_owned()).or_default().push(value.into_owned());
        }
        Self {
            subject: message.subject().into_owned(),
            reply: message.reply().map(ToOwned::to_owned),
            headers,
            payload: message.payload().to_vec(),
            status: message.status(),
            description: message.description().to_owned(),
            length: message.length(),
        }
    }
}

/// What async-nats reads from a server that sends `bytes` to its first subscription: `count` messages.
async fn by_async_nats(bytes: Vec<u8>, count: usize) -> Vec<Read> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the client connects");
        let mut stream = BufReader::new(stream);
        let info = r#"{"server_id":"x","version":"2.15.0","proto":1,"headers":true,"max_payload":1048576}"#;
        let write = format!("INFO {info}\r\n");
        stream.write_all(write.as_bytes()).await.expect("the client reads");
        let mut line = String::new();
        while !line.starts_with("SUB ") {
            line.clear();
            assert_ne!(
                stream.read_line(&mut line).await.expect("the client writes"),
                0,
                "the client has gone"
            );
            if line.starts_with("PING") {
                stream.write_all(b"PONG\r\n").await.expect("the client reads");
            }
        }
        stream.write_all(&bytes).await.expect("the client reads");
        stream
    });
    let options = ConnectOptions::new().subscription_capacity(1 << 16);
    let client = options.connect(address.to_string()).await.expect("the server answers");
    let mut subscriber: Subscriber = client.subscribe("a").await.expect("the client takes it");
    client.flush().await.ok();
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Read::from(next(&mut subscriber, SOON).await));
    }
    drop(server.await);
    all
}

/// What ours reads, `step` bytes at a time.
fn by_ours(bytes: &[u8], step: usize) -> Vec<Read> {
    let (operations, error) = read(bytes, step);
    assert_eq!(error, None);
    let messages = operations.into_iter().filter_map(|operation| match operation {
        Operation::Message(message) => Some(Read::from(message)),
        _ => None,
    });
    messages.collect()
}

/// All header blocks of some oddities that both take.
fn blocks() -> Vec<String> {
    let versions = [
        "NATS/1.0",
        "NATS/1.0 503",
        "NATS/1.0 503 No Responders",
        "NATS/1.0  404   No  Messages ",
        "NATS/1.0409 x",
    ];
    let names = ["A", "x-y", "Nats-Msg-Id", "!#$%&'*+-.^_`|~()/<>@,;\\\"[]?={}"];
    let colons = [":", ": ", ":  \t"];
    let values = [
        "",
        "a",
        "a b",
        "a ",
        "\ta\t ",
        "a:b",
        ":",
        "Zo\u{eb}",
        "\u{1f41f}",
        "\0\u{1}\u{1b}[31m\u{7f}",
        "a\r\n b",
        "a\r\n\tb \r\n  c",
        "a\r\n ",
    ];
    let mut blocks: Vec<_> = versions.iter().map(|version| format!("{version}\r\n\r\n")).collect();
    for name in names {
        for colon in colons {
            for value in values {
                blocks.push(format!("NATS/1.0\r\n{name}{colon}{value}\r\n\r\n"));
                blocks.push(format!(
                    "NATS/1.0 100 x\r\n{name}{colon}{value}\r\nB: 1\r\n{name}:{value}\r\n\r\n"
                ));
                blocks.push(format!("NATS/1.0\r\nB: 1\r\n\r\n{name}{colon}{value}\r\n"));
            }
        }
    }
    blocks
}

/// Messages that both take, and other operations between them.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    let payloads: [&[u8]; 4] = [b"", b"x", b"\r\n", b"MSG a 1 1\r\nx\r\n"];
    for subject in ["a", "todos.events", "Zo\u{eb}.\u{1f41f}", "$JS.ACK.x", "a.*.>"] {
        for reply in ["", "_INBOX.x.1 ", "\u{eb} "] {
            for payload in payloads {
                let size = payload.len();
                for line in [
                    format!("MSG {subject} 1 {reply}{size}\r\n"),
                    format!("MSG  {subject}   1  {reply} 000{size} \r\n"),
                    format!("PING\r\n+OK\r\nINFO {{}}\r\nMSG {subject} 1 {reply}{size}\r\n"),
                ] {
                    corpus.push([line.as_bytes(), payload, b"\r\n"].concat());
                }
            }
        }
    }
    for (at, block) in blocks().into_iter().enumerate() {
        let (payload, reply) = (payloads[at % payloads.len()], ["", "r "][at % 2]);
        let (headers, size) = (block.len(), block.len() + payload.len());
        let line = format!("HMSG a 1 {reply}{headers} {size}\r\n{block}");
        corpus.push([line.as_bytes(), payload, b"\r\n"].concat());
    }
    corpus
}

#[tokio::test]
async fn what_async_nats_takes_is_the_same_to_ours() {
    let corpus = corpus();
    let bytes = corpus.concat();
    let theirs = by_async_nats(bytes.clone(), corpus.len()).await;
    for step in [bytes.len(), 1000, 1] {
        let ours = by_ours(&bytes, step);
        assert_eq!(ours.len(), theirs.len());
        for ((ours, theirs), bytes) in ours.iter().zip(&theirs).zip(&corpus) {
            assert_eq!(ours, theirs, "by {step}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn every_message_is_the_same_wherever_it_is_cut() {
    for bytes in corpus() {
        let whole = by_ours(&bytes, bytes.len());
        assert_eq!(whole.len(), 1);
        for cut in 1..bytes.len() {
            // The first piece ends at the cut; a step of its size may cut again, behind it.
            assert_eq!(by_ours(&bytes, cut), whole, "cut after {cut}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[tokio::test]
async fn a_block_is_taken_by_async_nats_whatever_is_put_in() {
    let odd =
        ["", "a", "a b", "a:b", "\r", "\n", "a\r\nB: c", "\r\n\r\n", " a", "a ", "\0", "\u{eb}", "\u{1f41f}"];
    let odd = odd.iter().map(|text| text.as_bytes()).chain([&b"\xff"[..], b"a\xc3", b"\xf0\x9f:\r"]);
    let mut messages = Vec::new();
    let mut count = 0;
    for name in odd.clone() {
        let mut block = HeaderBlock::new();
        for value in odd.clone() {
            block.put(&String::from_utf8_lossy(name), value);
            block.put("X", value);
        }
        let block = block.as_bytes();
        let line = format!("HMSG a 1 {0} {0}\r\n", block.len());
        messages.extend([line.as_bytes(), block, b"\r\n"].concat());
        count += 1;
    }
    let theirs = by_async_nats(messages.clone(), count).await;
    assert_eq!(by_ours(&messages, messages.len()), theirs);
    assert!(theirs.iter().all(|message| message.headers["X"].len() == odd.clone().count()));
}

/// What the fuzzer begins with, and what it has found.
#[test]
fn what_the_fuzzer_begins_with_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/intake");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let input = std::fs::read(entry.expect("it can be read").path()).expect("it is a file");
        for step in 0..32 {
            check(&[&[step], input.get(1..).unwrap_or_default()].concat());
        }
        count += 1;
    }
    assert!(count >= 15, "{count} inputs");
}
