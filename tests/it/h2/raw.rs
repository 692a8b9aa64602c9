//! A server on a real socket that does what none should: each oddity has its consequence, and what is to be delivered is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use testkit::stage::Stage;

use super::http2;

const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const OK: &[u8] = &[0x88];

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(super) fn headers(stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, block)
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// What is said to the first request, and what follows.
struct Misdeed {
    name: &'static str,
    says: fn(u32) -> Vec<u8>,
    closes: bool,
    /// How the attempt fails, where it is one.
    fails: Option<&'static str>,
    /// How many connections all messages take.
    connections: usize,
}

const fn misdeed(
    name: &'static str,
    fails: Option<&'static str>,
    connections: usize,
    says: fn(u32) -> Vec<u8>,
) -> Misdeed {
    Misdeed { name, says, closes: false, fails, connections }
}

const PROTOCOL: Option<&str> = Some("protocol");
const RESET: Option<&str> = Some("reset");

const MISDEEDS: &[Misdeed] = &[
    misdeed("refuses the stream", None, 1, |id| reset(id, 7)),
    misdeed("says goodbye before it", None, 2, |_| frame(GOAWAY, 0, 0, &[0; 8])),
    misdeed("says goodbye and is wrong about it", None, 2, |_| {
        frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11])
    }),
    misdeed("cancels the stream", RESET, 1, |id| reset(id, 8)),
    misdeed("wants HTTP/1.1", PROTOCOL, 1, |id| reset(id, 13)),
    misdeed("has a body and no head", PROTOCOL, 1, |id| frame(DATA, END_STREAM, id, b"x")),
    misdeed("has no status", PROTOCOL, 1, |id| headers(id, b"\x00\x01a\x01b", true)),
    misdeed("has a status of its table", PROTOCOL, 1, |id| headers(id, &[0xbe], true)),
    misdeed("has interim answers only", PROTOCOL, 1, |id| headers(id, b"\x08\x03103", false).repeat(20)),
    misdeed("switches protocols", PROTOCOL, 1, |id| headers(id, b"\x08\x03101", false)),
    misdeed("pushes", PROTOCOL, 2, |id| frame(PUSH_PROMISE, END_HEADERS, id, &[0, 0, 0, 2, 0x82])),
    misdeed("means to push", PROTOCOL, 2, |_| frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1])),
    misdeed("has a window that can't be", PROTOCOL, 2, |_| {
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])
    }),
    misdeed("has no window", PROTOCOL, 1, |id| frame(WINDOW_UPDATE, 0, id, &[0; 4])),
    misdeed("has a frame that is too large", PROTOCOL, 2, |id| frame(DATA, 0, id, &[0; 20_000])),
    misdeed("has a frame that is too short", PROTOCOL, 2, |_| frame(PING, 0, 0, &[0; 3])),
    misdeed("opens a stream", PROTOCOL, 2, |_| headers(2, OK, true)),
    misdeed("answers what was not asked", PROTOCOL, 2, |_| headers(99, OK, true)),
    misdeed("breaks a head off", PROTOCOL, 2, |id| {
        [frame(HEADERS, 0, id, OK), frame(PING, 0, 0, &[0; 8])].concat()
    }),
    misdeed("speaks HTTP/1.1", PROTOCOL, 2, |_| b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
    misdeed("pings and pings", PROTOCOL, 2, |_| frame(PING, 0, 0, &[0; 8]).repeat(5_000)),
    misdeed("settles and settles", PROTOCOL, 2, |_| frame(SETTINGS, 0, 0, &[]).repeat(5_000)),
    misdeed("has an endless head of nothing", PROTOCOL, 2, |id| {
        [frame(HEADERS, 0, id, OK), frame(CONTINUATION, 0, id, b"").repeat(5_000)].concat()
    }),
    misdeed("has an endless body of nothing", None, 2, |id| {
        [headers(id, OK, false), frame(DATA, 0, id, b"").repeat(5_000)].concat()
    }),
    misdeed("has a header that is too large", None, 1, |id| {
        let field = [b"\x00\x01a\x7f\x81\x7d".as_slice(), &[b'x'; 16_000 + 127 + 1 - 127]].concat();
        let more = frame(CONTINUATION, 0, id, &field).repeat(10);
        [frame(HEADERS, END_STREAM, id, OK), more, frame(CONTINUATION, END_HEADERS, id, b"")].concat()
    }),
    misdeed("has all that may be", None, 1, |id| {
        [
            frame(0x42, 0xff, 77, b"nobody knows what this is"),
            frame(2, 0, id, &[0; 5]),
            headers(id, b"\x20\x08\x03103", false),
            frame(HEADERS, 0, id, b"\x88\x5f\x0atext"),
            frame(CONTINUATION, END_HEADERS, id, b"/plain"),
            frame(DATA, 8, id, b"\x02ok\0\0"),
            frame(PING, 0, 0, &[0; 8]),
            headers(id, b"\x00\x04tail\x01x", true),
        ]
        .concat()
    }),
    Misdeed { name: "closes", says: |_| Vec::new(), closes: true, fails: RESET, connections: 2 },
    Misdeed {
        name: "closes within the answer",
        says: |id| headers(id, OK, false),
        closes: true,
        fails: None,
        connections: 2,
    },
];

