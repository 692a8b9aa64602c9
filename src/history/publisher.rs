//! Publishes what came of attempts, over the connection of the process: many at a time, in one write.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local, yield_now},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Feed, feed::Counts, record::Record};
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
}

impl Publisher {
    /// Publishes by these `settings` from now on, over `connection`, as `replica`; and where records are given to it. Needs
    /// a runtime that takes local tasks.
    pub fn start(settings: &History, connection: Connection, replica: String, clock: Clock) -> (Self, Feed) {
        let (feed, queue) = Feed::keeping(settings);
        let stop = CancellationToken::new();
        let task = Task {
            queue,
            stop: stop.clone(),
            connection: connection.clone(),
            subject: settings.subject.clone(),
            replica,
            counts: feed.counts(),
            complaints: Throttle::new(1, Duration::from_secs(60)),
            clock,
        };
        info!(subject = settings.subject.as_str(), "what comes of attempts is published");
        (Self { connection, task: spawn_local(task.run()), stop }, feed)
    }

    /// Publishes what is left, as far as there is time for it.
    pub async fn finish(mut self) {
        self.stop.cancel();
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
    complaints: Throttle,
    clock: Clock,
}

impl Task {
    /// Returns after a stop, when nothing is left.
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = self.queue.recv_many(&mut batch, BATCH) => {}
                () = self.stop.cancelled() => return,
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
        let published = if self.connection.backlog() > BACKLOG {
            Err(PublishError::Full)
        } else {
            self.connection.publish(Outgoing::new(self.subject.as_str(), &line))
        };
        match published {
            Ok(()) => self.counts.add_published(1),
            Err(error) => {
                self.counts.add_dropped(1);
                if self.complaints.pass(self.clock.now()).is_some() {
                    warn!(%error, "attempts are left out of the history");
                }
            }
        }
    }
}
