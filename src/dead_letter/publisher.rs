//! Publishes the dead letters of a route, a batch at a time, until NATS has confirmed each: only then is one counted,
//! and its message acknowledged to the stream it came from.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use async_nats::{
    client::{PublishErrorKind, traits::Publisher as _},
    message::OutboundMessage,
};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{error, info, warn};

use super::{
    Letter,
    destination::{self, Destination, Mode, PubAck, Unavailable},
    letter::Cut,
    queue::QueuedLetter,
};
use crate::{
    base::{
        backoff::{Backoff, Jitter},
        clock::{Clock, Time},
        throttle::Throttle,
    },
    message::{
        acknowledgement::{Ack, AckKind},
        header_names::nats as names,
        outcome::Outcome,
    },
    nats::{Barrier, BarrierError, NatsConnection, Replies, SetUpError},
};

/// How long NATS may take to confirm a batch, and to take what is published.
const CONFIRMATION: Duration = Duration::from_secs(5);
/// When the stream delivers a message again whose letter was not confirmed before the end.
const RETURN: Duration = Duration::from_secs(2);
/// For how long it is taken for granted that no stream keeps the subject. Nothing tells when somebody creates one, so
/// JetStream is asked again after this time. A stream that is gone shows by what it does not confirm.
const CORE_FOR: Duration = Duration::from_secs(30);

/// What has become of a letter for certain. Publishing it again would change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// NATS has it.
    Stored,
    /// It is larger than NATS takes, even without headers.
    TooLarge,
    /// The user of the connection may not publish to the subject.
    Refused,
}

