//! Pulls one durable route on one lane: finds the consumer, opens a session, and begins anew when something is wrong.

use std::{rc::Rc, time::Duration};

use async_nats::jetstream::{consumer::Info, stream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    acks::Acks,
    api::{Api, ApiError},
    consumer::{self, Facts, Finding, Severity},
    feed::{Common, Feed},
    rest::Rest,
    session::{PullSession, SILENCE},
    trouble::Trouble,
};
use crate::{
    base::{
        backoff::{Backoff, Jitter},
        clock::Time,
    },
    deliver::Deliver,
    message::ledger::{Ledgers, Turn},
    route::source_status::SourceState,
};

/// How often the consumer is asked how it is, and how far behind. Each time is a request to its leader, and scrapes of the
/// metrics are hardly closer together.
pub(super) const LOOK: Duration = Duration::from_secs(10);

pub(super) struct Puller<D> {
    pub(super) feed: Feed<D>,
    pub(super) common: Common,
    pub(super) acks: Rc<Acks>,
    pub(super) api: Api,
    /// Cancelled when the route leaves its stream.
    pub(super) leave: CancellationToken,
    /// Whether it is to take nothing meanwhile.
    pub(super) rest: Rest,
}

/// A stream and its consumer, as they are now.
struct Found {
    /// None where the user lacks the permission to ask for it.
    stream: Option<stream::Info>,
    consumer: Info,
    /// When they were asked for, and the highest sequence that had come by then.
    asked: Time,
    highest: u64,
    /// Where it begins, where it was made just now.
    made: Option<String>,
}

