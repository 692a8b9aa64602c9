//! One request and its answer: what is told of the request, what may take time, and within which bounds.

use std::{cell::Cell, future::poll_fn, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header::CONNECTION, request::Parts};
use hyper::body::{Body as _, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_local,
    time::timeout,
};

use super::{
    answer::{Answer, Body},
    places::{Phase, Places, Stage},
    problem::{Problem, ProblemKind},
    tls::Tls,
};

/// How many bytes the body of a request may have.
pub const LARGEST_BODY: usize = 256 * 1024;
/// How many handlers may be at work at the same time, or read a body.
const AT_WORK: usize = 16;
/// How long a client may take to send a body, shorter than what a connection has for a whole request: it gets an answer.
const BODY: Duration = Duration::from_secs(4);
/// How long a client waits for a handler at work, which is let finish.
const PATIENCE: Duration = Duration::from_secs(30);

/// What answers requests.
pub trait Handler: 'static {
    /// Decides by the head of a request how it is answered. It must not take long: nobody else is answered meanwhile.
    fn handle(&self, head: &Head) -> Reply;
}

/// What is known of a request before its body.
#[derive(Debug)]
pub struct Head {
    parts: Parts,
    peer: Option<SocketAddr>,
}

/// How a request is answered.
pub enum Reply {
    /// At once, whatever else is under way.
    Now(Answer),
    /// After some work. Few requests have that at the same time, and others are told to come back.
    Later(Work),
    /// After something that is under way already, and that others wait for, too: that takes no place.
    Awaited(Work),
    /// After some work with the body of the request. To be given only to clients that are known: it holds a place for as
    /// long as the client takes to send.
    WithBody(Box<dyn FnOnce(Result<Bytes, Problem>) -> Work>),
}

/// The work that an answer takes. Once it is begun it is finished, even where the client goes away or has waited too long.
pub type Work = Pin<Box<dyn Future<Output = Answer>>>;

impl<H: Handler> Handler for Rc<H> {
    fn handle(&self, head: &Head) -> Reply {
        H::handle(self, head)
    }
}

impl Head {
    /// The head of a request that came from `peer`.
    pub const fn new(parts: Parts, peer: SocketAddr) -> Self {
        Self { parts, peer: Some(peer) }
    }

    /// The head of a request that came another way than over a connection of its client.
    pub const fn without_peer(parts: Parts) -> Self {
        Self { parts, peer: None }
    }

    /// The method.
    pub const fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The target, most often a path and a query alone.
    pub const fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// The path, percent-encoded as it came.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The query, without its question mark and percent-encoded as it came; empty where there is none.
    pub fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// The header of this name, its first where there are several, if it is text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// All headers.
    pub const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Where the client is, as far as the connection tells: it may be a proxy.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// Where handlers are at work, or read a body: few at the same time.
pub struct Workshop(Arc<Semaphore>);

/// A place for one of them.
pub struct WorkPlace {
    _permit: OwnedSemaphorePermit,
}

impl Default for Workshop {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_WORK)))
    }
}

impl Workshop {
    /// A place for one more.
    ///
    /// # Errors
    /// All are taken.
    pub fn place(&self) -> Result<WorkPlace, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map(|permit| WorkPlace { _permit: permit }).map_err(
            |_all_taken| {
                let detail =
                    format!("{AT_WORK} requests are being worked on, as many as may be at the same time");
                Problem::new(ProblemKind::Busy, detail).retry_after(1)
            },
        )
    }
}

impl WorkPlace {
    /// Does `work`, which keeps the place until it is done, however long its client waits. Needs a runtime that takes local
    /// tasks.
    pub async fn finish(self, work: Work) -> Answer {
        let working = spawn_local(async move {
            let answer = work.await;
            drop(self);
            answer
        });
        match timeout(PATIENCE, working).await {
            Ok(Ok(answer)) => answer,
            // It has not ended by itself: either the runtime is ending, or nobody waits for it any more.
            Ok(Err(_)) | Err(_) => {
                let detail = format!("it is not done after {} s, and is gone on with", PATIENCE.as_secs());
                Problem::new(ProblemKind::Late, detail).into()
            }
        }
    }
}

/// What all connections of a server share.
pub(super) struct Desk<H> {
    handler: H,
    pub(super) places: Rc<Places>,
    /// What encrypts connections, where something does.
    pub(super) tls: Option<Tls>,
    workshop: Workshop,
}

impl<H: Handler> Desk<H> {
    pub(super) fn new(handler: H, places: Places, tls: Option<Tls>) -> Self {
        Self { handler, places: Rc::new(places), tls, workshop: Workshop::default() }
    }

    /// Answers `request`, which came from `peer` over the connection whose phase `stage` is.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        stage: &Cell<Stage>,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        let reply = self.handler.handle(&Head::new(parts, peer));
        let answer = match reply {
            Reply::Now(answer) => {
                // A client that is still sending would not look for an answer, and lose it with the connection.
                drop(whole(body, stage).await);
                answer
            }
            Reply::Later(work) => {
                drop(whole(body, stage).await);
                match self.workshop.place() {
                    Ok(place) => place.finish(work).await,
                    Err(busy) => busy.into(),
                }
            }
            Reply::Awaited(answer) => {
                drop(whole(body, stage).await);
                answer.await
            }
            Reply::WithBody(work) => match self.workshop.place() {
                Ok(place) => {
                    let body = whole(body, stage).await;
                    place.finish(work(body)).await
                }
                Err(busy) => busy.into(),
            },
        };
        self.send(answer, stage)
    }

    /// Makes sure that there is room for `answer`.
    fn send(&self, mut answer: Answer, stage: &Cell<Stage>) -> Answer {
        match answer.body() {
            Body::Whole(_) | Body::Unpacked(_) => {
                self.places.make_room_for_an_answer(answer.body().len());
            }
            Body::Stream(_) if self.places.has_room_for_a_stream() => {
                stage.set(Stage::begin(Phase::Streaming));
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Body::Stream(_) => {
                let detail = "as many clients follow what happens here as may at the same time";
                return Problem::new(ProblemKind::Busy, detail).retry_after(5).into();
            }
        }
        answer
    }
}

/// The body of a request, where it is complete in time and not too large. Work on the request follows.
async fn whole(body: Incoming, stage: &Cell<Stage>) -> Result<Bytes, Problem> {
    // Not left to the limits of a connection: a client that waits for "100 Continue" gets that, and has begun to be idle.
    let read = timeout(BODY, read(body)).await;
    stage.set(Stage::begin(Phase::Waiting));
    read.unwrap_or_else(|_| {
        let detail = format!("it is not complete after {} s", BODY.as_secs());
        Err(Problem::new(ProblemKind::BrokenBody, detail))
    })
}

async fn read(mut body: Incoming) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("no more than {} KiB are read", LARGEST_BODY / 1024);
        Problem::new(ProblemKind::TooLarge, detail)
    };
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let broken = |error| Problem::new(ProblemKind::BrokenBody, format!("it can't be read: {error}"));
        let frame = frame.map_err(broken)?;
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > LARGEST_BODY {
            return Err(too_large());
        }
        read.extend_from_slice(data);
    }
    Ok(read.freeze())
}
