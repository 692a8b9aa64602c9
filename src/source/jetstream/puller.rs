//! Sees to it that one route in one lane is pulled: finds the consumer, and begins anew when something is wrong.

use std::{rc::Rc, time::Duration};

use async_nats::jetstream;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Condition, Feed,
    consumer::{self, ConsumerError, Facts},
    heartbeats::Keeper,
    session::Session,
};
use crate::{
    base::{backoff::Backoff, clock::Clock},
    config::Jitter,
    deliver::Deliver,
    message::ack_queue::Acks,
    nats::Link,
};

/// After so long without a word from the server something is wrong.
pub(super) const SILENCE: Duration = Duration::from_secs(11);
/// How often the lag is asked for.
const LAG: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Puller<D> {
    pub(super) feed: Feed<D>,
    pub(super) link: Rc<Link>,
    pub(super) context: jetstream::Context,
    pub(super) acks: Acks,
    pub(super) keeper: Keeper,
    pub(super) clock: Clock,
    /// No more is asked for from here on.
    pub(super) stop: CancellationToken,
    /// Nothing more is taken from here on.
    pub(super) leave: CancellationToken,
    /// Which lane this is.
    pub(super) lane: usize,
    /// Whether it is this lane that asks for the lag.
    pub(super) reports_lag: bool,
}

/// Why pulling has to begin anew.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    #[error("not connected to NATS")]
    Disconnected,
    #[error("the connection to NATS was made anew")]
    Reconnected,
    #[error("the server is silent: a heartbeat is missing")]
    Silence,
    #[error("the server has ended the request: {0}")]
    Ended(String),
    #[error("nobody answers for JetStream")]
    NoResponders,
    #[error("the client failed: {0}")]
    Client(String),
}

impl<D: Deliver + 'static> Puller<D> {
    /// Pulls until `leave`.
    pub(super) async fn run(self) {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 2.0, Jitter::Full);
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let opened = tokio::select! {
                () = self.leave.cancelled() => return,
                opened = self.open() => opened,
            };
            let trouble = match opened {
                Ok(session) => session.run().await,
                Err(trouble) => Some(trouble),
            };
            let Some(trouble) = trouble else { return };
            // What worked for a while begins with a short wait again.
            failures = if began.elapsed() > SILENCE { 1 } else { failures + 1 };
            self.report(&trouble);
            tokio::select! {
                () = self.leave.cancelled() => return,
                () = sleep(backoff.delay(failures)) => {}
            }
        }
    }

    /// Finds the consumer and asks it for the first messages.
    async fn open(&self) -> Result<Session<'_, D>, Trouble> {
        while !self.link.is_connected() {
            self.feed.status.trouble(&Trouble::Disconnected);
            // The event of it may get lost.
            drop(timeout(Duration::from_millis(250), self.link.state().connection()).await);
        }
        let (facts, differences) =
            consumer::open(&self.context, &self.feed.jetstream, &self.feed.subject).await?;
        self.keeper.adapt(facts.ack_wait);
        let session = Session::open(self).await?;
        self.announce(&differences);
        self.show_lag(facts);
        Ok(session)
    }

    fn announce(&self, differences: &[String]) {
        let Feed { route, jetstream, .. } = &self.feed;
        let (route, stream, consumer) =
            (route.as_str(), jetstream.stream.as_str(), jetstream.consumer.as_str());
        let lane = self.lane;
        match self.feed.status.went_live() {
            Condition::Live => return,
            Condition::Starting(_) => info!(route, lane, stream, consumer, "route is live"),
            Condition::Failing(after) => info!(route, lane, stream, consumer, after, "route is live again"),
        }
        for difference in differences {
            warn!(route, lane, consumer, difference, "the consumer is not as it should be");
        }
    }

    fn report(&self, trouble: &Trouble) {
        let Feed { route, jetstream, .. } = &self.feed;
        if self.feed.status.trouble(trouble) {
            let stream = jetstream.stream.as_str();
            let lane = self.lane;
            warn!(route = route.as_str(), lane, stream, error = %trouble, "stream in trouble, trying again");
        }
    }

    /// Asks the consumer again and again how far behind it is.
    pub(super) async fn watch_lag(&self) {
        loop {
            sleep(LAG).await;
            if let Ok(facts) = consumer::look(&self.context, &self.feed.jetstream).await {
                self.show_lag(facts);
            }
        }
    }

    /// Shows how far behind the consumer is.
    fn show_lag(&self, facts: Facts) {
        if !self.reports_lag {
            return;
        }
        let lag = &self.feed.stats.lag;
        lag.pending.set(usize::try_from(facts.pending).unwrap_or(usize::MAX));
        lag.ack_pending.set(usize::try_from(facts.ack_pending).unwrap_or(usize::MAX));
        let limit = facts.max_ack_pending.unwrap_or_default();
        lag.max_ack_pending.set(usize::try_from(limit).unwrap_or(usize::MAX));
        let at_limit = limit > 0 && facts.ack_pending >= limit && facts.pending > 0;
        if at_limit != lag.at_limit.replace(at_limit) && at_limit {
            warn!(
                route = self.feed.route.as_str(),
                max_ack_pending = limit,
                "the consumer delivers no more: as many messages as it allows are in hand, over all replicas"
            );
        }
    }
}
