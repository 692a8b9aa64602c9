//! The receiver's side of HTTP: HTTP/1.1 and HTTP/2, with TLS or without, over any number of connections.

use std::{io, net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select,
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    answers::Answer,
    receiver::{LONGEST_BODY, Receiver},
};

/// How long answers that are on their way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What requests come over.
pub(super) struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// A connection that ends without an answer.
#[derive(Debug, Error)]
#[error("closed as told")]
struct Closed;

/// Has hyper's tasks run on this thread.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output: 'static> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        drop(spawn_local(task));
    }
}

impl Server {
    pub(super) async fn bind(address: SocketAddr, tls: Option<ServerConfig>) -> io::Result<Self> {
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        Ok(Self { listener: TcpListener::bind(address).await?, tls })
    }

    /// Where requests go, as a webhook's URL begins.
    pub(super) fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut address = self.listener.local_addr()?;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { [0; 8].into() });
        }
        Ok(format!("{scheme}://{address}/"))
    }

    /// Hands requests to `receiver`, until that has what it wants or `stop` is cancelled.
    pub(super) async fn serve(self, receiver: Rc<Receiver>, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let accept = async {
            loop {
                match self.listener.accept().await {
                    Ok((stream, _peer)) => {
                        let (tls, receiver, stop) = (self.tls.clone(), Rc::clone(&receiver), stop.clone());
                        connections.spawn_local(secure(stream, tls, receiver, stop));
                    }
                    // Of descriptors, most often: there will be some again.
                    Err(_short) => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        select! {
            () = accept => {}
            () = stop.cancelled() => {}
        }
        connections.close();
        // Whoever does not read the answer that it has asked for does not hold up the end.
        drop(timeout(LAST_ANSWERS, connections.wait()).await);
    }
}

/// Makes the connection one with TLS, where that is wanted.
async fn secure(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    receiver: Rc<Receiver>,
    stop: CancellationToken,
) {
    match tls {
        None => converse(stream, receiver, stop).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => converse(stream, receiver, stop).await,
            Err(error) => receiver.failed_handshake(&error),
        },
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    receiver: Rc<Receiver>,
    stop: CancellationToken,
) {
    let end = stop.clone();
    let service = service_fn(move |request| answer(request, Rc::clone(&receiver), stop.clone()));
    let http = auto::Builder::new(OnThisThread);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is for its other end to say: what came of each request has been printed.
    select! {
        _ended = connection.as_mut() => {}
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    receiver: Rc<Receiver>,
    stop: CancellationToken,
) -> Result<Response<Full<Bytes>>, Closed> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LONGEST_BODY).collect().await else {
        return Ok(status(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let Some(answer) = receiver.take(&head, body.to_bytes(), &stop) else {
        return Ok(status(StatusCode::SERVICE_UNAVAILABLE));
    };
    if let Some(delay) = receiver.delay() {
        sleep(delay).await;
    }
    match answer {
        Answer::Closed => Err(Closed),
        Answer::Status(code, wait) => {
            let mut response = status(code);
            // Rounded up: a sender that comes too early would be asked again.
            let seconds = wait.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
            response.headers_mut().extend(seconds.map(|seconds| (RETRY_AFTER, seconds.into())));
            Ok(response)
        }
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
