//! What a server makes of requests that take work: bodies, streams, and clients that do not behave.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use broadcaster::control::server::{
    Handler, Head, LARGEST_BODY, Problem, ProblemKind, Reply, Server, answer,
};
use bytes::Bytes;
use futures_core::Stream;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);

/// Says at once how it is, echoes bodies, works until it is let go, and tells what it is given to tell.
struct Site {
    gate: Rc<Notify>,
    begun: Rc<Cell<usize>>,
    done: Rc<Cell<usize>>,
    told: Cell<Option<mpsc::Receiver<Bytes>>>,
}

impl Handler for Site {
    fn handle(&self, head: &Head) -> Reply {
        let text = |body: Bytes| answer(StatusCode::OK, "text/plain", body);
        match head.path() {
            "/now" => Reply::Now(text(Bytes::from_static(b"well"))),
            "/echo" => Reply::WithBody(Box::new(move |body| {
                Box::pin(async move { body.map_or_else(Into::into, text) })
            })),
            "/work" => {
                let (gate, begun, done) = (self.gate.clone(), self.begun.clone(), self.done.clone());
                Reply::Later(Box::pin(async move {
                    begun.set(begun.get() + 1);
                    gate.notified().await;
                    done.set(done.get() + 1);
                    text(Bytes::from_static(b"done"))
                }))
            }
            "/told" => match self.told.take() {
                Some(parts) => Reply::Now(answer(
                    StatusCode::OK,
                    "text/event-stream",
                    broadcaster::control::server::Body::stream(Told(parts)),
                )),
                None => Reply::Now(Problem::new(ProblemKind::Busy, "somebody has it").into()),
            },
            _ => Reply::Now(Problem::new(ProblemKind::NotFound, "not here").into()),
        }
    }
}

struct Told(mpsc::Receiver<Bytes>);

impl Stream for Told {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_recv(cx)
    }
}

/// A server, and what it answers from.
struct Stage {
    address: SocketAddr,
    gate: Rc<Notify>,
    begun: Rc<Cell<usize>>,
    done: Rc<Cell<usize>>,
    tell: mpsc::Sender<Bytes>,
}

impl Stage {
    fn set() -> Self {
        let server = Server::bind("api", "127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let address = server.address().expect("it listens");
        let (gate, begun, done) = (Rc::default(), Rc::<Cell<usize>>::default(), Rc::<Cell<usize>>::default());
        let (tell, told) = mpsc::channel(1);
        let site = Site {
            gate: Rc::clone(&gate),
            begun: Rc::clone(&begun),
            done: Rc::clone(&done),
            told: Cell::new(Some(told)),
        };
        spawn_local(server.serve(site));
        Self { address, gate, begun, done, tell }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// Sends `request` over a connection of its own, which is its last, and returns all that is answered.
    async fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.expect("it is read");
        rest(&mut stream).await
    }
}

/// All that comes until the connection is closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    drop(timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed"));
    String::from_utf8_lossy(&answer).into_owned()
}

/// What comes next, at least until it holds `text`.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut some = [0; 4_096];
        let length = timeout(SOON, stream.read(&mut some)).await.expect("it answers").expect("it is open");
        assert!(length > 0, "closed after {read:?}, without {text:?}");
        read.push_str(&String::from_utf8_lossy(&some[..length]));
    }
    read
}

async fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn post(length: usize) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_body_is_read_whole_or_not_at_all() {
    let test = async {
        let stage = Stage::set();
        let largest = "x".repeat(LARGEST_BODY);
        let answer = stage.ask((post(largest.len()) + &largest).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&largest), "{} bytes", answer.len());
        let chunked =
            "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = stage.ask(format!("{chunked}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("abcde"), "{answer}");

        let too_large = stage.ask(post(LARGEST_BODY + 1).as_bytes()).await;
        assert!(too_large.starts_with("HTTP/1.1 413"), "{too_large}");
        assert!(too_large.contains(r#""type":"urn:problem-type:broadcaster:too-large""#), "{too_large}");
        let chunk = format!("{:x}\r\n{largest}\r\n1\r\nx\r\n0\r\n\r\n", largest.len());
        let too_large = stage.ask((chunked.to_owned() + &chunk).as_bytes()).await;
        assert!(too_large.starts_with("HTTP/1.1 413"), "{too_large}");
        for broken in ["zz\r\nabc\r\n", "3\r\nabcdef\r\n0\r\n\r\n"] {
            let answer = stage.ask(format!("{chunked}{broken}").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{broken:?} is answered {answer:?}");
        }
        // One that breaks off is nobody's work, and gets no answer.
        let mut half = stage.connect().await;
        half.write_all((post(10) + "abc").as_bytes()).await.expect("it is read");
        half.shutdown().await.expect("it is open");
        let answer = rest(&mut half).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(stage.ask(b"GET /now HTTP/1.0\r\n\r\n").await.ends_with("well"));
    };
    LocalSet::new().run_until(test).await;
}

/// A body that does not come to its end holds nothing up, and is not waited for.
#[tokio::test]
async fn bodies_that_never_end_are_closed_and_keep_nobody_out() {
    let test = async {
        let stage = Stage::set();
        let mut slow = Vec::new();
        let begin = Instant::now();
        for _ in 0..16 {
            let mut stream = stage.connect().await;
            stream.write_all((post(100) + "x").as_bytes()).await.expect("it is read");
            slow.push(stream);
        }
        let busy = stage.ask((post(1) + "x").as_bytes()).await;
        assert!(busy.starts_with("HTTP/1.1 503") && busy.contains("retry-after: 1"), "{busy}");
        assert!(stage.ask(b"GET /now HTTP/1.0\r\n\r\n").await.ends_with("well"));
        for stream in &mut slow {
            let late = rest(stream).await;
            assert!(late.starts_with("HTTP/1.1 400 ") && late.contains(":broken-body"), "{late}");
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "they were waited for {:?}", begin.elapsed());
        assert!(stage.ask((post(1) + "x").as_bytes()).await.starts_with("HTTP/1.1 200"));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn work_is_bounded_and_finished_when_its_client_has_gone() {
    let test = async {
        let stage = Stage::set();
        let mut clients = Vec::new();
        for number in 1..=16 {
            let mut stream = stage.connect().await;
            stream.write_all(b"POST /work HTTP/1.0\r\n\r\n").await.expect("it is read");
            clients.push(stream);
            wait("the work is begun", || stage.begun.get() == number).await;
        }
        let busy = stage.ask(b"POST /work HTTP/1.0\r\n\r\n").await;
        assert!(busy.starts_with("HTTP/1.0 503") && busy.contains("broadcaster:busy"), "{busy}");
        assert!(stage.ask(b"GET /now HTTP/1.0\r\n\r\n").await.ends_with("well"), "what needs no work waits");

        // Half of the clients go away.
        clients.truncate(8);
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.gate.notify_waiters();
        for client in &mut clients {
            assert!(rest(client).await.ends_with("done"));
        }
        wait("what was begun is done", || stage.done.get() == 16).await;
        let mut again = stage.connect().await;
        again.write_all(b"POST /work HTTP/1.0\r\n\r\n").await.expect("it is read");
        wait("there is room again", || stage.begun.get() == 17).await;
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_stream_is_sent_as_it_comes_and_ends_with_its_client() {
    let test = async {
        let stage = Stage::set();
        let mut client = stage.connect().await;
        client.write_all(b"GET /told HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is read");
        let head = until(&mut client, "\r\n\r\n").await;
        assert!(head.contains("connection: close") && head.contains("text/event-stream"), "{head}");
        for part in ["one", "two"] {
            stage.tell.send(Bytes::from_static(part.as_bytes())).await.expect("it is followed");
            until(&mut client, part).await;
        }
        drop(client);
        timeout(SOON, stage.tell.closed()).await.expect("nobody follows it any more");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_head_is_answered_as_the_page_without_it() {
    let test = async {
        let stage = Stage::set();
        let answer = stage.ask(b"HEAD /now HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.contains("content-length: 4") && answer.ends_with("\r\n\r\n"), "{answer}");
    };
    LocalSet::new().run_until(test).await;
}
