//! The HTTP/1.1 client of the hot path against hyper's and Python's: a few hundred responses, good, odd and bad, cut at
//! every byte.
//!
//! What is a status to hyper must be one to ours, and the same. Ours takes more of them, where curl, Go, Node and Python
//! do: then something is odd, and the connection ends. What leaves the status in doubt is none, whatever hyper says.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use broadcaster::base::clock::Clock;
use broadcaster::deliver::fault::ExchangeError;
use broadcaster::deliver::h1::connection::HttpConnection;
use broadcaster::deliver::patience::Patience;
use broadcaster::message::outcome::Failure;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n";

/// A response of the corpus.
struct Response {
    bytes: Vec<u8>,
    /// What is odd behind its status, if anything is.
    odd: Option<&'static str>,
    /// Whether the status itself is in doubt.
    doubtful: bool,
}

/// The framing header fields, the body, and what is odd about them.
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

/// What comes before a good answer and is skipped, or is an answer itself; and what is odd about it.
const BEGINNINGS: &[(&str, Option<&str>)] = &[
    ("HTTP/1.1 100 Continue\r\n\r\n", None),
    ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n", None),
    ("HTTP/1.1 100 Continue\r\nno field\r\n\r\n", Some("odd header")),
    ("HTTP/1.1 101 Switching Protocols\r\nconnection: close\r\nupgrade: x\r\n\r\n", None),
    ("HTTP/1.2 200 OK\r\n\r\n", Some("odd status line")),
    ("HTTP/1.1  200 OK\r\n\r\n", Some("odd status line")),
    ("HTTP/1.1 200\tOK\r\n\r\n", Some("odd status line")),
    ("HTTP/1.1 200 a\u{1}b\r\n\r\n", Some("odd status line")),
    ("HTTP/1.1 200 a\0b\r\n\r\n", Some("odd status line")),
    ("HTTP/1.1 200 a\rb\r\n\r\n", Some("odd status line")),
];

/// Beginnings that leave the status in doubt.
const DOUBTFUL: &[&str] = &[
    "\r\n",
    "junk\r\n",
    " ",
    "HTTP/2 200 OK\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/0.9 200 OK\r\n\r\n",
    "HTTP/1.10 200 OK\r\n\r\n",
    "HTTP/1.1\t200 OK\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 200OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n",
    "HTTP/1.1 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "\u{0}\u{0}\u{12}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}",
];

