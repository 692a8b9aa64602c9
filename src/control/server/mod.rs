//! The two small HTTP servers: the API on one port, the metrics on another. They bound what a client may take of time,
//! memory and connections, and how much is worked on at the same time; what a handler answers at once is answered whatever
//! others do.

mod answer;
mod exchange;
mod listener;
mod packed;
mod places;
mod problem;
mod tls;
mod watched;

use std::{cell::Cell, convert::Infallible, io, net::SocketAddr, rc::Rc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::{AbortHandle, spawn_local, yield_now},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::{debug, info, warn};

pub use self::{
    answer::{Answer, Body, answer, json},
    exchange::{Handler, Head, LARGEST_BODY, Reply, Work, Workshop},
    packed::{Packed, Packing, takes_gzip},
    problem::{Problem, ProblemKind},
    tls::Tls,
};
use self::{
    exchange::Desk,
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
    tls: Option<Tls>,
}

impl Server {
    /// Takes the port; `name` is the key of its setting in `[server]`. Needs a runtime.
    pub fn bind(name: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let listener = listener::listen(address).map_err(|source| BindError { name, address, source })?;
        if let Ok(address) = listener.local_addr() {
            info!(server = name, %address, "listening");
        }
        Ok(Self { name, listener, tls: None })
    }

    /// The same, which speaks TLS where there is something to show.
    #[must_use]
    pub fn encrypted_by(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Where it listens; the port is the system's choice where the setting has 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers as `handler` says, for as long as it is polled.
    pub async fn serve(self, handler: impl Handler) {
        let desk = Rc::new(Desk::new(handler, Places::new(capacity()), self.tls));
        let places = &desk.places;
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
                Ok((stream, peer)) => {
                    accepts += 1;
                    let stage = Rc::new(Cell::new(Stage::begin(Phase::Idle)));
                    let client = Client { stream, peer, stage: Rc::clone(&stage) };
                    places.admit(stage, |place| converse(client, place, Rc::clone(&desk)));
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

/// A connection that was accepted.
struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    stage: Rc<Cell<Stage>>,
}

/// Answers what is asked over a connection; where many have come, that is one question. Nobody waits for it at a stop: no
/// answer is worth a delay of the end.
fn converse(client: Client, place: Place, desk: Rc<Desk<impl Handler>>) -> AbortHandle {
    let Client { stream, peer, stage } = client;
    let is_crowded = desk.places.is_crowded();
    let connection = Watched::new(stream, Rc::clone(&stage));
    let acceptor = desk.tls.as_ref().map(Tls::acceptor);
    let service = service_fn(move |request| {
        let (desk, stage) = (Rc::clone(&desk), Rc::clone(&stage));
        async move { Ok::<_, Infallible>(desk.answer(request, peer, &stage).await) }
    });
    let task = spawn_local(async move {
        let _place = place;
        // Most that only wait cost no more than this, neither in time nor in memory.
        if connection.begins().await.is_err() {
            return;
        }
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER).keep_alive(!is_crowded);
        let gone = match acceptor {
            None => Box::pin(http.serve_connection(TokioIo::new(connection), service)).await.err(),
            // Boxed, as is what follows: most connections only wait, and are to take no more memory for this.
            Some(acceptor) => match Box::pin(acceptor.accept(connection)).await {
                Ok(connection) => {
                    Box::pin(http.serve_connection(TokioIo::new(connection), service)).await.err()
                }
                Err(error) => return debug!(%error, "a client of the server does not speak TLS"),
            },
        };
        if let Some(error) = gone {
            debug!(%error, "a client of the server went away");
        }
    });
    task.abort_handle()
}
