//! Looks at the stream of a durable route and at its consumer: whether they are what they were, and as they should be. What
//! is in hand can only be acknowledged as long as that is known over the present connection.

use std::{rc::Rc, time::Duration};

use async_nats::jetstream::{consumer::Info, stream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    acks::Acks,
    api::{Api, ApiError},
    consumer::{self, Facts, Finding, Severity},
    feed::{Common, Feed},
    trouble::Trouble,
};
use crate::{
    base::clock::Time,
    message::ledger::{Ledgers, Turn},
};

/// How often the consumer is asked how it is, and how far behind. Each time is a request to its leader, and scrapes of the
/// metrics are hardly closer together.
const LOOK: Duration = Duration::from_secs(10);
/// How soon to look again at what could not be looked at.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Observer {
    pub(super) feed: Feed,
    pub(super) common: Common,
    pub(super) acks: Rc<Acks>,
    pub(super) api: Api,
    /// Cancelled when the route leaves its stream.
    pub(super) leave: CancellationToken,
}

/// A stream and its consumer, as they are now.
pub(super) struct Found {
    /// None where the user lacks the permission to ask for it.
    stream: Option<stream::Info>,
    consumer: Info,
    /// When they were asked for, and the highest sequence that had come by then.
    asked: Time,
    highest: u64,
    /// Where it begins, where it was made just now.
    made: Option<String>,
}

impl Observer {
    /// Looks up the stream and the consumer, which is made where that is asked for.
    pub(super) async fn find(&self) -> Result<Found, Trouble> {
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
    pub(super) fn judge(&self, found: &Found) -> Result<Vec<Finding>, Trouble> {
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
    pub(super) fn take_note(&self, found: &Found) -> Facts {
        let Found { stream, consumer, asked, highest, made } = found;
        let (facts, ledgers) = (Facts::of(consumer), self.ledgers());
        let stream = stream.as_ref();
        let (life, limits) = (consumer::life(stream, consumer), consumer::limits(stream, consumer));
        let turn = ledgers.observe(life, limits, *highest);
        ledgers.known(facts.floor, facts.delivered, *highest, *asked);
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

    /// Asks again and again how the consumer is, until it can't be used any more.
    pub(super) async fn watch(&self) -> Trouble {
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

    async fn look(&self) -> Result<(), Trouble> {
        let found = self.find_again().await?;
        let findings = self.judge(&found)?;
        let facts = self.take_note(&found);
        self.warn_of(&findings);
        self.show_lag(&facts);
        Ok(())
    }

    /// Looks at the consumer while nothing is taken: over each connection, and again and again on the lane that does so for
    /// all. Never returns.
    pub(super) async fn keep_in_touch(&self) {
        let state = self.common.connection.state();
        loop {
            state.connected().await;
            let mut changes = state.changes();
            let again = match self.find_again().await {
                Ok(found) => {
                    let facts = self.take_note(&found);
                    self.acks.verified();
                    self.show(&found, &facts);
                    self.feed.is_first().then_some(LOOK)
                }
                // It says nothing of the stream: what is known over this connection is known still.
                Err(Trouble::Api(_)) => Some(AGAIN),
                Err(_) => {
                    // It may be another stream that has the name by now.
                    self.acks.unverified();
                    Some(AGAIN)
                }
            };
            drop(timeout(again.unwrap_or(Duration::MAX), changes.changed()).await);
        }
    }

    fn show(&self, found: &Found, facts: &Facts) {
        // Where it has left, the route has other settings by now, and the figures are of those.
        if !self.leave.is_cancelled() {
            self.warn_of(&self.judge(found).unwrap_or_default());
            self.show_lag(facts);
        }
    }

    /// Looks after what was taken, when the route has left its stream: its messages may be under way for long, or wait with
    /// other settings of the route. Never returns.
    pub(super) async fn see_off(&self) {
        let state = self.common.connection.state();
        let mut changes = state.changes();
        if self.acks.is_verified() {
            drop(timeout(LOOK, changes.changed()).await);
        }
        self.keep_in_touch().await;
    }

    /// Looks up a consumer that was there before.
    async fn find_again(&self) -> Result<Found, Trouble> {
        let (asked, highest) = (self.common.clock.now(), self.ledgers().highest());
        let stream = self.stream().await?;
        let consumer = self.api.consumer().await?.ok_or(Trouble::Changed)?;
        Ok(Found { stream, consumer, asked, highest, made: None })
    }

    /// Says what is not as it should be, each once.
    pub(super) fn warn_of(&self, findings: &[Finding]) {
        let (route, consumer) = (self.feed.route.name().as_str(), self.feed.jetstream.consumer.as_str());
        let texts = findings.iter().map(|finding| finding.text.clone()).collect();
        for difference in self.feed.status.warn(texts) {
            warn!(route, consumer, difference, "the consumer is not as it should be");
        }
    }

    /// Shows in the metrics how far behind the consumer is, and says so in the log when it is at its own limit.
    pub(super) fn show_lag(&self, facts: &Facts) {
        if !self.feed.is_first() {
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

    pub(super) fn ledgers(&self) -> &Ledgers {
        self.feed.route.ledgers()
    }
}

/// Fails with what can't be lived with.
fn usable(findings: &[Finding]) -> Result<(), Trouble> {
    let unusable = findings.iter().filter(|finding| finding.severity == Severity::Unusable);
    let texts: Vec<_> = unusable.map(|finding| finding.text.clone()).collect();
    if texts.is_empty() { Ok(()) } else { Err(Trouble::Unusable(texts)) }
}