fn corpus() -> Vec<Response> {
    let mut corpus = Vec::new();
    for status in STATUS_LINES {
        for connection in CONNECTION {
            for (fields, body, odd) in FRAMES {
                let bytes = format!("{status}\r\n{connection}{fields}\r\n{body}").into_bytes();
                let chunked_1_0 =
                    status.starts_with("HTTP/1.0") && fields.to_lowercase().contains("transfer");
                let body_of_204 = status.contains("204") && !body.is_empty();
                let odd = match odd {
                    None if chunked_1_0 => Some("chunks in HTTP/1.0"),
                    None if body_of_204 => Some("bytes behind the end"),
                    other => *other,
                };
                corpus.push(Response { bytes, odd, doubtful: false });
            }
        }
    }
    let behind =
        |beginning: &str| format!("{beginning}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").into_bytes();
    for (beginning, odd) in BEGINNINGS {
        corpus.push(Response { bytes: behind(beginning), odd: *odd, doubtful: false });
    }
    for beginning in DOUBTFUL {
        corpus.push(Response { bytes: behind(beginning), odd: None, doubtful: true });
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

/// What our client makes of a response.
#[derive(Debug, PartialEq)]
struct Read {
    status: u16,
    odd: Option<&'static str>,
    /// Whether another request can be sent over the connection.
    open: bool,
}

async fn ours(pieces: Vec<Vec<u8>>) -> Result<Read, Failure> {
    let (client, server) = duplex(1 << 20);
    let mut connection = HttpConnection::new(client, Rc::default());
    let clock = Clock::start();
    let patience = Patience::new(clock.now(), Duration::from_secs(10), clock);
    let exchange = connection.exchange(|head| head.extend_from_slice(HEAD), b"{}", &patience);
    let (answer, ()) = tokio::join!(exchange, serve(server, pieces));
    match answer {
        Ok(answer) => Ok(Read { status: answer.status, odd: answer.odd, open: connection.is_open() }),
        Err(ExchangeError::Failed(fault)) => Err(fault.failure),
        Err(other) => panic!("the request was taken: {other:?}"),
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
            let read = stream.read_buf(&mut request).await;
            assert!(read.is_ok_and(|bytes| bytes > 0), "the request comes");
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
async fn what_is_a_status_to_hyper_is_the_same_to_us() {
    let (mut both, mut only_ours, mut only_hypers) = (0, 0, 0);
    for response in corpus() {
        for end in 0..=response.bytes.len() {
            let cut = response.bytes[..end].to_vec();
            let (ours, hypers) = (ours(vec![cut.clone()]).await, hypers(vec![cut.clone()]).await);
            match (ours, hypers) {
                (Ok(read), Some(hypers)) => {
                    assert_eq!(read.status, hypers, "{}", shown(&cut));
                    both += 1;
                }
                (Ok(read), None) => {
                    assert!(!read.open && read.odd.is_some(), "{read:?}, and none to hyper: {}", shown(&cut));
                    only_ours += 1;
                }
                (Err(_), None) => {}
                (Err(failure), Some(hypers)) => {
                    assert!(response.doubtful, "{failure:?}, and {hypers} to hyper: {}", shown(&cut));
                    only_hypers += 1;
                }
            }
        }
    }
    // The test would prove little if one of these never happened.
    assert!(both > 1000 && only_ours > 1000 && only_hypers > 0, "{both} {only_ours} {only_hypers}");
}

#[tokio::test]
async fn what_is_odd_counts_by_its_status_and_ends_the_connection() {
    for response in corpus() {
        let read = ours(vec![response.bytes.clone()]).await;
        let text = shown(&response.bytes);
        match (read, response.odd) {
            (Err(failure), _) => assert!(response.doubtful, "{failure:?}: {text}"),
            (Ok(read), None) => assert!(read.odd.is_none() && !response.doubtful, "{read:?}: {text}"),
            (Ok(read), Some(odd)) => assert!(read.odd.is_some() && !read.open, "{odd}, {read:?}: {text}"),
        }
    }
}

#[tokio::test]
async fn how_the_bytes_arrive_makes_no_difference() {
    for response in corpus() {
        let whole = ours(vec![response.bytes.clone()]).await.map(|read| read.status);
        for middle in 1..response.bytes.len() {
            let (front, back) = response.bytes.split_at(middle);
            let pieces = ours(vec![front.to_vec(), back.to_vec()]).await.map(|read| read.status);
            assert_eq!(pieces, whole, "when cut at {middle}: {}", shown(&response.bytes));
        }
    }
}

/// What Python's http.client takes for the status of each of the responses that stand in its input, in hexadecimal.
const PYTHON: &str = "
import http.client, io, sys
class Stream:
    def __init__(self, data): self.data = data
    def makefile(self, *_): return io.BytesIO(self.data)
for line in sys.stdin:
    response = http.client.HTTPResponse(Stream(bytes.fromhex(line)), method='POST')
    try:
        response.begin()
        print(response.status)
    except http.client.HTTPException as error:
        print(type(error).__name__)
";

#[tokio::test]
async fn what_we_take_for_a_status_is_one_to_python_too() {
    let mut read = Vec::new();
    for Response { bytes, .. } in corpus() {
        if let Ok(answer) = ours(vec![bytes.clone()]).await {
            read.push((bytes, answer.status));
        }
    }
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let lines = |(bytes, _): &(Vec<u8>, u16)| data_encoding::HEXLOWER.encode(bytes) + "\n";
    let lines: String = read.iter().map(lines).collect();
    let mut input = python.stdin.take().expect("it is piped");
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().expect("python3 runs");
    writing.join().expect("no panic").expect("python3 reads it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.lines().count(), read.len());
    for ((bytes, status), said) in read.iter().zip(said.lines()) {
        // Of interim responses it skips only this one.
        let interim = bytes.starts_with(b"HTTP/1.1 103");
        assert!(interim || said == status.to_string(), "{said}: {}", shown(bytes));
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
