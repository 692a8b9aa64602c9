//! Publishes the dead letters of a route, a round at a time, until NATS has confirmed each: only then is one counted,
//! and its message acknowledged to the stream it came from.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::{
    Letter,
    destination::{self, Destination, Mode, Unavailable},
    keeper::Keeper,
    queued::{Answer, Fate, QueuedLetter},
    recent::RecentLetter,
};
use crate::{
    base::{
        backoff::{Backoff, Jitter},
        clock::{Clock, Time},
        error_chain::ErrorChain,
        throttle::Throttle,
    },
    message::{HeaderBlock, acknowledgement::AckKind, header_names::nats as names, outcome::Outcome},
    nats::{Connection, NoAnswer, Outgoing, PublishError, Replies, jetstream::Api, puback::PubAck},
};

/// How long NATS may take to confirm a round, and to take what is published.
const CONFIRMATION: Duration = Duration::from_secs(5);
/// When the stream delivers a message again whose letter was not confirmed before the end.
const RETURN: Duration = Duration::from_secs(2);
/// When it delivers one again whose letter no stream takes: it would die again, and its letter would be as unwelcome.
const RETURN_UNFIT: Duration = Duration::from_secs(5 * 60);
/// For how long it is taken for granted that no stream keeps the subject. Nothing tells when somebody creates one, so
/// JetStream is asked again after this time. A stream that is gone shows by what it does not confirm.
const CORE_FOR: Duration = Duration::from_secs(30);

