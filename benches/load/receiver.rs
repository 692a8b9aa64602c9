//! The receiver: as little work as it can be, so that it is not what is measured. It counts, tells messages apart and
//! takes the time each was on its way.

mod h2;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tempfile::TempDir;
use testkit::{background::Background, tally::Tally, tls::Authority};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    figures::float,
    link::{Link, Namespace},
};

/// How the receiver treats its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// 200, at once or after a while.
    Accept(Duration),
    /// 503, at once.
    Refuse,
    /// No answer at all.
    Hang,
}

/// What came.
struct Record {
    manner: Manner,
    tally: Tally,
    /// Time on the way, in µs, of the messages that say when they were published.
    latency: Histogram<u64>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    certificate: Option<TempDir>,
    _server: Background,
    /// Behind the server, which is in it.
    _namespace: Option<Namespace>,
}

impl Receiver {
    /// A receiver behind this `link` of messages that say when they were published, as the time since `start`.
    pub(crate) fn start(link: Link, start: Instant, manner: Manner, tls: bool) -> Self {
        let (listener, namespace) = link.listen();
        listener.set_nonblocking(true).expect("a socket option");
        let address = listener.local_addr().expect("a listener has an address");
        let latency = Histogram::new(3).expect("three digits are possible");
        let record = Record { manner, tally: Tally::default(), latency };
        let record = Arc::new(Mutex::new(record));
        let authority = tls.then(Authority::new);
        let acceptor = authority.as_ref().map(|authority| {
            let mut config =
                Arc::unwrap_or_clone(authority.issue(&[&address.ip().to_string()]).server_config());
            // In this order: who can choose takes HTTP/2.
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Arc::new(config).into()
        });
        let bodies = Bodies { record: Arc::clone(&record), start };
        let server = Background::run("receiver", move || async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            LocalSet::new().run_until(serve(listener, acceptor, bodies)).await;
        });
        let certificate = authority.map(|authority| {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            authority.write_to(directory.path());
            directory
        });
        Self { address, record, certificate, _server: server, _namespace: namespace }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/hook", self.address)
    }

    /// The certificate to trust, where it speaks TLS.
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(|directory| directory.path().join("ca.pem"))
    }

    /// From now on.
    pub(crate) fn behave(&self, manner: Manner) {
        self.record().manner = manner;
    }

    /// How many different messages were accepted.
    pub(crate) fn delivered(&self) -> usize {
        self.record().tally.distinct()
    }

    /// How many messages were accepted when they had been accepted before.
    pub(crate) fn duplicates(&self) -> usize {
        self.record().tally.again().len()
    }

    /// The time on the way that 50 %, 99 % and 99.9 % of the messages did not exceed, in µs.
    pub(crate) fn latencies(&self) -> Option<[f64; 3]> {
        let latency = &self.record().latency;
        (!latency.is_empty()).then(|| [0.5, 0.99, 0.999].map(|share| float(latency.value_at_quantile(share))))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no holder panics")
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, bodies: Bodies) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        let (bodies, tls) = (bodies.clone(), tls.clone());
        spawn_local(async move {
            // A client that goes away is its own affair.
            drop(match tls {
                None => answer_all(stream, &bodies).await,
                Some(tls) => answer_over_tls(stream, &tls, &bodies).await,
            });
        });
    }
}

async fn answer_over_tls(stream: TcpStream, tls: &TlsAcceptor, bodies: &Bodies) -> std::io::Result<()> {
    answer_all(tls.accept(stream).await?, bodies).await
}

/// Answers the requests of one connection until it is closed.
async fn answer_all(mut stream: impl AsyncRead + AsyncWrite + Unpin, bodies: &Bodies) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let request = loop {
            if buffer.starts_with(h2::PREFACE) {
                return h2::answer_all(stream, buffer, bodies).await;
            }
            if let Some(request) = complete(&buffer) {
                break request;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let manner = bodies.take(&buffer[request.head..request.end]);
        buffer.drain(..request.end);
        match manner {
            Manner::Accept(pause) => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            }
            Manner::Refuse => {
                stream.write_all(b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n").await?;
            }
            Manner::Hang => std::future::pending().await,
        }
        stream.flush().await?;
    }
}

/// The bodies that come, over all connections.
#[derive(Clone)]
struct Bodies {
    record: Arc<Mutex<Record>>,
    start: Instant,
}

impl Bodies {
    /// Takes a body: one message, or an array of them. How such a request is to be treated now.
    fn take(&self, body: &[u8]) -> Manner {
        let now = self.start.elapsed();
        let mut record = self.record.lock().expect("no holder panics");
        if let Manner::Accept(_) = record.manner {
            match body {
                [b'[', .., b']'] => {
                    let text = str::from_utf8(body).expect("messages are JSON");
                    text.match_indices("{\"n\":").for_each(|(at, _)| record.add(&body[at..], now));
                }
                message => record.add(message, now),
            }
        }
        record.manner
    }
}

impl Record {
    fn add(&mut self, message: &[u8], now: Duration) {
        self.tally.add(message);
        if let Some(published) = published(message) {
            let micros = u64::try_from(now.saturating_sub(published).as_micros()).unwrap_or(u64::MAX);
            self.latency.record(micros.max(1)).expect("the histogram grows");
        }
    }
}

/// Where a complete request's body begins and ends.
struct Request {
    head: usize,
    end: usize,
}

/// The request at the start of `bytes`, if all of it is there.
fn complete(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes).expect("the daemon speaks HTTP") {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return None,
    };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |header| number(header.value));
    let end = head + usize::try_from(length).expect("a body fits into memory");
    (bytes.len() >= end).then_some(Request { head, end })
}

/// When the message with this body was published: it says so behind its number.
fn published(body: &[u8]) -> Option<Duration> {
    let nanos = body.split(|&byte| byte == b' ').nth(1).filter(|nanos| !nanos.is_empty())?;
    Some(Duration::from_nanos(number(nanos)))
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).expect("a number")
}
