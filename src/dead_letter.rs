//! What will not be delivered is published to a subject, with the reason in its headers.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::{HeaderMap, client::PublishErrorKind};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    clock::Clock,
    config::RouteName,
    message::Message,
    nats::{Echo, Link, NoEcho},
    outcome::{Failure, Reason},
    stats::RouteStats,
    throttle::Throttle,
};

/// How many dead letters may wait to be published, for all routes together.
const WAITING_MESSAGES: usize = 32 * 1024;
/// How many bytes they may take.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// How many are published before NATS is asked whether it has them.
const BATCH: usize = 2048;
/// How long NATS may take to confirm a batch.
const CONFIRMATION: Duration = Duration::from_secs(5);
/// How long to wait before a batch that was not confirmed is published again.
const PAUSE: Duration = Duration::from_secs(1);

/// A dead message and what there is to say about it.
#[derive(Debug)]
pub struct Letter {
    /// The message.
    pub message: Message,
    reason: Reason,
    route: RouteName,
    stats: Arc<RouteStats>,
    received: SystemTime,
    died: SystemTime,
}

impl Letter {
    /// `message` of `route` died just now.
    pub fn new(
        message: Message,
        reason: Reason,
        route: &RouteName,
        stats: Arc<RouteStats>,
        clock: &Clock,
    ) -> Self {
        let received = clock.wall(message.received);
        Self { message, reason, route: route.clone(), stats, received, died: SystemTime::now() }
    }

    /// The headers that say why it died, and the publisher's own where `with_original` is set.
    fn headers(&self, with_original: bool) -> HeaderMap {
        let message = &self.message;
        let mut headers = HeaderMap::new();
        if with_original {
            for (name, value) in message.headers.iter().filter(|(name, _)| is_publishers(name)) {
                headers.append(name, value);
            }
        }
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message.id.to_string());
        headers.insert("Broadcaster-Reason", self.reason.label());
        headers.insert("Broadcaster-Route", self.route.as_str());
        headers.insert("Broadcaster-Subject", &*message.subject);
        headers.insert("Broadcaster-Attempts", async_nats::HeaderValue::from(message.attempts));
        headers.insert("Broadcaster-Received", rfc3339(self.received));
        headers.insert("Broadcaster-Died", rfc3339(self.died));
        if let Some(failure) = message.last_failure {
            headers.insert("Broadcaster-Last-Failure", &*failure.label());
            if let Failure::Status(status) = failure {
                headers.insert("Broadcaster-Last-Status", async_nats::HeaderValue::from(status));
            }
        }
        headers
    }
}

