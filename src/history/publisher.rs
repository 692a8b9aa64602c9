//! Publishes what came of attempts, over the connection of the process: many at a time, in one write.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local, yield_now},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Feed, Keeping, confirmations::Confirmations, feed::Counts, keeper::see_to, record::Record};
use crate::{
    base::{clock::Clock, throttle::Throttle},
    config::{History, PublishSubject},
    nats::{Connection, Outgoing, PublishError},
};

/// How many are published at a time.
const BATCH: usize = 512;
/// So many bytes may wait to be written; what dead letters and hand-over need is more than this.
const BACKLOG: usize = 4 << 20;
/// How long a stop waits for the last ones.
const FLUSH: Duration = Duration::from_secs(1);

/// The task that publishes, for as long as the process runs.
pub struct Publisher {
    connection: Connection,
    task: JoinHandle<()>,
    stop: CancellationToken,
    keeper: Option<Keeper>,
}

/// The stream that keeps what is published.
struct Keeper {
    keeping: Arc<Keeping>,
    /// Sees that it is there.
    overseer: JoinHandle<()>,
}

impl Publisher {
    /// Publishes by these `settings` from now on, over `connection`, as `replica`; and where records are given to it. Needs
    /// a runtime that takes local tasks.
    pub fn start(settings: &History, connection: Connection, replica: String, clock: Clock) -> (Self, Feed) {
        let (feed, queue) = Feed::keeping(settings);
        let stop = CancellationToken::new();
        let stream = settings.keeper.as_ref().map(|stream| {
            let keeping = Arc::<Keeping>::default();
            let (subject, counts) = (settings.subject.clone(), feed.counts());
            let confirmations = Confirmations::of(stream.clone(), &connection, counts, Arc::clone(&keeping));
            let overseer = see_to(stream.clone(), subject, connection.clone(), Arc::clone(&keeping));
            (Keeper { keeping, overseer: spawn_local(overseer) }, confirmations)
        });
        let (keeper, confirmations) = stream.unzip();
        let task = Task {
            queue,
            stop: stop.clone(),
            connection: connection.clone(),
            subject: settings.subject.clone(),
            replica,
            counts: feed.counts(),
            confirmations,
            complaints: Throttle::new(1, Duration::from_secs(60)),
            clock,
        };
        let stream = settings.keeper.as_ref().map(|stream| stream.name.as_str());
        info!(subject = settings.subject.as_str(), stream, "what comes of attempts is published");
        (Self { connection, task: spawn_local(task.run()), stop, keeper }, feed)
    }

    /// Whether the stream keeps it; none where there is none.
    pub fn keeping(&self) -> Option<&Arc<Keeping>> {
        self.keeper.as_ref().map(|keeper| &keeper.keeping)
    }

    /// Publishes what is left, as far as there is time for it.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if let Some(keeper) = &self.keeper {
            keeper.overseer.abort();
        }
        if timeout(FLUSH, &mut self.task).await.is_err() {
            self.task.abort();
        }
        // Written is not sent yet.
        drop(self.connection.round_trip(FLUSH).await);
    }
}

struct Task {
    queue: mpsc::Receiver<Record>,
    stop: CancellationToken,
    connection: Connection,
    subject: PublishSubject,
    replica: String,
    counts: Arc<Counts>,
    /// What a stream has to confirm, where one keeps it.
    confirmations: Option<Confirmations>,
    complaints: Throttle,
    clock: Clock,
}

impl Task {
    /// Returns after a stop, when nothing is left.
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let room = self.confirmations.as_ref().map_or(BATCH, Confirmations::room).min(BATCH);
            let is_done = self.confirmations.as_ref().is_none_or(Confirmations::is_empty);
            tokio::select! {
                biased;
                () = confirmed(&mut self.confirmations) => continue,
                _ = self.queue.recv_many(&mut batch, room), if room > 0 => {}
                () = self.stop.cancelled(), if is_done => return,
            }
            for record in batch.drain(..) {
                self.publish(&record);
            }
            // What was published is written now, and others have their turn.
            yield_now().await;
        }
    }

    fn publish(&mut self, record: &Record) {
        let line = serde_json::to_vec(&record.line(self.clock, &self.replica)).unwrap_or_default();
        let Self { connection, subject, confirmations, .. } = self;
        let published = if connection.backlog() > BACKLOG {
            Err(PublishError::Full)
        } else if let Some(confirmations) = confirmations {
            confirmations.publish(connection, subject, &line)
        } else {
            connection.publish(Outgoing::new(subject.as_str(), &line))
        };
        match published {
            // Else it is counted when the stream has it.
            Ok(()) if self.confirmations.is_none() => self.counts.add_published(1),
            Ok(()) => {}
            Err(error) => {
                self.counts.add_dropped(1);
                if self.complaints.pass(self.clock.now()).is_some() {
                    warn!(%error, "attempts are left out of the history");
                }
            }
        }
    }
}

/// Returns when the stream has said something of what was published, where there is one.
async fn confirmed(confirmations: &mut Option<Confirmations>) {
    match confirmations {
        Some(confirmations) => confirmations.hear().await,
        None => std::future::pending().await,
    }
}
