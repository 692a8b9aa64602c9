//! The durable source: routes that take their messages from a stream, and tell it what became of each.
//!
//! Each route of a lane is pulled by a `Puller` of its own. What it has in hand is in a ledger, and `Acks` tells the
//! stream what becomes of it.

mod acks;
mod answers;
mod api;
mod attempts;
pub mod consumer;
mod credit;
mod feed;
mod observer;
mod prefetch;
mod puller;
mod rest;
mod session;
mod trouble;

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{task::spawn_local, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

pub use self::attempts::attempts_subject;
use self::{
    acks::Acks,
    answers::Answers,
    api::Api,
    feed::{Common, Feed},
    observer::Observer,
    puller::Puller,
    rest::Rest,
};
use crate::{
    base::clock::Clock,
    config::Jetstream,
    deliver::Deliver,
    nats::Connection,
    route::{pipeline::Pipeline, shared::Route, source_status::SourceStatus},
};

/// How long the streams may take at the end to confirm that they know of the end of all: those of dead letters come when
/// NATS has confirmed these.
const LAST_ACKS: Duration = Duration::from_secs(6);

/// The durable routes of a lane.
pub struct Streams {
    common: Common,
    /// Ends the tasks that tell streams what becomes of messages.
    close: CancellationToken,
    tasks: TaskTracker,
}

/// A durable route that is being pulled.
pub struct Pulling {
    leave: CancellationToken,
    rest: Rest,
    puller: TaskTracker,
}

impl Pulling {
    /// Asks for no more, and takes what the server has sent before it heard of that. Then nothing comes any more.
    pub async fn leave(&self) {
        self.leave.cancel();
        self.puller.wait().await;
    }

    /// Has it take messages, or none until it is told otherwise. What is in hand is acknowledged all the same.
    pub fn take(&self, takes: bool) {
        self.rest.take(takes);
    }

    /// Returns when nothing comes any more that was asked for before it was told to take none.
    pub async fn rests(&self) {
        self.rest.rests().await;
    }
}

impl Streams {
    /// Over `connection`, which may not be connected yet. `shares_attempts` says whether replicas tell each other how often
    /// messages were attempted.
    pub fn over(connection: &Connection, shares_attempts: bool, clock: Clock) -> Self {
        let answers = Rc::new(Answers::over(connection));
        let common = Common { connection: connection.clone(), answers, shares_attempts, clock };
        Self { common, close: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Begins to pull for `route`, which takes its messages as `jetstream` says, into `pipeline`: as soon as the lane gets to
    /// it, unless it is told to [take](Pulling::take) none before.
    pub fn pull<D: Deliver + 'static>(
        &self,
        route: &Arc<Route>,
        jetstream: &Jetstream,
        pipeline: Rc<Pipeline<D>>,
        status: Arc<SourceStatus>,
        lane: usize,
    ) -> Pulling {
        let (leave, puller) = (CancellationToken::new(), TaskTracker::new());
        let ledger = route.ledgers().open(jetstream.stream.as_str(), jetstream.ack_wait);
        let acks = Acks::new(ledger, self.common.clone(), jetstream);
        let stats = Arc::clone(&route.stats[lane]);
        let (route, jetstream) = (Arc::clone(route), jetstream.clone());
        let rest = Rest::default();
        let observer = Rc::new(Observer {
            api: Api::new(Rc::clone(&self.common.answers), &jetstream),
            feed: Feed { route, jetstream, stats, status, lane },
            common: self.common.clone(),
            acks,
            leave: leave.clone(),
        });
        let pull = Puller { observer: Rc::clone(&observer), pipeline, rest: rest.clone() };
        drop(spawn_local(puller.track_future(pull.run())));
        puller.close();
        drop(spawn_local(self.tasks.track_future(tell(observer, puller.clone(), self.close.clone()))));
        Pulling { leave, rest, puller }
    }

    /// Ends when the streams know of the end of all messages, or don't confirm that for too long.
    pub async fn close(&self) {
        self.tasks.close();
        if timeout(LAST_ACKS, self.tasks.wait()).await.is_err() {
            warn!("NATS does not confirm the last acknowledgements: some messages may be delivered again");
        }
        self.close.cancel();
        self.tasks.wait().await;
    }
}

/// Tells the stream what becomes of what the `puller` takes, to the last message, or until `close`.
async fn tell(observer: Rc<Observer>, puller: TaskTracker, close: CancellationToken) {
    let seen_off = async {
        puller.wait().await;
        observer.see_off().await;
    };
    tokio::select! {
        () = Rc::clone(&observer.acks).run(puller.clone(), close) => {}
        () = seen_off => {}
    }
}
