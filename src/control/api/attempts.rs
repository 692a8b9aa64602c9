//! What comes of attempts as it happens, for whoever listens: Server-Sent Events, one for each attempt at a message, and one
//! that says how many were left out, since nothing waits for a listener.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::{sync::mpsc, task::spawn_local, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use url::form_urlencoded;

use super::{Access, Router};
use crate::{
    base::clock::Clock,
    control::server::{Answer, Body, Problem, ProblemKind, Reply, answer},
    history::{Feed, Listener, Wanted},
    route::registry::Registry,
};

/// How many attempts one part of the answer tells of at the most.
const AT_ONCE: usize = 64;
/// After how long without an attempt the stream says that it is still there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What tells of attempts.
#[derive(Clone)]
pub(super) struct Attempts {
    pub(super) feed: Arc<Feed>,
    /// The routes that there are.
    pub(super) registry: Arc<Registry>,
    /// The name of this machine, or pod.
    pub(super) replica: Arc<str>,
    pub(super) clock: Clock,
}

/// Has `router` tell what comes of `attempts`.
pub(super) fn add(router: &mut Router, attempts: Attempts) {
    router.add_taking(&["route", "failed"], Method::GET, "/api/v1/attempts", Access::Read, move |call| {
        let is_head = *call.head.method() == Method::HEAD;
        Reply::Now(attempts.follow(call.head.query(), is_head).unwrap_or_else(Into::into))
    });
}

impl Attempts {
    fn follow(&self, query: &str, is_head: bool) -> Result<Answer, Problem> {
        let wanted = wanted(query)?;
        if let Some(name) = &wanted.route
            && self.registry.current().get(name).is_none()
        {
            return Err(Problem::new(ProblemKind::NoSuchRoute, "no route has this name"));
        }
        // The answer to HEAD has no body, and nobody would read the stream.
        if is_head {
            return Ok(answer(StatusCode::OK, "text/event-stream", ""));
        }
        let busy = || Problem::new(ProblemKind::Busy, "sixteen clients follow the attempts already");
        let listener = self.feed.listen(wanted).ok_or_else(busy)?;
        // One part waits to be read, and the rest in the bounded queue of the listener.
        let (parts, stream) = mpsc::channel(1);
        drop(spawn_local(self.clone().tell(listener, parts)));
        Ok(answer(StatusCode::OK, "text/event-stream", Body::stream(ReceiverStream::new(stream))))
    }

    /// Tells what `listener` hears, until nobody reads it any more.
    async fn tell(self, mut listener: Listener, parts: mpsc::Sender<Bytes>) {
        // So that a client knows at once that it listens.
        let mut part = ": listening\n\n".to_owned();
        while parts.send(Bytes::from(part)).await.is_ok() {
            part = tokio::select! {
                part = self.next(&mut listener) => part,
                () = parts.closed() => return,
            };
        }
    }

    async fn next(&self, listener: &mut Listener) -> String {
        let records = timeout(SIGN_OF_LIFE, listener.next(AT_ONCE)).await.unwrap_or_default();
        let mut part = String::new();
        for record in &records {
            let line = serde_json::to_string(&record.line(self.clock, &self.replica)).unwrap_or_default();
            part.push_str(&format!("event: attempt\ndata: {line}\n\n"));
        }
        match listener.left_out() {
            0 if part.is_empty() => part.push_str(": nothing new\n\n"),
            0 => {}
            count => part.push_str(&format!("event: left-out\ndata: {{\"count\":{count}}}\n\n")),
        }
        part
    }
}

/// Which attempts are asked for: `route`, `failed`.
fn wanted(query: &str) -> Result<Wanted, Problem> {
    let bad = |detail: &str| Problem::new(ProblemKind::BadQuery, detail.to_owned());
    let mut wanted = Wanted::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "route" => wanted.route = Some(value.parse().map_err(|_wrong| bad("route is the name of one"))?),
            "failed" => wanted.failed = value.parse().map_err(|_wrong| bad("failed is true or false"))?,
            _ => return Err(bad("route and failed are known")),
        }
    }
    Ok(wanted)
}
