//! The server of a webhook of the kit, over TCP or TLS.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Received, Record, lock};

/// What a test can tell a running webhook.
pub(super) enum Order {
    Down,
    Up,
    CloseConnections,
    /// Of HTTP/2: says goodbye on each connection, and closes it when what is under way is answered.
    SayGoodbye,
}

/// What is spoken over a connection.
#[derive(Clone)]
pub(super) enum Speaks {
    Http1,
    Http2,
    /// What is agreed on by TLS, else HTTP/1.1.
    Tls(TlsAcceptor),
}

/// Serves until it is dropped.
pub(super) async fn run(
    listener: std::net::TcpListener,
    speaks: Speaks,
    record: Arc<Mutex<Record>>,
    mut orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>,
) {
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    let address = listener.local_addr().expect("a listener has an address");
    let mut listener = Some(TcpListener::from_std(listener).expect("a listener can be registered"));
    let mut connections = JoinSet::new();
    let (goodbye, _) = watch::channel(());
    loop {
        tokio::select! {
            Some((order, done)) = orders.recv() => {
                obey(&order, address, &mut listener, &mut connections).await;
                if matches!(order, Order::SayGoodbye) {
                    goodbye.send_replace(());
                }
                // Nobody waits any more when the test was cancelled.
                done.send(()).ok();
            }
            stream = accept(listener.as_ref()) => {
                let number = { let mut record = lock(&record); record.accepted += 1; record.accepted };
                let speaks = speaks.clone();
                connections.spawn(connection(stream, number, speaks, Arc::clone(&record), goodbye.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn obey(
    order: &Order,
    address: SocketAddr,
    listener: &mut Option<TcpListener>,
    connections: &mut JoinSet<()>,
) {
    match order {
        Order::Down => {
            *listener = None;
            connections.shutdown().await;
        }
        Order::Up => *listener = Some(TcpListener::bind(address).await.expect("the port is still free")),
        Order::CloseConnections => connections.shutdown().await,
        Order::SayGoodbye => {}
    }
}

/// The next connection; never one while there is no listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            Some(listener) => {
                if let Ok((stream, _)) = listener.accept().await {
                    return stream;
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// Counts down when a connection or a request ends, in whatever way.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

async fn connection(
    stream: TcpStream,
    number: usize,
    speaks: Speaks,
    record: Arc<Mutex<Record>>,
    goodbye: watch::Receiver<()>,
) {
    lock(&record).open += 1;
    let _open = OnDrop(|| lock(&record).open -= 1);
    stream.set_nodelay(true).ok();
    // How a connection ends is the client's affair: what it delivered before is counted already.
    match speaks {
        Speaks::Http1 => serve(stream, number, &record).await.ok(),
        Speaks::Http2 => serve_http2(stream, number, &record, goodbye).await.ok(),
        Speaks::Tls(tls) => match tls.accept(stream).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                serve_http2(stream, number, &record, goodbye).await.ok()
            }
            Ok(stream) => serve(stream, number, &record).await.ok(),
            Err(_) => None,
        },
    };
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    record: &Mutex<Record>,
) -> Result<(), hyper::Error> {
    let service = service_fn(|request| answer(request, connection, record));
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    record: &Arc<Mutex<Record>>,
    mut goodbye: watch::Receiver<()>,
) -> Result<(), hyper::Error> {
    let service = service_fn(|request| {
        let record = Arc::clone(record);
        async move { answer(request, connection, &record).await }
    });
    // One task for each stream, which outlives the connection by nothing that counts.
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            Ok(()) = goodbye.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    record: &Mutex<Record>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let request = Received {
        at: Instant::now(),
        connection,
        method: head.method,
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: body.clone(),
        status: None,
    };
    let (place, reply) = lock(record).arrived(request);
    let _in_flight = OnDrop(|| lock(record).finished());
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    lock(record).answered(place, &body, &reply);
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    Ok(response)
}
