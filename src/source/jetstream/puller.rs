//! Pulls one durable route on one lane: finds the consumer, opens a session, and begins anew when something is wrong.

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::{
    consumer::Finding,
    feed::Feed,
    observer::Observer,
    rest::Rest,
    session::{PullSession, SILENCE},
    trouble::Trouble,
};
use crate::{
    base::backoff::{Backoff, Jitter},
    deliver::Deliver,
    route::{pipeline::Pipeline, source_status::SourceState},
};

pub(super) struct Puller<D> {
    pub(super) observer: Rc<Observer>,
    /// Where messages go.
    pub(super) pipeline: Rc<Pipeline<D>>,
    /// Whether it is to take nothing meanwhile.
    pub(super) rest: Rest,
}

impl<D: Deliver + 'static> Puller<D> {
    pub(super) async fn run(self) {
        let Observer { feed, acks, .. } = &*self.observer;
        let heard = feed.is_first().then(|| acks.listen(feed.route.ledgers()));
        self.pull().await;
        if heard.is_some() {
            acks.pass_on(feed.route.ledgers());
        }
    }

    /// Takes messages until `leave`.
    async fn pull(&self) {
        // The waits are short: JetStream does not answer while a leader is chosen, which takes a second or two, and is
        // asked again soon.
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 2.0, Jitter::Full);
        let mut failures = 0;
        while !self.observer.leave.is_cancelled() {
            if self.rest.is_wanted() {
                self.rest.rest(&self.observer).await;
                continue;
            }
            let began = Instant::now();
            let opened = tokio::select! {
                () = self.observer.leave.cancelled() => return,
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
                () = self.observer.leave.cancelled() => return,
                () = self.rest.wanted() => {}
                () = self.wait_out(&trouble, backoff.delay(failures)) => {}
            }
        }
    }

    /// Waits until it is worth trying again.
    async fn wait_out(&self, trouble: &Trouble, delay: Duration) {
        if matches!(trouble, Trouble::Acks(_)) {
            self.observer.acks.untroubled().await;
        }
        sleep(delay).await;
    }

    /// Finds the consumer and asks it for the first messages.
    async fn open(&self) -> Result<PullSession<'_, D>, Trouble> {
        let observer = &*self.observer;
        let connection = &observer.common.connection;
        while !connection.is_connected() {
            observer.feed.status.failed_by(&Trouble::Disconnected);
            drop(timeout(Duration::from_secs(1), connection.state().connected()).await);
        }
        let found = observer.find().await?;
        let findings = observer.judge(&found)?;
        let facts = observer.take_note(&found);
        observer.acks.verified();
        observer.acks.heard().await?;
        let session = PullSession::open(observer, &self.pipeline, facts.request)?;
        session.heard().await?;
        self.announce(&findings);
        observer.show_lag(&facts);
        Ok(session)
    }

    /// Takes messages until something is wrong, or until `leave`, or until it is to rest.
    async fn follow(&self, mut session: PullSession<'_, D>) -> Option<Trouble> {
        let trouble = tokio::select! {
            trouble = session.take_in() => Some(trouble),
            () = self.observer.leave.cancelled() => None,
            () = self.rest.wanted() => None,
            // The consumer is the same for all lanes, so one of them asks. It does so beside the taking: messages must
            // not wait for the answer.
            trouble = self.observer.watch(), if self.observer.feed.is_first() => Some(trouble),
        };
        match &trouble {
            None => session.leave().await,
            Some(Trouble::Disconnected) => self.observer.acks.unverified(),
            Some(trouble) => {
                if !matches!(trouble, Trouble::Acks(_)) {
                    // It may be another stream that has the name by now.
                    self.observer.acks.unverified();
                }
                session.end().await;
            }
        }
        trouble
    }

    fn announce(&self, findings: &[Finding]) {
        let Feed { route, jetstream, lane, .. } = &self.observer.feed;
        let (route, stream, consumer) =
            (route.name().as_str(), jetstream.stream.as_str(), jetstream.consumer.as_str());
        match self.observer.feed.status.went_live() {
            SourceState::Live | SourceState::Drained => return,
            SourceState::Starting(_) if self.observer.feed.route.went_live() => {
                info!(route, stream, consumer, "route is live");
            }
            SourceState::Starting(_) => debug!(route, lane, stream, consumer, "pulling"),
            SourceState::Failing(after) => {
                info!(route, lane, stream, consumer, after, "route is live again");
            }
        }
        if self.observer.feed.is_first() {
            self.observer.warn_of(findings);
        }
    }

    fn report(&self, trouble: &Trouble) {
        let Feed { route, jetstream, lane, status, .. } = &self.observer.feed;
        if status.failed_by(trouble) {
            let (route, stream) = (route.name().as_str(), jetstream.stream.as_str());
            warn!(route, lane, stream, error = %trouble, "stream in trouble, trying again");
        }
    }
}
