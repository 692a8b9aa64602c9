//! The two small HTTP servers: the API on one port, the metrics on another. They answer `GET` and `HEAD`, read no
//! bodies, and bound what a client may take of time, memory and connections.

mod listener;
mod places;
mod watched;

use std::{cell::Cell, convert::Infallible, future::ready, io, net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    select,
    task::{AbortHandle, spawn_local, yield_now},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::{debug, info, warn};

use self::{
    places::{Phase, Place, Places, Stage},
    watched::Watched,
};
use super::metrics::process;

/// How many connections a server has open at the same time, at 16 KiB each. Probes and scrapers need a few; a proxy may
/// keep a hundred.
const CONNECTIONS: usize = 384;
/// How many connections are accepted before those that were have a turn. Few of [`CONNECTIONS`], so that each has had one
/// before others can take its place.
const AT_ONCE: u64 = 64;
/// The share of the file descriptors that a process may have which one server takes at most.
const DESCRIPTORS: usize = 16;
/// How many bytes of a request are buffered, the least that hyper can do with; a longer head is refused.
const BUFFER: usize = 8 * 1024;
/// How often slow connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How often the log has a line that no connection can be accepted.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

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
    /// The body, which is left out in the answer to `HEAD`. Answers may share it.
    pub body: Bytes,
}

impl Server {
    /// Takes the port; `name` is the key of its setting in `[server]`. Needs a runtime.
    pub fn bind(name: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let listener = listener::listen(address).map_err(|source| BindError { name, address, source })?;
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
        let pages = Rc::new(pages);
        let places = Rc::new(Places::new(capacity()));
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut accepts: u64 = 0;
        let mut complained: Option<Instant> = None;
        loop {
            let accepted = select! {
                accepted = self.listener.accept() => accepted,
                now = sweep.tick(), if !places.is_empty() => {
                    places.close_overdue(now);
                    continue;
                }
            };
            match accepted {
                Ok((stream, _peer)) => {
                    accepts += 1;
                    let stage = Rc::new(Cell::new(Stage::begin(Phase::Idle)));
                    places.admit(Rc::clone(&stage), |place| {
                        converse(Watched::new(stream, stage), place, Rc::clone(&places), Rc::clone(&pages))
                    });
                    if accepts.is_multiple_of(AT_ONCE) {
                        yield_now().await;
                    }
                }
                Err(error) => {
                    if complained.is_none_or(|before| before.elapsed() >= COMPLAIN_EVERY) {
                        warn!(server = self.name, %error, "cannot accept a connection");
                        complained = Some(Instant::now());
                    }
                    // Most often there are too many open files: one of ours is closed for this one. Without any, trying
                    // again at once would only burn the CPU.
                    if places.make_room() {
                        yield_now().await;
                    } else {
                        sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        }
    }
}

/// How many connections a server may have.
fn capacity() -> usize {
    let descriptors = process::descriptors().and_then(|most| usize::try_from(most).ok());
    descriptors.map_or(CONNECTIONS, |most| (most / DESCRIPTORS).clamp(1, CONNECTIONS))
}

/// Answers what is asked over a connection; where many have come, that is one question. Nobody waits for it at a stop: no answer is worth a delay of the end.
fn converse(connection: Watched, place: Place, places: Rc<Places>, pages: Rc<impl Pages>) -> AbortHandle {
    let is_crowded = places.is_crowded();
    let service = service_fn(move |request| {
        let page = respond(&*pages, &request);
        places.make_room_for_an_answer(page.body.len());
        ready(Ok::<_, Infallible>(answer(page)))
    });
    let task = spawn_local(async move {
        let _place = place;
        // Most that only wait cost no more than this, neither in time nor in memory.
        if connection.begins().await.is_err() {
            return;
        }
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER).keep_alive(!is_crowded);
        let serving = Box::pin(http.serve_connection(TokioIo::new(connection), service));
        if let Err(error) = serving.await {
            debug!(%error, "a client of the server went away");
        }
    });
    task.abort_handle()
}

fn respond(pages: &impl Pages, request: &Request<Incoming>) -> Page {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match pages.page(request.uri().path(), accept) {
        None => text(StatusCode::NOT_FOUND, "not found\n"),
        Some(_) if !is_read => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
        Some(page) if *request.method() == Method::HEAD => Page { body: Bytes::new(), ..page },
        Some(page) => page,
    }
}

fn answer(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.body));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn text(status: StatusCode, body: &'static str) -> Page {
    Page { status, content_type: "text/plain; charset=utf-8", body: Bytes::from_static(body.as_bytes()) }
}
