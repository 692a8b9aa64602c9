//! Publishes dead letters, a batch at a time, and learns of each what became of it.

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
    destination::{self, Destination, Mode, NoWay, PubAck},
    letter::Cut,
    queue::Waiting,
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

/// How long NATS may take to confirm a batch.
const CONFIRMATION: Duration = Duration::from_secs(5);
/// When a message comes back to us from its stream whose letter was not confirmed before the end.
const RETURN: Duration = Duration::from_secs(2);
/// For how long it is taken for granted that no stream keeps the subject.
const CORE_FOR: Duration = Duration::from_secs(30);

/// What has become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// NATS has it.
    Stored,
    /// It does not fit, even without headers.
    TooLarge,
    /// We may not publish it.
    Refused,
}

/// Why a batch has to be published again.
#[derive(Debug, Error)]
enum Unconfirmed {
    #[error("there is no way for them")]
    NoWay(#[from] NoWay),
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
    /// The way that works, as far as is known.
    mode: Option<Mode>,
    /// When that was found out.
    found: Time,
    /// The way that the log was told of.
    announced: Option<Mode>,
    /// What is to be said to the streams that messages came from.
    acks: VecDeque<Ack>,
    in_trouble: bool,
    reports: Throttle,
    named_drops: Throttle,
}

impl Publisher {
    /// Over `connection`, which may not be connected yet.
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
            named_drops: Throttle::new(20, Duration::from_secs(1)),
        })
    }

    /// Looks for the way until one is found.
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

    /// Publishes `batch` as often as it takes. Then it is empty.
    pub(super) async fn deliver(&mut self, batch: &mut Vec<Waiting>) {
        let mut failures = 0;
        loop {
            let published = self.publish(batch).await;
            self.settle(batch);
            self.publish_acks().await;
            match published {
                Ok(()) if batch.is_empty() => return self.recovered(),
                // Some have to be shortened.
                Ok(()) => {}
                Err(error) => {
                    self.report(&error);
                    self.mode = None;
                    failures += 1;
                    sleep(self.backoff.delay(failures)).await;
                }
            }
        }
    }

    /// There is no more time: gives up what is left of `batch`.
    pub(super) async fn abandon(&mut self, batch: &mut Vec<Waiting>) {
        self.settle(batch);
        for mut waiting in batch.drain(..) {
            match waiting.letter.message.ack.take() {
                Some(ack) => {
                    waiting.letter.stats.count(Outcome::Returned);
                    self.acks.push_back(ack.settle(AckKind::Nak(RETURN)));
                }
                None => self.drop(&waiting.letter, "NATS did not confirm it in time"),
            }
        }
        self.publish_acks().await;
    }

    /// Sees to it that what was said has arrived.
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

    /// Says which way they go, and again when it changes.
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

    /// Publishes `batch` and waits until NATS has it. What is certain of a letter by then is its fate; the others have to
    /// be published again.
    async fn publish(&mut self, batch: &mut [Waiting]) -> Result<(), Unconfirmed> {
        match self.find_mode().await? {
            Mode::Stream(stream) => self.publish_to(&stream, batch).await,
            Mode::Core => self.publish_plainly(batch).await,
        }
    }

    async fn publish_plainly(&mut self, batch: &mut [Waiting]) -> Result<(), Unconfirmed> {
        let connections = self.connection.connections();
        for waiting in batch.iter_mut() {
            self.hand_over(waiting, None).await?;
        }
        self.barrier.pass(CONFIRMATION).await?;
        // What was written to a connection that broke is lost with it, and an barrier over the next one says nothing.
        if self.connection.connections() != connections {
            return Err(Unconfirmed::Reconnected);
        }
        let fate = if self.is_refused() { Fate::Refused } else { Fate::Stored };
        batch.iter_mut().for_each(|waiting| waiting.fate = waiting.fate.or(Some(fate)));
        Ok(())
    }

    async fn publish_to(&mut self, stream: &str, batch: &mut [Waiting]) -> Result<(), Unconfirmed> {
        let mut numbers = Vec::with_capacity(batch.len());
        for waiting in batch.iter_mut() {
            let (number, reply) = self.replies.expect();
            numbers.push(number);
            self.hand_over(waiting, Some(reply)).await?;
        }
        self.barrier.pass(CONFIRMATION).await?;
        // The refusal came before the barrier.
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
            // Others are late answers to questions that were given up.
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

    /// Hands a letter to the client, as much of it as the server takes.
    async fn hand_over(&self, waiting: &mut Waiting, reply: Option<String>) -> Result<(), Unconfirmed> {
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
            headers.insert(names::EXPECTED_STREAM, stream.as_str());
        }
        Some(headers)
    }

    fn is_refused(&self) -> bool {
        self.connection.state().refused_publication(self.destination.to.subject.as_str())
    }

    /// Counts the letters whose fate is certain and takes them out of `batch`.
    fn settle(&mut self, batch: &mut Vec<Waiting>) {
        for waiting in std::mem::take(batch) {
            match waiting.fate {
                None => batch.push(waiting),
                Some(fate) => self.settle_letter(waiting.letter, fate),
            }
        }
    }

    /// Counts a letter that came to `fate`, and has the stream of its message told.
    fn settle_letter(&mut self, mut letter: Letter, fate: Fate) {
        let ack = letter.message.ack.take();
        let kind = match fate {
            Fate::Stored => {
                letter.stats.count(Outcome::DeadLettered);
                AckKind::Ack
            }
            Fate::TooLarge => {
                self.drop(&letter, "it is larger than NATS takes");
                AckKind::Term
            }
            Fate::Refused => {
                self.drop(&letter, "NATS refuses it: the user needs the permission to publish it");
                AckKind::Term
            }
        };
        self.acks.extend(ack.map(|ack| ack.settle(kind)));
    }

    /// Tells the streams, as far as NATS takes it now. What is left is said the next time.
    async fn publish_acks(&mut self) {
        let Self { acks, connection, .. } = self;
        let all = async {
            while let Some(ack) = acks.front() {
                let said = connection.client().publish(ack.subject.clone(), ack.payload.clone()).await;
                acks.pop_front();
                if said.is_err() {
                    break;
                }
            }
        };
        // What does not arrive is delivered again, and its letter then dropped as a duplicate.
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

    /// Gives a letter up after all.
    fn drop(&mut self, letter: &Letter, cause: &str) {
        letter.stats.count(Outcome::Dropped);
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
