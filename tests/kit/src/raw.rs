//! A peer that speaks TCP and misbehaves as no HTTP server would.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::background::Background;

/// A good answer that keeps the connection open.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// No HTTP at all.
pub const GARBAGE: &[u8] = b"\x00\xff\x16\x03 this is not HTTP\r\n\r\n";
/// A good answer of the old version, its body ended by the end of the connection.
pub const HTTP_1_0: &[u8] = b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nok";
/// The begin of an answer.
pub const HALF_AN_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this";
/// The begin of an answer's head.
pub const HALF_A_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-le";
/// A body in chunks, the size of one of them no number.
pub const BAD_CHUNK: &[u8] =
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nxyz\r\n??\r\n0\r\n\r\n";
/// An informational answer first, the good one after it.
pub const CONTINUE_FIRST: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// The same length twice, as two layers of a server may write it.
pub const TWO_LENGTHS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok";
/// Two answers to one request: the second must not be taken for the answer to the next request.
pub const TWO_ANSWERS: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// A change of the protocol that nobody asked for.
pub const SWITCHING_PROTOCOLS: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// What is done with one connection.
#[derive(Clone, Copy)]
pub enum Misbehaviour {
    /// Says this to every request, and keeps the connection open.
    Say(&'static [u8]),
    /// Says this to the first request and closes the connection.
    SayAndClose(&'static [u8]),
    /// Says this to the first request, a byte at a time with this pause after each, and closes the connection.
    Drip(&'static [u8], Duration),
    /// Answers each request with this as soon as its head is there, and then does something else than to read on. What
    /// it does not read stays with the client: it takes little into buffers.
    AnswerFirst(&'static [u8], Then),
    /// Reads the request and never answers.
    NeverAnswer,
    /// Answers the first request well; then all that the client sends is lost, as if the network had forgotten the
    /// connection.
    Vanish,
    /// Answers 200 with a body of 10 GB, sent until the client closes.
    EndlessBody,
    /// Answers 200 with headers that do not end, sent until the client closes.
    EndlessHead,
    /// Reads the request, then resets the connection.
    Reset,
    /// Resets the connection without reading anything.
    ResetUnread,
    /// Answers the first request well, and closes the idle connection this long after it.
    CloseIdle(Duration),
    /// Answers the first request well, and closes the connection when the second one has come.
    CloseOnSecond,
    /// Answers the first request well, and reads the second without an answer.
    SilentOnSecond,
}

/// What follows an answer that came first.
#[derive(Clone, Copy)]
pub enum Then {
    /// Reads the rest of the request, not faster than it must.
    Read,
    /// Says that it will say no more, and reads the rest.
    HalfCloseAndRead,
    /// Reads the rest, and then says this.
    ReadAndSay(&'static [u8]),
    /// Resets the connection.
    Reset,
    /// Reads nothing more.
    Stall,
}

/// What a peer saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Vec<u8>>>,
    sent: AtomicU64,
    closed_by_client: AtomicUsize,
    closed_by_peer: AtomicUsize,
}

/// A listener whose connections are treated badly.
pub struct RawPeer {
    address: SocketAddr,
    seen: Arc<Seen>,
    _server: Background,
}

impl RawPeer {
    /// Treats the first connection as the first of `script` says, the next as the next, and all later ones as the last.
    pub fn start(script: impl Into<Vec<Misbehaviour>>) -> Self {
        let script = script.into();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
        if script.iter().any(|misbehaviour| matches!(misbehaviour, Misbehaviour::AnswerFirst(..))) {
            // Connections have it from their listener. By the segments, the client's system chooses its own buffer.
            let listener = SockRef::from(&listener);
            listener.set_recv_buffer_size(4096).expect("a buffer can be small");
            listener.set_tcp_mss(1000).expect("segments can be small");
        }
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let server = Background::run("raw peer", move || accept(listener, script, shared));
        Self { address, seen, _server: server }
    }

    /// The URL to POST to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Relaxed)
    }

    /// The requests that were read whole, head and body.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.seen.requests.lock().expect("no holder panics");
        requests.iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }

    /// How many bytes of its answers the system took: what the client read, and up to some megabytes in buffers.
    pub fn bytes_sent(&self) -> u64 {
        self.seen.sent.load(Relaxed)
    }

    /// How many connections the client closed, of those that were left open for it or that had no end.
    pub fn closed_by_client(&self) -> usize {
        self.seen.closed_by_client.load(Relaxed)
    }

    /// How many connections this side has closed.
    pub fn closed_by_peer(&self) -> usize {
        self.seen.closed_by_peer.load(Relaxed)
    }

    /// Waits until `condition` holds; a panic that says what came when it takes longer than `deadline`.
    pub async fn wait_for(&self, condition: impl Fn(&Self) -> bool, deadline: Duration) {
        if super::poll(deadline, || condition(self).then_some(())).await.is_none() {
            panic!(
                "the raw peer still waits after {deadline:?}: {} connections, {} of them closed by the client, \
                 {} requests, {} bytes sent",
                self.connections(),
                self.closed_by_client(),
                self.requests().len(),
                self.bytes_sent(),
            );
        }
    }
}

async fn accept(listener: std::net::TcpListener, script: Vec<Misbehaviour>, seen: Arc<Seen>) {
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    let listener = TcpListener::from_std(listener).expect("a listener can be registered");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let number = seen.connections.fetch_add(1, Relaxed);
        let misbehaviour = script.get(number).or_else(|| script.last());
        let misbehaviour = *misbehaviour.expect("a script has one connection or more");
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut connection = Connection { stream: BufReader::new(stream), seen: &seen };
            // An error here is the client that closes: what the test waits for.
            let closed_by = match connection.play(misbehaviour).await {
                Ok(()) => &seen.closed_by_peer,
                Err(_) => &seen.closed_by_client,
            };
            drop(connection);
            closed_by.fetch_add(1, Relaxed);
        });
    }
}

