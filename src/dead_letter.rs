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
    clock::{Clock, Time},
    config::RouteName,
    message::Message,
    nats::{Echo, Link, NoEcho},
    outcome::{Failure, Reason},
    stats::RouteStats,
    throttle::Throttle,
};

/// How many dead letters may wait to be published, for all routes together.
const WAITING_MESSAGES: usize = 8 * 1024;
/// How many bytes they may take.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// How many are published before NATS is asked whether it has them.
const BATCH: usize = 256;
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

    /// Gives it up after all.
    fn drop(&self, cause: &str) {
        self.stats.dropped.add(1);
        warn!(
            route = self.route.as_str(),
            id = %self.message.id,
            reason = self.reason.label(),
            cause,
            "dead letter dropped"
        );
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
}

impl Outbox {
    /// Publishes until all outlets are gone and everything is published, or until `give_up`, when the rest is dropped.
    pub async fn run(mut self, link: Link, mut echo: Echo, clock: Clock, give_up: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut reports = Throttle::new(1, Duration::from_secs(30));
        while self.waiting.recv_many(&mut batch, BATCH).await > 0 {
            loop {
                let confirmed = tokio::select! {
                    biased;
                    () = give_up.cancelled() => break,
                    confirmed = publish(&mut batch, &link, &mut echo) => confirmed,
                };
                let Err(error) = confirmed else { break };
                report(&error, &mut reports, clock.now());
                tokio::select! {
                    () = give_up.cancelled() => break,
                    () = sleep(PAUSE) => {}
                }
            }
            // Nothing is left, but when the time was up.
            for unpublished in batch.drain(..) {
                unpublished.letter.drop("NATS did not confirm it in time");
            }
        }
    }
}

/// Publishes `batch` and waits until NATS has it: then the batch is empty. Letters that can't be published are dropped.
async fn publish(batch: &mut Vec<Waiting>, link: &Link, echo: &mut Echo) -> Result<(), Unconfirmed> {
    let mut failed = None;
    let mut sent = Vec::with_capacity(batch.len());
    for waiting in batch.iter() {
        match publish_one(waiting, link).await {
            Ok(()) => sent.push(true),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => sent.push(false),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if let Some(error) = failed {
        return Err(Unconfirmed::Publish(error));
    }
    echo.call(CONFIRMATION).await?;
    for (waiting, sent) in batch.drain(..).zip(sent) {
        if sent {
            waiting.letter.stats.dead_lettered.add(1);
        } else {
            waiting.letter.drop("it is too large for NATS with the headers of a dead letter");
        }
    }
    Ok(())
}

async fn publish_one(waiting: &Waiting, link: &Link) -> Result<(), async_nats::PublishError> {
    let letter = &waiting.letter;
    // The headers are cut where the message gets too large with them, the payload never.
    let mut too_large = None;
    for with_original in [true, false] {
        let headers = letter.headers(with_original);
        let payload = letter.message.payload.clone();
        let publish = link.client().publish_with_headers(waiting.subject.to_string(), headers, payload);
        // The client blocks when it is disconnected and its queue is full.
        match timeout(CONFIRMATION, publish).await {
            Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => too_large = Some(error),
            Ok(done) => return done,
            Err(_elapsed) => return Err(async_nats::PublishError::new(PublishErrorKind::Send)),
        }
    }
    too_large.map_or(Ok(()), Err)
}

fn report(error: &Unconfirmed, reports: &mut Throttle, now: Time) {
    if let Some(unreported) = reports.pass(now) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        error!(%error, cause, unreported, "dead letters can't be published, trying again");
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