/// Why a round has not brought what was hoped for.
#[derive(Debug, Error)]
pub(super) enum Unconfirmed {
    #[error("there is no way for them")]
    Unavailable(#[from] Unavailable),
    #[error("there is no connection to NATS")]
    Disconnected,
    #[error("NATS refuses them: the user needs the permission to publish to their subject")]
    Forbidden,
    #[error("NATS does not take them")]
    Publish(#[from] PublishError),
    #[error("NATS does not confirm them")]
    RoundTrip(#[from] NoAnswer),
    #[error("the connection was lost meanwhile")]
    Reconnected,
    #[error("the stream does not confirm them")]
    Silence,
}

/// Publishes the dead letters of one route.
pub struct Publisher {
    destination: Destination,
    connection: Connection,
    replies: Replies,
    clock: Clock,
    /// The mode that works, as far as is known; none where it has to be found out.
    mode: Option<Mode>,
    /// When that was found out.
    found: Time,
    /// The mode that the log was told of last.
    announced: Option<Mode>,
    /// What was wrong last, until something is confirmed again.
    trouble: Option<String>,
    /// What the log was told of that last.
    reported: Option<String>,
    reports: Throttle,
}

impl Publisher {
    /// A publisher over `connection`, which may not be connected yet.
    pub fn over(connection: Connection, destination: Destination, clock: Clock) -> Self {
        Self {
            replies: Replies::over(&connection),
            destination,
            connection,
            clock,
            mode: None,
            found: Time::START,
            announced: None,
            trouble: None,
            reported: None,
            reports: Throttle::new(1, Duration::from_secs(30)),
        }
    }

    /// Finds out the mode, however long that takes, so that the log tells of it before the first letter does. Can be dropped
    /// at any time.
    pub(super) async fn get_ready(&mut self) {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5), 2.0, Jitter::None);
        let mut failures = 0;
        while let Err(error) = self.find_mode().await {
            // Until NATS is there for the first time, its absence is reported elsewhere.
            if !matches!(error, Unconfirmed::Disconnected) {
                self.report(&ErrorChain(&error).to_string());
            }
            failures += 1;
            sleep(backoff.delay(failures)).await;
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.mode.is_some()
    }

    /// Publishes `batch` and waits until NATS has said something about each letter, or has had the time to. What it has said
    /// is in them then, also where there is an error. Can be dropped at any time.
    pub(super) async fn publish(&mut self, batch: &mut [QueuedLetter]) -> Result<(), Unconfirmed> {
        let published = match self.find_mode().await? {
            Mode::Stream(keeper) => self.publish_to(&keeper, batch).await,
            Mode::Core => self.publish_core(batch).await,
        };
        if published.is_err() || batch.iter().any(|letter| !matches!(letter.answer, Some(Answer::Stored))) {
            // Perhaps the stream is gone, or another one has come, or has other limits.
            self.mode = None;
        }
        published
    }

    /// Takes note of letters that came to their end.
    pub(super) fn settle(&mut self, ended: Vec<(QueuedLetter, Fate)>) {
        for (letter, fate) in ended {
            match fate {
                Fate::Stored => self.stored(letter),
                Fate::Unfit(reason) => self.give_up(letter, &reason, RETURN_UNFIT),
            }
        }
    }

    /// Gives up letters when there is no more time.
    pub(super) fn abandon(&mut self, letters: impl Iterator<Item = QueuedLetter>) {
        for letter in letters {
            if letter.answer == Some(Answer::Stored) {
                self.stored(letter);
            } else {
                let reason = letter.refusal.clone();
                let reason = reason.or_else(|| self.trouble.as_deref().map(Arc::from));
                self.give_up(
                    letter,
                    &reason.unwrap_or_else(|| "NATS did not confirm it in time".into()),
                    RETURN,
                );
            }
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
        let mut api = Api { replies: &mut self.replies, state: self.connection.state() };
        let mode = destination::find(&self.destination, self.announced.as_ref(), &mut api).await?;
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
            Mode::Stream(Keeper { stream, warning, .. }) => {
                let stream = stream.as_deref().unwrap_or("not known, for want of the permission to ask");
                info!(route, subject, stream, "dead letters go through JetStream: the stream confirms each");
                if let Some(warning) = warning.as_deref() {
                    warn!(route, stream, warning, "the stream does not keep dead letters for good");
                }
            }
            Mode::Core => {
                info!(route, subject, "dead letters go by core publish: no stream keeps the subject");
            }
        }
        self.announced = Some(mode.clone());
    }

    /// Publishes `batch` as plain messages. A round trip confirms all of them at once: the server reads what a
    /// connection sends in order, and refuses in order.
    async fn publish_core(&mut self, batch: &mut [QueuedLetter]) -> Result<(), Unconfirmed> {
        let (connections, refusals) = (self.connection.connections(), self.refusals());
        for letter in batch.iter_mut() {
            self.publish_letter(letter, None)?;
        }
        self.connection.round_trip(CONFIRMATION).await?;
        // What was written to a connection that broke is lost with it, and a barrier over the next one proves nothing.
        if self.connection.connections() != connections {
            return Err(Unconfirmed::Reconnected);
        }
        if self.refusals() > refusals {
            return Err(Unconfirmed::Forbidden);
        }
        batch.iter_mut().for_each(|letter| letter.answer = letter.answer.take().or(Some(Answer::Stored)));
        Ok(())
    }

    /// Publishes `batch` to a stream and reads its acknowledgements. A letter counts by its own, even where that of another
    /// one is missing.
    async fn publish_to(&mut self, keeper: &Keeper, batch: &mut [QueuedLetter]) -> Result<(), Unconfirmed> {
        let refusals = self.refusals();
        let mut numbers = Vec::with_capacity(batch.len());
        for letter in batch.iter_mut() {
            let (number, reply) = self.replies.expect();
            match self.publish_letter(letter, Some((keeper, &reply))) {
                // The rest is for another round.
                Err(PublishError::Full) if !numbers.is_empty() => break,
                published => published?,
            }
            numbers.push(number);
        }
        let batch = batch.get_mut(..numbers.len()).unwrap_or_default();
        self.connection.round_trip(CONFIRMATION).await?;
        // The server refuses in order, too: a refusal is known by now, and there is nothing to wait for then.
        if self.refusals() > refusals {
            return Err(Unconfirmed::Forbidden);
        }
        self.hear(keeper, batch, &numbers).await?;
        self.still_wanted(keeper, batch).await
    }

    /// Waits for what the stream says about each letter of `batch`, which was published with these `numbers`.
    async fn hear(
        &mut self,
        keeper: &Keeper,
        batch: &mut [QueuedLetter],
        numbers: &[u64],
    ) -> Result<(), Unconfirmed> {
        let deadline = Instant::now() + CONFIRMATION;
        let mut open = batch.iter().filter(|letter| letter.answer.is_none()).count();
        while open > 0 {
            let answer = timeout_at(deadline, self.replies.next()).await;
            let (number, answer) = answer.map_err(|_elapsed| Unconfirmed::Silence)?;
            // Other numbers are late answers to requests that were given up. The numbers of a batch ascend, so it can
            // be searched.
            let letter = numbers.binary_search(&number).ok().and_then(|at| batch.get_mut(at));
            let Some(letter) = letter.filter(|letter| letter.answer.is_none()) else { continue };
            open -= 1;
            letter.hear(PubAck::read(answer.status(), &answer.payload(), keeper.stream.as_deref()));
        }
        Ok(())
    }

    /// A stream that keeps only what a consumer wants has kept nothing where that consumer is gone, though it has confirmed
    /// it.
    async fn still_wanted(&mut self, keeper: &Keeper, batch: &mut [QueuedLetter]) -> Result<(), Unconfirmed> {
        let mut api = Api { replies: &mut self.replies, state: self.connection.state() };
        let wanted = destination::wanted(&self.destination, keeper, &mut api).await;
        if wanted.is_err() {
            for letter in batch.iter_mut().filter(|letter| letter.answer == Some(Answer::Stored)) {
                letter.answer = None;
                letter.renew();
            }
        }
        Ok(wanted?)
    }

    /// Publishes a letter, to a stream that answers to this subject, or plainly.
    fn publish_letter(
        &self,
        letter: &mut QueuedLetter,
        to: Option<(&Keeper, &str)>,
    ) -> Result<(), PublishError> {
        let headers = self.headers(letter);
        let payload = &*letter.letter.message.payload;
        let size = payload.len() + headers.as_ref().map_or(0, |headers| headers.as_bytes().len());
        if to.and_then(|(keeper, _)| keeper.largest).is_some_and(|largest| size > largest) {
            letter.answer = Some(Answer::TooLarge);
            return Ok(());
        }
        let (subject, headers) = (self.destination.to.subject.as_str(), headers.as_ref());
        let message = Outgoing { subject, reply: to.map(|(_, reply)| reply), headers, payload };
        match self.connection.publish(message) {
            Ok(()) => letter.published += 1,
            Err(PublishError::TooLarge) => letter.answer = Some(Answer::TooLarge),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn headers(&self, letter: &QueuedLetter) -> Option<HeaderBlock> {
        let mut headers = letter.letter.headers(letter.cut)?;
        headers.put(names::MESSAGE_ID, letter.message_id());
        if let Some(stream) = &self.destination.to.stream {
            // The server itself then refuses to put it into another stream.
            headers.put(names::EXPECTED_STREAM, stream.as_str());
        }
        Some(headers)
    }

    fn refusals(&self) -> u64 {
        self.connection.state().refused_publications(self.destination.to.subject.as_str())
    }

    /// NATS has confirmed a letter: its message has come to its end.
    fn stored(&self, letter: QueuedLetter) {
        let Letter { mut message, reason, stats, died, .. } = letter.letter;
        letter.place.show(RecentLetter { id: message.id.clone(), reason, at: died });
        stats.count(Outcome::DeadLettered);
        message.end_way(Outcome::DeadLettered, Some(reason), || self.clock.now());
        if let Some(ack) = message.ack.take() {
            ack.settle(AckKind::Ack);
        }
    }

    /// Gives up a letter for this `reason`, and names it in the log. Its message goes back to its stream, which delivers it
    /// again `after` a while; one that came from none is dropped.
    fn give_up(&mut self, mut letter: QueuedLetter, cause: &str, after: Duration) {
        let letter = &mut letter.letter;
        let ack = letter.message.ack.take();
        let outcome = if ack.is_some() { Outcome::Returned } else { Outcome::Dropped };
        letter.stats.count(outcome);
        letter.message.end_way(outcome, Some(letter.reason), || self.clock.now());
        if let Some(unnamed) = letter.stats.named_drops.pass(self.clock.now()) {
            let (route, id, reason) = (letter.route.as_str(), &letter.message.id, letter.reason.label());
            let more_before = (unnamed > 0).then_some(unnamed);
            if ack.is_some() {
                warn!(route, %id, reason, cause, more_before, "dead letter put aside, its message stays in its stream");
            } else {
                warn!(route, %id, reason, cause, more_before, "dead letter dropped");
            }
        }
        if let Some(ack) = ack {
            ack.give_back(after, letter.message.attempts);
        }
    }

    /// Says what is wrong, and again when that changes.
    pub(super) fn report(&mut self, trouble: &str) {
        if self.trouble.as_deref() != Some(trouble) {
            self.trouble = Some(trouble.to_owned());
        }
        if self.trouble != self.reported
            && let Some(unreported) = self.reports.pass(self.clock.now())
        {
            let route = self.destination.route.as_str();
            error!(route, error = trouble, unreported, "dead letters can't be published, trying again");
            self.reported.clone_from(&self.trouble);
        }
    }

    /// Something was confirmed.
    pub(super) fn recovered(&mut self) {
        self.trouble = None;
        if self.reported.take().is_some() {
            info!(route = self.destination.route.as_str(), "dead letters are published again");
        }
    }
}