struct Connection<'a> {
    stream: BufReader<TcpStream>,
    seen: &'a Seen,
}

impl Connection<'_> {
    /// Ok when this side ends the connection, an error when the client did.
    async fn play(&mut self, misbehaviour: Misbehaviour) -> io::Result<()> {
        match misbehaviour {
            Misbehaviour::ResetUnread => return self.stream.get_ref().set_zero_linger(),
            Misbehaviour::AnswerFirst(answer, then) => return self.answer_first(answer, then).await,
            _ => self.read_request().await?,
        }
        match misbehaviour {
            Misbehaviour::Say(answer) => loop {
                self.send(answer).await?;
                self.read_request().await?;
            },
            Misbehaviour::SayAndClose(answer) => self.send(answer).await,
            Misbehaviour::Drip(answer, pause) => {
                for byte in answer.chunks(1) {
                    self.send(byte).await?;
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            }
            Misbehaviour::NeverAnswer => self.read_request().await,
            Misbehaviour::EndlessBody => {
                self.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").await?;
                self.send_for_ever(&[b'x'; 64 * 1024]).await
            }
            Misbehaviour::EndlessHead => {
                self.send(b"HTTP/1.1 200 OK\r\n").await?;
                self.send_for_ever(b"x-padding: 0123456789012345678901234567890123456789\r\n").await
            }
            Misbehaviour::Reset | Misbehaviour::ResetUnread | Misbehaviour::AnswerFirst(..) => {
                self.stream.get_ref().set_zero_linger()
            }
            Misbehaviour::Vanish => {
                self.send(OK).await?;
                // The kernel drops each packet before TCP sees it: no acknowledgement, no reset.
                SockRef::from(self.stream.get_ref()).attach_filter(&[SockFilter::new(6, 0, 0, 0)])?;
                self.read_request().await
            }
            Misbehaviour::CloseIdle(pause) => {
                self.send(OK).await?;
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Misbehaviour::CloseOnSecond => {
                self.send(OK).await?;
                self.read_request().await
            }
            Misbehaviour::SilentOnSecond => {
                self.send(OK).await?;
                self.read_request().await?;
                self.read_request().await
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.seen.sent.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    async fn send_for_ever(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            self.send(bytes).await?;
        }
    }

    async fn answer_first(&mut self, answer: &[u8], then: Then) -> io::Result<()> {
        loop {
            let (request, length) = self.read_head().await?;
            self.send(answer).await?;
            match then {
                Then::Reset => return self.stream.get_ref().set_zero_linger(),
                Then::Stall => return std::future::pending().await,
                Then::HalfCloseAndRead => self.stream.shutdown().await?,
                Then::Read | Then::ReadAndSay(_) => {}
            }
            self.read_body(request, length).await?;
            if let Then::ReadAndSay(more) = then {
                self.send(more).await?;
            }
        }
    }

    async fn read_request(&mut self) -> io::Result<()> {
        let (request, length) = self.read_head().await?;
        self.read_body(request, length).await
    }

    /// Reads a head; gives it, and how long a body it announces.
    async fn read_head(&mut self) -> io::Result<(Vec<u8>, usize)> {
        let mut request = Vec::new();
        let mut length = 0;
        loop {
            let start = request.len();
            if self.stream.read_until(b'\n', &mut request).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = request[start..].trim_ascii().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix(b"content-length:") {
                let value = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
                length = value.ok_or(io::ErrorKind::InvalidData)?;
            }
            if line.is_empty() {
                return Ok((request, length));
            }
        }
    }

    async fn read_body(&mut self, mut request: Vec<u8>, length: usize) -> io::Result<()> {
        let head = request.len();
        request.resize(head + length, 0);
        self.stream.read_exact(&mut request[head..]).await?;
        self.seen.requests.lock().expect("no holder panics").push(request);
        Ok(())
    }
}
