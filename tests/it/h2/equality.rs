//! The client against that of the `h2` crate: what is a status to one is the same to the other, however it is written and
//! cut into frames.
//!
//! Ours takes more: of what is odd behind a clear status, the status counts.

use std::time::Duration;

use broadcaster::base::clock::Clock;
use broadcaster::deliver::h2::connection::Connection;
use broadcaster::deliver::patience::Patience;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A status, as blocks can say it.
const STATUSES: &[(&[u8], Option<u16>)] = &[
    (&[0x88], Some(200)),
    (&[0x89], Some(204)),
    (&[0x8e], Some(500)),
    (b"\x08\x03418", Some(418)),
    (b"\x48\x03418", Some(418)),
    (b"\x18\x03418", Some(418)),
    (&[0x48, 0x82, 0x64, 0x02], Some(302)),
    (b"\x00\x07:status\x03429", Some(429)),
    (b"\x20\x88", Some(200)),
    (b"\x08\x0220", None),
    (b"\x08\x03abc", None),
    (b"\x00\x01a\x01b", None),
    (&[0xbe], None),
    (b"\x48", None),
];

/// What may stand behind it.
const FIELDS: &[&[u8]] = &[
    b"",
    b"\x0f\x26\x0230",
    b"\x40\x08x-custom\x05value",
    &[0x00, 0x83, 0xf2, 0xb2, 0x47, 0x01, b'v'],
    b"\x0f\x0d\x015",
    b"\x10\x05x-key\x00",
];

/// The frames of a head, with this block.
fn heads(block: &[u8], end: u8) -> Vec<Vec<u8>> {
    let (front, back) = block.split_at(block.len() / 2);
    let padded = [&[3], block, &[0; 3]].concat();
    let weighted = [&[0, 0, 0, 0, 9], block].concat();
    vec![
        frame(HEADERS, END_HEADERS | end, block),
        frame(HEADERS, END_HEADERS | PADDED | end, &padded),
        frame(HEADERS, END_HEADERS | PRIORITY | end, &weighted),
        [frame(HEADERS, end, front), frame(CONTINUATION, END_HEADERS, back)].concat(),
        [frame(HEADERS, end, b""), frame(CONTINUATION, 0, block), frame(CONTINUATION, END_HEADERS, b"")]
            .concat(),
    ]
}

/// An answer and its status, where it has one.
fn corpus() -> Vec<(Vec<u8>, Option<u16>)> {
    let interim = frame(HEADERS, END_HEADERS, b"\x08\x03103");
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, b"\x00\x01t\x01t");
    let bodies = [
        vec![frame(DATA, END_STREAM, b"hello")],
        vec![frame(DATA, 0, b""), frame(DATA, PADDED, b"\x02hel\0\0"), frame(DATA, END_STREAM, b"lo")],
        vec![frame(DATA, 0, b"hello"), trailers],
    ];
    let mut corpus = Vec::new();
    for (status, expected) in STATUSES {
        for fields in FIELDS {
            let block = [*status, *fields].concat();
            let has_length = fields.starts_with(b"\x0f\x0d");
            let nothing = if has_length { Vec::new() } else { heads(&block, END_STREAM) };
            corpus.extend(nothing.into_iter().map(|answer| (answer, *expected)));
            for (head, body) in heads(&block, 0).into_iter().zip(bodies.iter().cycle()) {
                let is_empty = *expected == Some(204);
                if !is_empty {
                    corpus.push(([head.clone(), body.concat()].concat(), *expected));
                    corpus.push(([interim.clone(), head, body.concat()].concat(), *expected));
                }
            }
        }
    }
    corpus
}

/// Says `answer` to the first request that comes over `stream`, and nothing more.
async fn answer(mut stream: DuplexStream, answer: Vec<u8>) {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.expect("there is room");
    let mut room = [0; 1024];
    stream.read_exact(&mut room[..24]).await.expect("a client begins with its preface");
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a request comes");
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut room[..length]).await.expect("a frame is whole");
        if head[3] == HEADERS {
            break;
        }
    }
    stream.write_all(&answer).await.expect("there is room");
    // Until the client is done.
    while stream.read(&mut room).await.is_ok_and(|count| count > 0) {}
}

/// The status as the `h2` crate reads it, where it also reads the body to its end.
async fn theirs(said: Vec<u8>) -> Option<u16> {
    let (client, server) = duplex(64 * 1024);
    let server = tokio::spawn(answer(server, said));
    let (mut requests, connection) = h2::client::handshake(client).await.expect("it has settings");
    let connection = tokio::spawn(connection);
    let request = http::Request::post("http://a/abc").body(()).expect("it is a request");
    let (response, _) = requests.send_request(request, true).expect("it can be sent");
    let status = tokio::time::timeout(Duration::from_secs(5), async {
        let response = response.await.ok()?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let data: Bytes = data.ok()?;
            body.flow_control().release_capacity(data.len()).ok()?;
        }
        Some(status)
    });
    let status = status.await.expect("it comes to an end");
    connection.abort();
    server.abort();
    status
}

/// The status as ours reads it, with what arrives cut into pieces of `step` bytes.
fn ours(said: &[u8], step: usize) -> Option<u16> {
    let clock = Clock::start();
    let patience = Patience::new(clock.now(), Duration::from_secs(30), clock);
    let mut connection = Connection::new(1, None);
    connection.receive(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let id = connection.open(|_, out| out.extend_from_slice(&[0x83, 0x86, 0x84]), b"");
    let length = connection.to_send().len();
    connection.sent(length);
    said.chunks(step).for_each(|part| connection.receive(part));
    let outcome = connection.outcome(id.expect("a stream is free"), &patience);
    outcome.expect("it comes to an end").ok().map(|answer| answer.status)
}

#[tokio::test]
async fn answers_mean_what_they_mean_to_the_h2_crate() {
    let corpus = corpus();
    assert!(corpus.len() > 500, "{}", corpus.len());
    for (said, expected) in corpus {
        for step in [said.len(), 7, 1] {
            assert_eq!(ours(&said, step), expected, "{said:x?} by {step}");
        }
        assert_eq!(theirs(said.clone()).await, expected, "{said:x?}");
    }
}
