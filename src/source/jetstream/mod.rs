//! The durable source: routes that take their messages from a stream, and tell it what became of each.
//!
//! A lane has one connection for all of its durable routes. Each route is pulled by a `Puller` of its own, and has its
//! messages in hand kept alive by heartbeats; one task of the lane tells the streams what became of the messages.

mod consumer;
mod credit;
mod feed;
mod heartbeats;
mod prefetch;
mod puller;
mod session;
mod trouble;

use std::{rc::Rc, sync::Arc, time::Duration};

use async_nats::jetstream;
use tokio::{
    task::spawn_local,
    time::{interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use self::{
    feed::{Common, Feed},
    heartbeats::Heartbeats,
    puller::Puller,
};
use crate::{
    base::clock::Clock,
    config::Jetstream,
    deliver::Deliver,
    message::ack_queue::AckQueue,
    nats::{NatsConnection, SetUpError, SharedBarrier},
    route::{pipeline::Pipeline, shared::Route, source_status::SourceStatus},
};

/// How long JetStream may take to answer. While a leader is chosen it does not answer at all, so that asking again soon is
/// better than waiting.
const ANSWER: Duration = Duration::from_secs(1);
/// How long to wait before an ack is published again that the client did not take.
const FAILED: Duration = Duration::from_millis(100);
/// How long the last acks may take to reach the server.
const LAST_ACKS: Duration = Duration::from_secs(3);

/// The connection of a lane for its durable routes. The core routes have another one: what is read there and not taken
/// counts as lost, which holds only where nothing but their messages is read.
pub struct Streams {
    common: Common,
    /// Ends the tasks that all routes share.
    close: CancellationToken,
    tasks: TaskTracker,
}

/// A durable route that is being pulled.
pub struct Pulling {
    leave: CancellationToken,
    puller: TaskTracker,
}

impl Pulling {
    /// Asks for no more, and takes what the server has sent before it heard of that. Then nothing comes any more.
    pub async fn leave(&self) {
        self.leave.cancel();
        self.puller.wait().await;
    }
}

impl Streams {
    /// Over `connection`, which may not be connected yet. `acks` is where the pipelines say what became of the messages.
    pub async fn over(connection: NatsConnection, acks: AckQueue, clock: Clock) -> Result<Self, SetUpError> {
        let barrier = Rc::new(SharedBarrier::over(&connection).await?);
        let mut context = jetstream::new(connection.client().clone());
        context.set_timeout(ANSWER);
        let connection = Rc::new(connection);
        let (close, tasks) = (CancellationToken::new(), TaskTracker::new());
        let common = Common { connection, barrier, context, acks, clock };
        drop(spawn_local(tasks.track_future(publish_acks(common.clone(), close.clone()))));
        drop(spawn_local(tasks.track_future(move_away(Rc::clone(&common.connection), close.clone()))));
        Ok(Self { common, close, tasks })
    }

    /// Begins to pull for `route`, which takes its messages as `jetstream` says, into `pipeline`.
    pub fn pull<D: Deliver + 'static>(
        &self,
        route: &Arc<Route>,
        jetstream: &Jetstream,
        pipeline: Rc<Pipeline<D>>,
        status: Arc<SourceStatus>,
        lane: usize,
    ) -> Pulling {
        let (leave, puller) = (CancellationToken::new(), TaskTracker::new());
        let heartbeats = Heartbeats::new(jetstream.ack_wait);
        let stats = Arc::clone(&route.stats[lane]);
        let (route, jetstream) = (Arc::clone(route), jetstream.clone());
        let pull = Puller {
            feed: Feed { route, jetstream, pipeline, stats, status, lane },
            common: self.common.clone(),
            heartbeats: heartbeats.clone(),
            leave: leave.clone(),
        };
        drop(spawn_local(puller.track_future(pull.run())));
        puller.close();
        let beat = beat(heartbeats, self.common.clone(), puller.clone(), self.close.clone());
        drop(spawn_local(self.tasks.track_future(beat)));
        Pulling { leave, puller }
    }

    /// Brings what is known of the connection up to date.
    pub fn refresh(&self) {
        self.common.connection.refresh();
    }

    /// Ends the work when nothing is in hand any more, and sees to it that the last acks reach the server.
    pub async fn close(&self) {
        self.close.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let Common { connection, barrier, acks, .. } = &self.common;
        let told = timeout(LAST_ACKS, async {
            while let Some(ack) = acks.try_next() {
                if connection.client().publish(ack.subject, ack.payload).await.is_err() {
                    return false;
                }
            }
            // The server handles what comes over one connection in order: it has the acks when it answers.
            barrier.pass(LAST_ACKS).await.is_ok()
        });
        if !matches!(told.await, Ok(true)) {
            warn!("NATS does not confirm the last acknowledgements: some messages may be delivered again");
        }
        // Only now: the client drains without what it has not written yet, which would be the last acks.
        drop(connection.client().drain().await);
    }
}

/// Publishes the acks, one after the other. While NATS is away, this task waits at the client's full queue, and no
/// delivery has to.
async fn publish_acks(common: Common, close: CancellationToken) {
    let Common { connection, acks, .. } = common;
    loop {
        let ack = tokio::select! {
            () = close.cancelled() => return,
            ack = acks.next() => ack,
        };
        let again = ack.clone();
        let said = tokio::select! {
            // An ack that the client takes at once is published, also when this is about to end.
            biased;
            said = connection.client().publish(ack.subject, ack.payload) => said.is_ok(),
            () = close.cancelled() => false,
        };
        if !said {
            acks.push(again);
            if close.is_cancelled() {
                return;
            }
            // A client that fails at once would take all of the lane's time.
            sleep(FAILED).await;
        }
    }
}

/// Keeps the messages of a route alive that are in hand. When the `puller` has ended, which brings messages to the last, it
/// goes on until none is in hand, for those that a successor has taken over.
async fn beat(heartbeats: Heartbeats, common: Common, puller: TaskTracker, close: CancellationToken) {
    let mut pace = interval(heartbeats.pace());
    while !(puller.is_empty() && heartbeats.is_idle()) {
        tokio::select! {
            () = close.cancelled() => return,
            () = puller.wait(), if !puller.is_empty() => continue,
            _ = pace.tick() => {}
        }
        if pace.period() != heartbeats.pace() {
            pace = interval(heartbeats.pace());
        }
        let due = heartbeats.due(common.clock.now());
        // Without a connection they would come too late, and pile up.
        if common.connection.is_connected() {
            due.into_iter().for_each(|ack| common.acks.push(ack));
        }
    }
}

/// Goes to another server when this one is about to stop. Requests and acks are made again there.
async fn move_away(connection: Rc<NatsConnection>, close: CancellationToken) {
    loop {
        tokio::select! {
            () = close.cancelled() => return,
            () = connection.state().lame_duck() => {}
        }
        if let Err(error) = connection.client().force_reconnect().await {
            warn!(%error, "cannot move to another NATS server");
        }
    }
}
