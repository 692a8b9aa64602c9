//! The HTTP/1.1 client of the hot path against hyper's: a few hundred responses, good, odd and bad, cut at every byte.
//!
//! Ours has to be the stricter one: what it takes for an answer must be one to hyper too, with the same status; what
//! only hyper takes must be ambiguous for a reason that is written down here.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::collections::BTreeMap;
use std::rc::Rc;

use broadcaster::deliver::h1::connection::{ExchangeError, HttpConnection};
use broadcaster::message::outcome::Failure;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n";

/// A response of the corpus, and why only a lenient client takes it, if so.
struct Response {
    bytes: Vec<u8>,
    lenient: Option<&'static str>,
}

/// The framing header fields, the body, and what is ambiguous about them.
const FRAMES: &[(&str, &str, Option<&str>)] = &[
    ("", "", None),
    ("", "hello", None),
    ("content-length: 0\r\n", "", None),
    ("content-length: 5\r\n", "hello", None),
    ("Content-Length:5\r\n", "hello", None),
    ("content-length:  5  \r\n", "hello", None),
    ("content-length: 00005\r\n", "hello", None),
    ("content-length: 5\r\n", "hello world", Some("bytes behind the end")),
    ("content-length: 5\r\n", "helloHTTP/1.1 200 OK\r\n\r\n", Some("bytes behind the end")),
    ("content-length: 5\r\ncontent-length: 5\r\n", "hello", Some("two lengths")),
    ("content-length: 5\r\ncontent-length: 6\r\n", "hello!", Some("two lengths")),
    ("content-length: 5, 5\r\n", "hello", Some("two lengths")),
    ("content-length: +5\r\n", "hello", Some("odd length")),
    ("content-length: -5\r\n", "hello", Some("odd length")),
    ("content-length: 5x\r\n", "hello", Some("odd length")),
    ("content-length: 0x5\r\n", "hello", Some("odd length")),
    ("content-length: \r\n", "hello", Some("odd length")),
    ("content-length: 18446744073709551616\r\n", "hello", Some("odd length")),
    ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "0\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "00005\r\nhello\r\n0000\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "5;x=\"y\"\r\nhello\r\n0;z\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "5 ;x\r\nhello\r\n0\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\nx-sum: 1\r\ny: 2\r\n\r\n", None),
    ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\nno field\r\n\r\n", Some("odd trailer")),
    ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\njunk", Some("bytes behind the end")),
    ("transfer-encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n", Some("odd chunk")),
    ("transfer-encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n", Some("odd chunk")),
    ("transfer-encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n", Some("odd chunk")),
    ("transfer-encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n", Some("odd chunk")),
    ("transfer-encoding: chunked\r\n", "5\r\nhello!\r\n0\r\n\r\n", Some("odd chunk")),
    ("transfer-encoding: chunked\r\n", "5\r\nhello0\r\n\r\n", Some("odd chunk")),
    ("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n", Some("odd chunk")),
    (
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        Some("length and chunks"),
    ),
    (
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        Some("length and chunks"),
    ),
    ("transfer-encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", Some("another coding")),
    ("transfer-encoding: chunked, gzip\r\n", "hello", Some("another coding")),
    ("transfer-encoding: identity\r\n", "hello", Some("another coding")),
    ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n", Some("another coding")),
    ("x-a: 1\r\n folded\r\ncontent-length: 0\r\n", "", Some("folded header")),
    ("x a: 1\r\ncontent-length: 0\r\n", "", Some("odd header")),
    ("x-a : 1\r\ncontent-length: 0\r\n", "", Some("odd header")),
    (": 1\r\ncontent-length: 0\r\n", "", Some("odd header")),
    ("x-a: \u{1}\r\ncontent-length: 0\r\n", "", Some("odd header")),
    ("x-a: \u{e9}\r\ncontent-length: 0\r\n", "", None),
];

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 202",
    "HTTP/1.1 404 Not \u{e9} Found",
    "HTTP/1.1 204 No Content",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 999 Odd",
];

const CONNECTION: &[&str] =
    &["", "connection: close\r\n", "Connection: Keep-Alive, x\r\nkeep-alive: timeout=5\r\n"];

/// Responses that are told apart by their beginning.
const BEGINNINGS: &[(&str, Option<&str>)] = &[
    ("HTTP/1.1 100 Continue\r\n\r\n", None),
    ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n", None),
    (
        "HTTP/1.1 101 Switching Protocols\r\nconnection: close\r\nupgrade: x\r\n\r\n",
        Some("bytes behind the end"),
    ),
    ("\r\n", Some("odd beginning")),
    ("junk\r\n", Some("odd beginning")),
    ("HTTP/2 200 OK\r\n\r\n", Some("odd beginning")),
    ("HTTP/1.2 200 OK\r\n\r\n", Some("odd beginning")),
    ("HTTP/1.1  200 OK\r\n\r\n", Some("odd beginning")),
    ("HTTP/1.1 20 OK\r\n\r\n", Some("odd beginning")),
    ("HTTP/1.1 2000 OK\r\n\r\n", Some("odd beginning")),
    ("http/1.1 200 OK\r\n\r\n", Some("odd beginning")),
];