/// Whether a header is the publisher's own. Those of NATS itself would be commands to a stream that keeps the dead
/// letters, and ours are set anew.
fn is_publishers(name: &str) -> bool {
    let starts_with = |prefix: &str| name.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
    // The client would refuse, or worse, pass on what is not a header's name.
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    is_token && !starts_with("nats-") && !starts_with("broadcaster-")
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Where a route's lane puts its dead letters.
#[derive(Clone, Debug)]
pub struct Outlet {
    subject: Arc<str>,
    waiting: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
}

/// A dead letter on its way, with its share of [`WAITING_BYTES`].
#[derive(Debug)]
struct Waiting {
    letter: Letter,
    subject: Arc<str>,
    _bytes: OwnedSemaphorePermit,
}

impl Outlet {
    /// The same, for letters to `subject`.
    #[must_use]
    pub fn to(&self, subject: &str) -> Self {
        Self { subject: subject.into(), ..self.clone() }
    }

    /// Hands `letter` over without waiting, or gives it back where too many are waiting already.
    #[expect(clippy::result_large_err, reason = "the letter is moved either way")]
    pub fn send(&self, letter: Letter) -> Result<(), Letter> {
        let cost = u32::try_from(letter.message.cost()).unwrap_or(u32::MAX);
        let Ok(bytes) = Arc::clone(&self.bytes).try_acquire_many_owned(cost) else {
            return Err(letter);
        };
        let waiting = Waiting { letter, subject: Arc::clone(&self.subject), _bytes: bytes };
        self.waiting.try_send(waiting).map_err(|refused| refused.into_inner().letter)
    }

    /// Returns when there is room for a letter about `message`, as far as can be told while others send too; at once
    /// where there will never be.
    pub async fn room_for(&self, message: &Message) {
        let cost = u32::try_from(message.cost()).unwrap_or(u32::MAX);
        if message.cost() > WAITING_BYTES {
            return;
        }
        // What was acquired is given back here: `send` takes it again. So nothing is held, and nothing is lost with
        // this future.
        drop(self.bytes.acquire_many(cost).await);
        drop(self.waiting.reserve().await);
    }
}

/// Publishes the dead letters of all lanes, over a connection of its own.
#[derive(Debug)]
pub struct Outbox {
    waiting: mpsc::Receiver<Waiting>,
}

/// An outbox, and the outlet that leads to it.
pub fn outbox() -> (Outlet, Outbox) {
    let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
    let bytes = Arc::new(Semaphore::new(WAITING_BYTES));
    (Outlet { subject: "".into(), waiting: sender, bytes }, Outbox { waiting: receiver })
}

/// Why a batch has to be published again.
#[derive(Debug, Error)]
enum Unconfirmed {
    #[error("NATS does not take it")]
    Publish(#[source] async_nats::PublishError),
    #[error("NATS does not confirm it")]
    Confirmation(#[from] NoEcho),
    #[error("the connection was lost meanwhile")]
    Reconnected,
}

impl Outbox {
    /// Publishes over `link` until all outlets are gone and everything is published, or until `give_up`, when the rest
    /// is dropped.
    pub async fn run(mut self, link: Link, echo: Echo, clock: Clock, give_up: CancellationToken) {
        let reports = Throttle::new(1, Duration::from_secs(30));
        let named_drops = Throttle::new(20, Duration::from_secs(1));
        let mut post = Post { link, echo, clock, reports, named_drops };
        let mut batch = Vec::with_capacity(BATCH);
        while self.waiting.recv_many(&mut batch, BATCH).await > 0 {
            let published = post.deliver(&mut batch);
            tokio::select! {
                biased;
                () = give_up.cancelled() => {}
                () = published => {}
            }
            for unpublished in batch.drain(..) {
                post.drop(&unpublished.letter, "NATS did not confirm it in time");
            }
        }
    }
}

/// The way of dead letters into NATS.
struct Post {
    link: Link,
    echo: Echo,
    clock: Clock,
    reports: Throttle,
    named_drops: Throttle,
}

impl Post {
    /// Publishes `batch` as often as it takes. Then it is empty.
    async fn deliver(&mut self, batch: &mut Vec<Waiting>) {
        while let Err(error) = self.publish(batch).await {
            self.report(&error);
            sleep(PAUSE).await;
        }
    }

    /// Publishes `batch` and waits until NATS has it: then it is empty. Letters that can't be published are dropped.
    async fn publish(&mut self, batch: &mut Vec<Waiting>) -> Result<(), Unconfirmed> {
        let connections = self.link.connections();
        let mut sent = Vec::with_capacity(batch.len());
        for waiting in batch.iter() {
            sent.push(self.publish_one(waiting).await.map_err(Unconfirmed::Publish)?);
        }
        self.echo.call(CONFIRMATION).await?;
        // What was written to a connection that broke is lost with it, and an echo over the next one says nothing.
        if connections > 0 && self.link.connections() != connections {
            return Err(Unconfirmed::Reconnected);
        }
        for (waiting, sent) in batch.drain(..).zip(sent) {
            if !sent {
                self.drop(&waiting.letter, "it is too large for NATS with the headers of a dead letter");
            } else if self.link.state().refused_publication(&waiting.subject) {
                // The refusal came before the echo.
                self.drop(&waiting.letter, "NATS refuses it: the user needs the permission to publish it");
            } else {
                waiting.letter.stats.dead_lettered.add(1);
            }
        }
        Ok(())
    }

    /// Hands a letter to the client. False where it is too large.
    async fn publish_one(&self, waiting: &Waiting) -> Result<bool, async_nats::PublishError> {
        let letter = &waiting.letter;
        // The headers are cut where the message gets too large with them, the payload never.
        for with_original in [true, false] {
            let headers = letter.headers(with_original);
            let payload = letter.message.payload.clone();
            let client = self.link.client();
            let publish = client.publish_with_headers(waiting.subject.to_string(), headers, payload);
            // The client blocks when it is disconnected and its queue is full.
            match timeout(CONFIRMATION, publish).await {
                Ok(Ok(())) => return Ok(true),
                Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {}
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => return Err(async_nats::PublishError::new(PublishErrorKind::Send)),
            }
        }
        Ok(false)
    }

    fn report(&mut self, error: &Unconfirmed) {
        if let Some(unreported) = self.reports.pass(self.clock.now()) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            error!(%error, cause, unreported, "dead letters can't be published, trying again");
        }
    }

    /// Gives a letter up after all.
    fn drop(&mut self, letter: &Letter, cause: &str) {
        letter.stats.dropped.add(1);
        if let Some(unnamed) = self.named_drops.pass(self.clock.now()) {
            warn!(
                route = letter.route.as_str(),
                id = %letter.message.id,
                reason = letter.reason.label(),
                cause,
                more_before = (unnamed > 0).then_some(unnamed),
                "dead letter dropped"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dispatch::testing::message,
        message::{Headers, Id},
    };

    fn letter(headers: &[(&str, &str)]) -> Letter {
        let mut message = message(7);
        message.id = Id::given("order-7");
        message.attempts = 8;
        message.last_failure = Some(Failure::Status(503));
        message.headers = Headers::new(headers.iter().copied());
        let route = "todos".parse().unwrap();
        Letter::new(message, Reason::AttemptsExhausted, &route, Arc::default(), &Clock::start())
    }

    fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(async_nats::HeaderValue::as_str)
    }

    #[test]
    fn the_headers_say_why_it_died() {
        let headers = letter(&[]).headers(true);
        assert_eq!(value(&headers, "Nats-Msg-Id"), Some("order-7"));
        assert_eq!(value(&headers, "Broadcaster-Reason"), Some("attempts_exhausted"));
        assert_eq!(value(&headers, "Broadcaster-Last-Failure"), Some("503"));
        assert_eq!(value(&headers, "Broadcaster-Last-Status"), Some("503"));
        assert_eq!(value(&headers, "Broadcaster-Attempts"), Some("8"));
        assert_eq!(value(&headers, "Broadcaster-Route"), Some("todos"));
        assert_eq!(value(&headers, "Broadcaster-Subject"), Some("todos.events"));
    }

    #[test]
    fn the_publishers_headers_go_along_but_not_those_of_nats() {
        let headers = letter(&[("X-Tenant", "a"), ("Nats-Expected-Stream", "b"), ("broadcaster-route", "c")]);
        let headers = headers.headers(true);
        assert_eq!(value(&headers, "X-Tenant"), Some("a"));
        assert_eq!(value(&headers, "Nats-Expected-Stream"), None);
        assert_eq!(value(&headers, "Broadcaster-Route"), Some("todos"));
    }

    #[test]
    fn an_outlet_takes_no_more_than_fits() {
        let (outlet, _outbox) = outbox();
        let outlet = outlet.to("dead");
        let mut giant = letter(&[]);
        giant.message.payload = vec![0; WAITING_BYTES].into();
        assert!(outlet.send(giant).is_err());
        let taken = (0..WAITING_MESSAGES + 10).filter(|_| outlet.send(letter(&[])).is_ok()).count();
        assert_eq!(taken, WAITING_MESSAGES);
    }
}