/// Why a batch has to be published again.
#[derive(Debug, Error)]
enum Unconfirmed {
    #[error("there is no way for them")]
    Unavailable(#[from] Unavailable),
    #[error("there is no connection to NATS")]
    Disconnected,
    #[error("NATS does not take them")]
    Publish(#[source] async_nats::PublishError),
    #[error("NATS does not confirm them")]
    Barrier(#[from] BarrierError),
    #[error("the connection was lost meanwhile")]
    Reconnected,
    #[error("the stream does not confirm them")]
    Silence,
    #[error("the stream does not take them: {0}")]
    Stream(String),
}

/// Publishes the dead letters of one route.
#[derive(Debug)]
pub struct Publisher {
    destination: Destination,
    connection: Rc<NatsConnection>,
    barrier: Barrier,
    replies: Replies,
    clock: Clock,
    backoff: Backoff,
    /// The mode that works, as far as is known; none where it has to be found out.
    mode: Option<Mode>,
    /// When that was found out.
    found: Time,
    /// The mode that the log was told of last.
    announced: Option<Mode>,
    /// What is to be published to the streams that messages came from.
    acks: VecDeque<Ack>,
    in_trouble: bool,
    reports: Throttle,
}

impl Publisher {
    /// A publisher over `connection`, which may not be connected yet. Fails where it takes no subscriptions.
    pub async fn over(
        connection: Rc<NatsConnection>,
        destination: Destination,
        clock: Clock,
    ) -> Result<Self, SetUpError> {
        Ok(Self {
            barrier: Barrier::over(&connection).await?,
            replies: Replies::over(&connection).await?,
            destination,
            connection,
            clock,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(5), 2.0, Jitter::None),
            mode: None,
            found: Time::START,
            announced: None,
            acks: VecDeque::new(),
            in_trouble: false,
            reports: Throttle::new(1, Duration::from_secs(30)),
        })
    }

    /// Finds out the mode, however long that takes. Can be dropped at any time.
    pub(super) async fn get_ready(&mut self) {
        let mut failures = 0;
        while let Err(error) = self.find_mode().await {
            // Until NATS is there for the first time, its absence is reported elsewhere.
            if !matches!(error, Unconfirmed::Disconnected) {
                self.report(&error);
            }
            failures += 1;
            sleep(self.backoff.delay(failures)).await;
        }
    }

    /// Publishes `batch` as often as it takes, and leaves it empty. Can be dropped at any time: then `batch` has what
    /// is left.
    pub(super) async fn deliver(&mut self, batch: &mut Vec<QueuedLetter>) {
        let mut failures = 0;
        loop {
            let published = self.publish(batch).await;
            self.settle(batch);
            self.publish_acks().await;
            match published {
                Ok(()) if batch.is_empty() => return self.recovered(),
                // Some were too large and have been shortened. That is no trouble, so there is no wait before they go
                // out.
                Ok(()) => {}
                Err(error) => {
                    self.report(&error);
                    // Perhaps the stream is gone, or another one has come: the mode has to be found out anew.
                    self.mode = None;
                    failures += 1;
                    sleep(self.backoff.delay(failures)).await;
                }
            }
        }
    }

    /// Gives up what is left of `batch`, when there is no more time. Messages go back to their streams; those that came
    /// from none are dropped.
    pub(super) async fn abandon(&mut self, batch: &mut Vec<QueuedLetter>) {
        // What was confirmed before publishing was broken off is not lost.
        self.settle(batch);
        for mut waiting in batch.drain(..) {
            match waiting.letter.message.ack.take() {
                Some(ack) => {
                    waiting.letter.stats.count(Outcome::Returned);
                    self.acks.push_back(ack.settle(AckKind::Nak(RETURN)));
                }
                None => self.drop_letter(&waiting.letter, "NATS did not confirm it in time"),
            }
        }
        self.publish_acks().await;
    }

    /// Publishes the last acknowledgements and makes sure that NATS has them: those that are still in the client's
    /// buffer are lost with the process.
    pub(super) async fn close(mut self) {
        self.publish_acks().await;
        if self.connection.is_connected() && self.barrier.pass(CONFIRMATION).await.is_err() {
            warn!(route = self.destination.route.as_str(), "NATS does not confirm the last acknowledgements");
        }
    }

    async fn find_mode(&mut self) -> Result<Mode, Unconfirmed> {
        let now = self.clock.now();
        match &self.mode {
            Some(Mode::Core) if now.since(self.found) > CORE_FOR => {}
            Some(mode) => return Ok(mode.clone()),
            None => {}
        }
        if !self.connection.is_connected() {
            return Err(Unconfirmed::Disconnected);
        }
        let before = self.announced.as_ref();
        let mode =
            destination::find(&self.destination, before, &mut self.replies, self.connection.state()).await?;
        self.announce(&mode);
        self.found = now;
        Ok(self.mode.insert(mode).clone())
    }

    /// Logs by which mode letters are published, and again when it changes.
    fn announce(&mut self, mode: &Mode) {
        if self.announced.as_ref() == Some(mode) {
            return;
        }
        let route = self.destination.route.as_str();
        let subject = self.destination.to.subject.as_str();
        match mode {
            Mode::Stream(stream) => {
                info!(route, subject, %stream, "dead letters go through JetStream: the stream confirms each");
            }
            Mode::Core => {
                info!(route, subject, "dead letters go by core publish: no stream keeps the subject");
            }
        }
        self.announced = Some(mode.clone());
    }

    /// Publishes `batch` and waits until NATS has it. What is certain of a letter by then is its fate; the others have
    /// to be published again.
    async fn publish(&mut self, batch: &mut [QueuedLetter]) -> Result<(), Unconfirmed> {
        match self.find_mode().await? {
            Mode::Stream(stream) => self.publish_to(&stream, batch).await,
            Mode::Core => self.publish_core(batch).await,
        }
    }

    /// Publishes `batch` as plain messages. A round trip confirms all of them at once: the server reads what a
    /// connection sends in order.
    async fn publish_core(&mut self, batch: &mut [QueuedLetter]) -> Result<(), Unconfirmed> {
        let connections = self.connection.connections();
        for waiting in batch.iter_mut() {
            self.publish_letter(waiting, None).await?;
        }
        self.barrier.pass(CONFIRMATION).await?;
        // What was written to a connection that broke is lost with it, and a barrier over the next one proves nothing.
        if self.connection.connections() != connections {
            return Err(Unconfirmed::Reconnected);
        }
        let fate = if self.is_refused() { Fate::Refused } else { Fate::Stored };
        batch.iter_mut().for_each(|waiting| waiting.fate = waiting.fate.or(Some(fate)));
        Ok(())
    }

    /// Publishes `batch` to `stream` and reads its acknowledgements. A letter counts by its own, even where that of
    /// another one is missing.
    async fn publish_to(&mut self, stream: &str, batch: &mut [QueuedLetter]) -> Result<(), Unconfirmed> {
        let mut numbers = Vec::with_capacity(batch.len());
        for waiting in batch.iter_mut() {
            let (number, reply) = self.replies.expect();
            numbers.push(number);
            self.publish_letter(waiting, Some(reply)).await?;
        }
        self.barrier.pass(CONFIRMATION).await?;
        // The server refuses in order, too: a refusal is known by the time the barrier is passed, and there is nothing
        // to wait for then.
        if self.is_refused() {
            batch.iter_mut().for_each(|waiting| waiting.fate = waiting.fate.or(Some(Fate::Refused)));
            return Ok(());
        }
        let deadline = Instant::now() + CONFIRMATION;
        let mut open = batch.iter().filter(|waiting| waiting.fate.is_none()).count();
        let mut refusal = None;
        while open > 0 {
            let answer = timeout_at(deadline, self.replies.next()).await.ok().flatten();
            let (number, answer) = answer.ok_or(Unconfirmed::Silence)?;
            // Other numbers are late answers to requests that were given up. The numbers of a batch ascend, so it can
            // be searched.
            let Some(waiting) = numbers.binary_search(&number).ok().and_then(|at| batch.get_mut(at)) else {
                continue;
            };
            open -= 1;
            match PubAck::read(&answer, stream) {
                PubAck::Stored => waiting.fate = Some(Fate::Stored),
                PubAck::TooLarge => waiting.shorten(),
                PubAck::Refused(reason) => refusal = Some(reason),
            }
        }
        refusal.map_or(Ok(()), |reason| Err(Unconfirmed::Stream(reason)))
    }

    /// Hands a letter to the client, shortened until the server takes it. One whose fate is certain is not published
    /// again.
    async fn publish_letter(
        &self,
        waiting: &mut QueuedLetter,
        reply: Option<String>,
    ) -> Result<(), Unconfirmed> {
        while waiting.fate.is_none() {
            let message = OutboundMessage {
                subject: self.destination.to.subject.as_str().into(),
                reply: reply.as_deref().map(Into::into),
                payload: waiting.letter.message.payload.clone(),
                headers: self.headers(&waiting.letter, waiting.cut),
            };
            // The client blocks when it is disconnected and its queue is full.
            match timeout(CONFIRMATION, self.connection.client().publish_message(message)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => waiting.shorten(),
                Ok(Err(error)) => return Err(Unconfirmed::Publish(error)),
                Err(_elapsed) => return Err(Unconfirmed::Disconnected),
            }
        }
        Ok(())
    }

    fn headers(&self, letter: &Letter, cut: Cut) -> Option<async_nats::HeaderMap> {
        let mut headers = letter.headers(cut)?;
        if let Some(stream) = &self.destination.to.stream {
            // The server itself then refuses to put it into another stream.
            headers.insert(names::EXPECTED_STREAM, stream.as_str());
        }
        Some(headers)
    }

    fn is_refused(&self) -> bool {
        self.connection.state().refused_publication(self.destination.to.subject.as_str())
    }

    /// Counts the letters whose fate is certain and takes them out of `batch`.
    fn settle(&mut self, batch: &mut Vec<QueuedLetter>) {
        for waiting in std::mem::take(batch) {
            match waiting.fate {
                None => batch.push(waiting),
                Some(fate) => self.settle_letter(waiting.letter, fate),
            }
        }
    }

    /// Counts a letter that came to `fate`, and queues the acknowledgement of its message.
    fn settle_letter(&mut self, mut letter: Letter, fate: Fate) {
        let ack = letter.message.ack.take();
        let kind = match fate {
            Fate::Stored => {
                letter.stats.count(Outcome::DeadLettered);
                AckKind::Ack
            }
            // Not given back to the stream: it would be as large, or as unwelcome, the next time.
            Fate::TooLarge => {
                self.drop_letter(&letter, "it is larger than NATS takes");
                AckKind::Term
            }
            Fate::Refused => {
                self.drop_letter(&letter, "NATS refuses it: the user needs the permission to publish it");
                AckKind::Term
            }
        };
        self.acks.extend(ack.map(|ack| ack.settle(kind)));
    }

    /// Publishes the acknowledgements, as far as NATS takes them now. What is left goes out the next time.
    async fn publish_acks(&mut self) {
        let Self { acks, connection, .. } = self;
        let all = async {
            while let Some(ack) = acks.front() {
                let published = connection.client().publish(ack.subject.clone(), ack.payload.clone()).await;
                // Taken out only after that: the timeout below may break off in the middle, and it must go out the next
                // time.
                acks.pop_front();
                if published.is_err() {
                    break;
                }
            }
        };
        // A message whose acknowledgement does not arrive is delivered again. If it dies again, its stream drops the
        // second letter as a duplicate.
        drop(timeout(CONFIRMATION, all).await);
    }

    fn report(&mut self, error: &Unconfirmed) {
        self.in_trouble = true;
        if let Some(unreported) = self.reports.pass(self.clock.now()) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            let route = self.destination.route.as_str();
            error!(route, %error, cause, unreported, "dead letters can't be published, trying again");
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.in_trouble) {
            info!(route = self.destination.route.as_str(), "dead letters are published again");
        }
    }

    /// Counts a letter as dropped, and names it in the log.
    fn drop_letter(&mut self, letter: &Letter, cause: &str) {
        letter.stats.count(Outcome::Dropped);
        if let Some(unnamed) = letter.stats.named_drops.pass(self.clock.now()) {
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