fn corpus() -> Vec<Response> {
    let mut corpus = Vec::new();
    for status in STATUS_LINES {
        for connection in CONNECTION {
            for (fields, body, lenient) in FRAMES {
                let bytes = format!("{status}\r\n{connection}{fields}\r\n{body}").into_bytes();
                let chunked_1_0 =
                    status.starts_with("HTTP/1.0") && fields.to_lowercase().contains("transfer");
                let body_of_204 = status.contains("204") && !body.is_empty();
                let why = match lenient {
                    None if chunked_1_0 => Some("chunks in HTTP/1.0"),
                    None if body_of_204 => Some("bytes behind the end"),
                    other => *other,
                };
                corpus.push(Response { bytes, lenient: why });
            }
        }
    }
    for (beginning, lenient) in BEGINNINGS {
        let bytes = format!("{beginning}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").into_bytes();
        corpus.push(Response { bytes, lenient: *lenient });
    }
    corpus
}

/// The other end: takes the request, sends the pieces, and closes.
async fn serve(mut stream: DuplexStream, pieces: Vec<Vec<u8>>) {
    let mut request = vec![0; HEAD.len()];
    stream.read_exact(&mut request).await.expect("the request comes");
    for piece in pieces {
        // A client that has seen enough closes.
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What our client makes of it: the status, or why there is none.
async fn ours(pieces: Vec<Vec<u8>>) -> Result<u16, Failure> {
    let (client, server) = duplex(1 << 20);
    let mut connection = HttpConnection::new(client, Rc::default());
    let exchange = connection.exchange(|head| head.extend_from_slice(HEAD), b"{}");
    let (answer, ()) = tokio::join!(exchange, serve(server, pieces));
    match answer {
        Ok(answer) => Ok(answer.status),
        Err(ExchangeError::Failed(failure)) => Err(failure),
        Err(ExchangeError::NotSent) => panic!("the request was taken"),
    }
}

/// What hyper makes of it: the status, where head and body were complete.
async fn hypers(pieces: Vec<Vec<u8>>) -> Option<u16> {
    let (client, server) = duplex(1 << 20);
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(client)).await.expect("no handshake is needed");
    let request = Request::post("/").header("host", "a").body(Full::new(Bytes::from_static(b"{}")));
    let exchange = async {
        let response = sender.send_request(request.expect("it is a request")).await.ok()?;
        let status = response.status().as_u16();
        response.into_body().collect().await.ok()?;
        Some(status)
    };
    let server = async {
        let mut stream = server;
        let mut request = Vec::new();
        while !request.ends_with(b"{}") {
            request.push(stream.read_u8().await.expect("the request comes"));
        }
        for piece in pieces {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let (status, (), _) = tokio::join!(exchange, server, connection);
    status
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

#[tokio::test]
async fn what_we_take_for_an_answer_is_one_to_hyper_too() {
    let mut lenient = BTreeMap::new();
    for response in corpus() {
        for end in 0..=response.bytes.len() {
            let cut = response.bytes[..end].to_vec();
            let (ours, hypers) = (ours(vec![cut.clone()]).await, hypers(vec![cut.clone()]).await);
            match (ours, hypers) {
                (Ok(ours), hypers) => {
                    assert!(hypers == Some(ours), "we are too lenient with {}", shown(&cut));
                }
                (Err(_), None) => {}
                (Err(failure), Some(_)) => {
                    let why = response.lenient;
                    assert!(why.is_some(), "hyper takes what is {failure:?} to us: {}", shown(&cut));
                    *lenient.entry(why.unwrap_or_default()).or_insert(0) += 1;
                }
            }
        }
    }
    // The test would prove little if hyper took nothing that we refuse.
    assert!(lenient.contains_key("bytes behind the end"), "{lenient:?}");
}

#[tokio::test]
async fn ambiguity_is_never_an_answer() {
    for response in corpus().into_iter().filter(|response| response.lenient.is_some()) {
        let outcome = ours(vec![response.bytes.clone()]).await;
        let text = String::from_utf8_lossy(&response.bytes).into_owned();
        let closes = text.contains("connection: close")
            || !text.starts_with("HTTP/1.1") && !text.contains("Keep-Alive");
        // Where the connection is closed anyway, what follows belongs to nothing. To a 204 that is any body.
        let is_behind = match response.lenient {
            Some("bytes behind the end") => true,
            Some("odd chunk" | "odd trailer") => text.contains(" 204 "),
            _ => false,
        };
        let harmless = closes && is_behind;
        assert!(outcome.is_err() || harmless, "{:?}: {}", response.lenient, shown(&response.bytes));
    }
}

#[tokio::test]
async fn how_the_bytes_arrive_makes_no_difference() {
    for response in corpus() {
        let whole = ours(vec![response.bytes.clone()]).await;
        for middle in 1..response.bytes.len() {
            let (front, back) = response.bytes.split_at(middle);
            let outcome = ours(vec![front.to_vec(), back.to_vec()]).await;
            let same = match response.lenient {
                // What comes behind the end is junk if it is there in time, and finds the connection closed if not.
                Some("bytes behind the end") => true,
                _ => outcome.is_ok() == whole.is_ok(),
            };
            assert!(same, "{whole:?} became {outcome:?} when cut at {middle}: {}", shown(&response.bytes));
        }
    }
}

#[test]
fn the_seeds_of_the_fuzzer_read_the_same_however_they_arrive() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/response");
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus is checked in") {
        let input = std::fs::read(entry.expect("a file").path()).expect("a file");
        crate::reading::check(&input);
        seeds += 1;
    }
    assert!(seeds >= 30, "{seeds} seeds: this looks at the wrong folder");
}