/// A server whose first connection does wrong, once; and what it saw.
struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// The bodies of requests that were answered well.
    answered: Mutex<Vec<String>>,
    /// The codes of resets that came from the client.
    resets: Mutex<Vec<u32>>,
}

impl Server {
    fn start(first: impl Fn(u32) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the system has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Seen::default());
        let (shared, first) = (Arc::clone(&seen), Arc::new(first));
        // It ends with the test's process: nothing of it is waited for.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = shared.connections.fetch_add(1, Relaxed);
                let (seen, first) = (Arc::clone(&shared), Arc::clone(&first));
                std::thread::spawn(move || {
                    // How it ends is up to the client.
                    serve(stream, &seen, |id| if number == 0 { first(id) } else { None }).ok();
                });
            }
        });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

/// Answers each request well, but for the first where `odd` has something else for it; nothing of that ends the connection.
fn serve(mut stream: TcpStream, seen: &Seen, odd: impl Fn(u32) -> Option<Vec<u8>>) -> std::io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface)?;
    assert_eq!(preface, PREFACE);
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    let (mut is_first, mut body) = (true, Vec::new());
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            SETTINGS if head[4] == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[]))?,
            PING if head[4] == 0 => stream.write_all(&frame(PING, 1, 0, &payload))?,
            HEADERS => body.clear(),
            DATA => body.extend_from_slice(&payload),
            RST_STREAM => {
                let code = u32::from_be_bytes(payload.try_into().expect("a reset has a code"));
                seen.resets.lock().expect("nobody panics").push(code);
            }
            _ => {}
        }
        if !matches!(head[3], DATA | HEADERS) || head[4] & END_STREAM == 0 {
            continue;
        }
        match odd(id).filter(|_| std::mem::take(&mut is_first)) {
            Some(odd) if odd.is_empty() => return Ok(()),
            Some(odd) => {
                let (odd, closes) = match odd.strip_suffix(CLOSES) {
                    Some(odd) => (odd, true),
                    None => (&*odd, false),
                };
                stream.write_all(odd)?;
                if closes {
                    return Ok(());
                }
            }
            None => {
                stream.write_all(&headers(id, OK, true))?;
                let body = String::from_utf8_lossy(&body).into_owned();
                seen.answered.lock().expect("nobody panics").push(body);
            }
        }
    }
}

/// Stands behind what is said last.
const CLOSES: &[u8] = b"and closes";

#[tokio::test]
async fn what_no_server_should_do_costs_an_attempt_at_most() {
    const MANY: u32 = 4;
    for Misdeed { name, says, closes, fails, connections } in MISDEEDS {
        let (says, closes) = (*says, *closes);
        let server = Server::start(move |id| {
            let mut said = says(id);
            if closes {
                said.extend_from_slice(CLOSES);
            }
            Some(said)
        });
        let mut stage =
            Stage::set(&server.url(), |daemon| http2(daemon).route("webhook.concurrency", "1")).await;
        for number in 0..MANY {
            stage.publish(number.to_string()).await;
        }
        stage.wait_processed(MANY).await;
        let mut codes = stage.codes().await;
        assert_eq!(codes.remove("200"), Some(MANY.into()), "a server that {name}: {codes:?}");
        let failed: Vec<_> = codes.iter().map(|(code, count)| (code.as_str(), *count)).collect();
        let expected: Vec<_> = fails.iter().map(|code| (*code, 1)).collect();
        assert_eq!(failed, expected, "a server that {name}");
        // What was answered in an odd way, and counts, is not among those that were answered well.
        let answered = server.seen.answered.lock().expect("nobody panics").clone();
        let distinct = answered.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), answered.len(), "a server that {name}: {answered:?}");
        assert!(answered.len() + 1 >= MANY as usize, "a server that {name}: {answered:?}");
        assert_eq!(server.seen.connections.load(Relaxed), *connections, "a server that {name}");
        stage.close().await;
    }
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_time_is_cancelled_alone() {
    // Nothing at all, as long as it pleases: a ping is answered.
    let server = Server::start(|_| Some(frame(PING, 0, 0, &[0; 8])));
    let mut stage = Stage::set(&server.url(), |daemon| http2(daemon).route("webhook.timeout", "1s")).await;
    for number in 0..20 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(20).await;
    stage.assert_codes([("200", 20), ("timeout", 1)]).await;
    assert_eq!(server.seen.connections.load(Relaxed), 1);
    assert_eq!(*server.seen.resets.lock().expect("nobody panics"), [8]);
    stage.close().await;
}

#[tokio::test]
async fn a_connection_that_has_died_gets_no_more_requests() {
    let stalled = Server::start(|_| {
        loop {
            std::thread::park();
        }
    });
    let mut stage = Stage::set(&stalled.url(), |daemon| http2(daemon).route("webhook.timeout", "1s")).await;
    for number in 0..3 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(3).await;
    stage.assert_codes([("200", 3), ("timeout", 3)]).await;
    assert_eq!(stalled.seen.connections.load(Relaxed), 2);
    stage.close().await;
}
