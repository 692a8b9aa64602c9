//! The two small HTTP servers: the API on one port, the metrics on another. They answer `GET` and `HEAD`, read no
//! bodies, and bound what a client may take of time, memory and connections.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

/// How many connections a server has open at the same time. Probes and scrapers need a few.
const CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last, so that clients that ask for nothing don't use up [`CONNECTIONS`].
const LIFETIME: Duration = Duration::from_secs(120);
/// How many bytes of a request are buffered; a longer head is refused.
const BUFFER: usize = 16 * 1024;

/// A port can't be listened on: it is taken, or needs a permission.
#[derive(Debug, Error)]
#[error("cannot listen on {address} (server.{name})")]
pub struct BindError {
    name: &'static str,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A server that has its port, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    listener: TcpListener,
}

/// What a server answers to `GET path`: the body and its type, or `None` where there is nothing at that path.
pub trait Pages: 'static {
    /// The page at `path`, for a client that accepts `accept`.
    fn page(&self, path: &str, accept: Option<&str>) -> Option<Page>;
}

/// An answer to a request.
#[derive(Debug)]
pub struct Page {
    /// The status; for a page that is there, 200 most often.
    pub status: StatusCode,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body, which is left out in the answer to `HEAD`.
    pub body: String,
}

impl Server {
    /// Takes the port; `name` is the key of its setting in `[server]`.
    pub async fn bind(name: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| BindError { name, address, source })?;
        if let Ok(address) = listener.local_addr() {
            info!(server = name, %address, "listening");
        }
        Ok(Self { name, listener })
    }

    /// Where it listens; the port is the system's choice where the setting has 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers with `pages`, for as long as it is polled.
    pub async fn serve(self, pages: impl Pages) {
        let pages = Arc::new(pages);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // The permit comes first: beyond the limit clients wait in the kernel's backlog, and are not turned away.
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _peer)) => stream,
                Err(error) => {
                    // Most often too many open files: trying again at once would only burn the CPU.
                    warn!(server = self.name, %error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let pages = Arc::clone(&pages);
            let connection = async move {
                let service = service_fn(move |request| {
                    std::future::ready(Ok::<_, Infallible>(respond(&*pages, &request)))
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .max_buf_size(BUFFER)
                    .serve_connection(TokioIo::new(stream), service);
                if let Ok(Err(error)) = timeout(LIFETIME, serving).await {
                    debug!(%error, "a client of the server went away");
                }
                drop(permit);
            };
            // Nobody waits for it at a stop: no answer is worth a delay of the end.
            drop(tokio::task::spawn_local(connection));
        }
    }
}

fn respond(pages: &impl Pages, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let accept = request.headers().get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let page = pages.page(request.uri().path(), accept);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let page = match page {
        None => text(StatusCode::NOT_FOUND, "not found\n"),
        Some(_) if !is_read => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
        Some(page) => page,
    };
    let body = if *request.method() == Method::HEAD { String::new() } else { page.body };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn text(status: StatusCode, body: &str) -> Page {
    Page { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
}