impl<D: Deliver + 'static> Puller<D> {
    pub(super) async fn run(self) {
        let heard = self.is_first().then(|| self.acks.listen(self.ledgers()));
        self.pull().await;
        if heard.is_some() {
            self.acks.pass_on(self.ledgers());
        }
    }

    /// Takes messages until `leave`.
    async fn pull(&self) {
        // The waits are short: JetStream does not answer while a leader is chosen, which takes a second or two, and is
        // asked again soon.
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 2.0, Jitter::Full);
        let mut failures = 0;
        while !self.leave.is_cancelled() {
            if self.rest.is_wanted() {
                self.rest().await;
                continue;
            }
            let began = Instant::now();
            let opened = tokio::select! {
                () = self.leave.cancelled() => return,
                () = self.rest.wanted() => continue,
                opened = self.open() => opened,
            };
            let trouble = match opened {
                Ok(session) => self.follow(session).await,
                Err(trouble) => Some(trouble),
            };
            let Some(trouble) = trouble else { continue };
            // A session that worked for a while was a success, so that its end is the first failure again.
            failures = if began.elapsed() > SILENCE { 1 } else { failures + 1 };
            self.report(&trouble);
            tokio::select! {
                () = self.leave.cancelled() => return,
                () = self.rest.wanted() => {}
                () = self.wait_out(&trouble, backoff.delay(failures)) => {}
            }
        }
    }

    /// Waits until it is worth trying again.
    async fn wait_out(&self, trouble: &Trouble, delay: Duration) {
        if matches!(trouble, Trouble::Acks(_)) {
            self.acks.untroubled().await;
        }
        sleep(delay).await;
    }

    /// Finds the consumer and asks it for the first messages.
    async fn open(&self) -> Result<PullSession<'_, D>, Trouble> {
        let connection = &self.common.connection;
        while !connection.is_connected() {
            self.feed.status.failed_by(&Trouble::Disconnected);
            drop(timeout(Duration::from_secs(1), connection.state().connected()).await);
        }
        let found = self.find().await?;
        let findings = self.judge(&found)?;
        let facts = self.take_note(&found);
        self.acks.verified();
        self.acks.heard().await?;
        let session = PullSession::open(&self.feed, &self.common, &self.acks, &self.api, facts.request)?;
        self.announce(&findings);
        self.show_lag(&facts);
        Ok(session)
    }

    /// Looks up the stream and the consumer, which is made where that is asked for.
    async fn find(&self) -> Result<Found, Trouble> {
        let (route, jetstream) = (&self.feed.route, &self.feed.jetstream);
        let (asked, highest) = (self.common.clock.now(), self.ledgers().highest());
        let stream = self.stream().await?;
        if let Some(consumer) = self.api.consumer().await? {
            return Ok(Found { stream, consumer, asked, highest, made: None });
        }
        let missing = || Trouble::NoConsumer {
            stream: jetstream.stream.to_string(),
            consumer: jetstream.consumer.to_string(),
        };
        if !jetstream.create {
            return Err(missing());
        }
        if let Some(stream) = &stream {
            usable(&consumer::judge_stream(stream, &route.settings))?;
        }
        let after = self.ledgers().goes_on_after(consumer::age(stream.as_ref()));
        let config = consumer::made(jetstream, &route.settings.subject, after);
        let is_made = self.api.create(&config).await.map_err(Trouble::Create)?;
        let begins = match after {
            Some(after) => format!("after sequence {after}, up to which all was acknowledged"),
            None => {
                format!("as jetstream.deliver_policy says: {:?}", jetstream.deliver_policy).to_lowercase()
            }
        };
        let consumer = self.api.consumer().await?.ok_or_else(missing)?;
        Ok(Found { stream, consumer, asked, highest, made: is_made.then_some(begins) })
    }

    async fn stream(&self) -> Result<Option<stream::Info>, Trouble> {
        match self.api.stream().await {
            Ok(Some(stream)) => Ok(Some(stream)),
            Ok(None) => Err(Trouble::NoStream(self.feed.jetstream.stream.to_string())),
            // Much is not known then, but messages can be taken.
            Err(ApiError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is not as it should be, and can be lived with.
    fn judge(&self, found: &Found) -> Result<Vec<Finding>, Trouble> {
        let settings = &self.feed.route.settings;
        let max_payload = self.common.connection.max_payload();
        let findings = match &found.stream {
            Some(stream) => consumer::judge(stream, &found.consumer, settings, max_payload),
            None => consumer::judge_alone(&found.consumer, settings),
        };
        usable(&findings)?;
        Ok(findings)
    }

    /// Takes over what the consumer is now, and gives up what has to do with a former stream.
    fn take_note(&self, found: &Found) -> Facts {
        let Found { stream, consumer, asked, highest, made } = found;
        let (facts, ledgers) = (Facts::of(consumer), self.ledgers());
        let stream = stream.as_ref();
        let (life, limits) = (consumer::life(stream, consumer), consumer::limits(stream, consumer));
        let turn = ledgers.observe(life, limits, *highest);
        ledgers.known(facts.floor, facts.delivered, *asked);
        ledgers.adapt(facts.ack_wait, self.common.clock.now());
        self.tell_turn(turn, made.as_deref());
        facts
    }

    fn tell_turn(&self, turn: Turn, made: Option<&str>) {
        let Feed { route, jetstream, .. } = &self.feed;
        let (route, stream, consumer) =
            (route.name().as_str(), jetstream.stream.as_str(), jetstream.consumer.as_str());
        // All lanes may make it, and one of them is the first to know.
        if let (Turn::First | Turn::OtherConsumer | Turn::OtherStream, Some(begins)) = (turn, made) {
            info!(route, stream, consumer, begins, "consumer made");
        }
        match turn {
            Turn::First | Turn::Same => {}
            Turn::OtherConsumer => warn!(route, stream, consumer, "the consumer was deleted and made anew"),
            Turn::OtherStream => warn!(
                route,
                stream,
                "the stream was made anew: what is in hand of the former one acknowledges nothing in it"
            ),
        }
    }

    /// Takes messages until something is wrong, or until `leave`, or until it is to rest.
    async fn follow(&self, mut session: PullSession<'_, D>) -> Option<Trouble> {
        let trouble = tokio::select! {
            trouble = session.take_in() => Some(trouble),
            () = self.leave.cancelled() => None,
            () = self.rest.wanted() => None,
            // The consumer is the same for all lanes, so one of them asks. It does so beside the taking: messages must
            // not wait for the answer.
            trouble = self.watch(), if self.is_first() => Some(trouble),
        };
        match &trouble {
            None => session.leave().await,
            Some(Trouble::Disconnected) => self.acks.unverified(),
            Some(trouble) => {
                if !matches!(trouble, Trouble::Acks(_)) {
                    // It may be another stream that has the name by now.
                    self.acks.unverified();
                }
                session.end().await;
            }
        }
        trouble
    }

    /// Asks again and again how the consumer is, until it can't be used any more.
    async fn watch(&self) -> Trouble {
        loop {
            sleep(LOOK).await;
            match self.look().await {
                Ok(()) => {}
                // What is wrong with the connection or with JetStream, messages and heartbeats tell.
                Err(Trouble::Api(_)) => {}
                Err(trouble) => return trouble,
            }
        }
    }

    pub(super) async fn look(&self) -> Result<(), Trouble> {
        let (asked, highest) = (self.common.clock.now(), self.ledgers().highest());
        let stream = self.stream().await?;
        let consumer = self.api.consumer().await?.ok_or(Trouble::Changed)?;
        let found = Found { stream, consumer, asked, highest, made: None };
        let findings = self.judge(&found)?;
        let facts = self.take_note(&found);
        self.warn_of(&findings);
        self.show_lag(&facts);
        Ok(())
    }

    fn announce(&self, findings: &[Finding]) {
        let Feed { route, jetstream, lane, .. } = &self.feed;
        let (route, stream, consumer) =
            (route.name().as_str(), jetstream.stream.as_str(), jetstream.consumer.as_str());
        match self.feed.status.went_live() {
            SourceState::Live | SourceState::Drained => return,
            SourceState::Starting(_) if self.feed.route.went_live() => {
                info!(route, stream, consumer, "route is live");
            }
            SourceState::Starting(_) => debug!(route, lane, stream, consumer, "pulling"),
            SourceState::Failing(after) => {
                info!(route, lane, stream, consumer, after, "route is live again");
            }
        }
        if self.is_first() {
            self.warn_of(findings);
        }
    }

    /// Says what is not as it should be, each once.
    fn warn_of(&self, findings: &[Finding]) {
        let (route, consumer) = (self.feed.route.name().as_str(), self.feed.jetstream.consumer.as_str());
        let texts = findings.iter().map(|finding| finding.text.clone()).collect();
        for difference in self.feed.status.warn(texts) {
            warn!(route, consumer, difference, "the consumer is not as it should be");
        }
    }

    fn report(&self, trouble: &Trouble) {
        let Feed { route, jetstream, lane, status, .. } = &self.feed;
        if status.failed_by(trouble) {
            let (route, stream) = (route.name().as_str(), jetstream.stream.as_str());
            warn!(route, lane, stream, error = %trouble, "stream in trouble, trying again");
        }
    }

    /// Shows in the metrics how far behind the consumer is, and says so in the log when it is at its own limit.
    fn show_lag(&self, facts: &Facts) {
        if !self.is_first() {
            return;
        }
        let lag = &self.feed.stats.lag;
        lag.pending.set(usize::try_from(facts.pending).unwrap_or(usize::MAX));
        lag.ack_pending.set(usize::try_from(facts.ack_pending).unwrap_or(usize::MAX));
        let limit = facts.max_ack_pending.unwrap_or_default();
        lag.max_ack_pending.set(usize::try_from(limit).unwrap_or(usize::MAX));
        let at_limit = limit > 0 && facts.ack_pending >= limit && facts.pending > 0;
        // Said once each time that the limit is reached, not every ten seconds for as long as it is.
        if at_limit != lag.at_limit.replace(at_limit) && at_limit {
            warn!(
                route = self.feed.route.name().as_str(),
                max_ack_pending = limit,
                "the consumer delivers no more: all that it allows is in hand or waits for another attempt"
            );
        }
    }

    fn ledgers(&self) -> &Ledgers {
        self.feed.route.ledgers()
    }

    pub(super) fn is_first(&self) -> bool {
        self.feed.lane == self.feed.route.first_lane()
    }
}

/// Fails with what can't be lived with.
fn usable(findings: &[Finding]) -> Result<(), Trouble> {
    let unusable = findings.iter().filter(|finding| finding.severity == Severity::Unusable);
    let texts: Vec<_> = unusable.map(|finding| finding.text.clone()).collect();
    if texts.is_empty() { Ok(()) } else { Err(Trouble::Unusable(texts)) }
}
