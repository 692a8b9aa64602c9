//! Pulls one durable route on one lane: finds the consumer, opens a session, and begins anew when something is wrong.

use std::time::Duration;

use tokio::{
    task::coop::unconstrained,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    consumer::{self, Facts},
    feed::{Common, Feed},
    heartbeats::Heartbeats,
    session::{PullSession, SILENCE},
    trouble::Trouble,
};
use crate::{
    base::backoff::{Backoff, Jitter},
    deliver::Deliver,
    route::source_status::SourceState,
};

/// How often the consumer is asked how far behind it is. Each time is a request to its leader, and scrapes of the
/// metrics are hardly closer together.
const LAG: Duration = Duration::from_secs(10);

pub(super) struct Puller<D> {
    pub(super) feed: Feed<D>,
    pub(super) common: Common,
    pub(super) heartbeats: Heartbeats,
    /// Cancelled when the route leaves its stream.
    pub(super) leave: CancellationToken,
}

impl<D: Deliver + 'static> Puller<D> {
    pub(super) async fn run(self) {
        // The waits are short: JetStream does not answer while a leader is chosen, which takes a second or two, and is
        // asked again soon.
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 2.0, Jitter::Full);
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let opened = tokio::select! {
                () = self.leave.cancelled() => return,
                opened = self.open() => opened,
            };
            let trouble = match opened {
                Ok(session) => self.follow(session).await,
                Err(trouble) => Some(trouble),
            };
            let Some(trouble) = trouble else { return };
            // A session that worked for a while was a success, so that its end is the first failure again.
            failures = if began.elapsed() > SILENCE { 1 } else { failures + 1 };
            self.report(&trouble);
            tokio::select! {
                () = self.leave.cancelled() => return,
                () = sleep(backoff.delay(failures)) => {}
            }
        }
    }

    /// Finds the consumer and asks it for the first messages.
    async fn open(&self) -> Result<PullSession<'_, D>, Trouble> {
        let connection = &self.common.connection;
        while !connection.is_connected() {
            self.feed.status.failed_by(&Trouble::Disconnected);
            // The client drops events when there are many, that of the new connection among them: so it is looked at as
            // well.
            drop(timeout(Duration::from_secs(1), connection.state().connected()).await);
        }
        let Feed { route, jetstream, .. } = &self.feed;
        let (facts, differences) =
            consumer::open(&self.common.context, jetstream, &route.settings.subject).await?;
        self.heartbeats.adapt(facts.ack_wait);
        let session = PullSession::open(&self.feed, &self.common, &self.heartbeats).await?;
        self.announce(&differences);
        self.show_lag(facts);
        Ok(session)
    }

    /// Takes messages until something is wrong, or until `leave`.
    async fn follow(&self, mut session: PullSession<'_, D>) -> Option<Trouble> {
        let trouble = tokio::select! {
            trouble = session.take_in() => Some(trouble),
            () = self.leave.cancelled() => None,
            // The consumer is the same for all lanes, so one of them asks. It does so beside the taking: messages must
            // not wait for the answer.
            () = self.watch_lag(), if self.feed.lane == self.feed.route.first_lane() => None,
        };
        if trouble.is_none() {
            session.take_asked().await;
            session.end().await;
        }
        // The runtime's budget must not end it early: what is not taken here comes again only after `ack_wait`.
        unconstrained(async { session.take_rest() }).await;
        trouble
    }

    fn announce(&self, differences: &[String]) {
        let Feed { route, jetstream, lane, .. } = &self.feed;
        let (route, stream, consumer) =
            (route.name().as_str(), jetstream.stream.as_str(), jetstream.consumer.as_str());
        match self.feed.status.went_live() {
            SourceState::Live => return,
            SourceState::Starting(_) if self.feed.route.went_live() => {
                info!(route, stream, consumer, "route is live");
            }
            SourceState::Starting(_) => debug!(route, lane, stream, consumer, "pulling"),
            SourceState::Failing(after) => {
                info!(route, lane, stream, consumer, after, "route is live again");
            }
        }
        for difference in differences {
            warn!(route, lane, consumer, difference, "the consumer is not as it should be");
        }
    }

    fn report(&self, trouble: &Trouble) {
        let Feed { route, jetstream, lane, status, .. } = &self.feed;
        if status.failed_by(trouble) {
            let (route, stream) = (route.name().as_str(), jetstream.stream.as_str());
            warn!(route, lane, stream, error = %trouble, "stream in trouble, trying again");
        }
    }

    /// Asks the consumer again and again how far behind it is.
    async fn watch_lag(&self) {
        loop {
            sleep(LAG).await;
            if let Ok(facts) = consumer::facts_now(&self.common.context, &self.feed.jetstream).await {
                self.show_lag(facts);
            }
        }
    }

    /// Shows in the metrics how far behind the consumer is, and says so in the log when it is at its own limit.
    fn show_lag(&self, facts: Facts) {
        if self.feed.lane != self.feed.route.first_lane() {
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
                "the consumer delivers no more: as many messages as it allows are in hand, over all replicas"
            );
        }
    }
}
