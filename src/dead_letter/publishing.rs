//! All dead-letter queues of the process at work, over the connection of the process: what the lanes count on theirs is
//! not disturbed by publishing.

use std::{rc::Rc, time::Duration};

use tokio::{task::spawn_local, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{Destination, Publisher, Sender, queue};
use crate::{base::clock::Clock, nats::OnDemand};

/// How long NATS may take to confirm the last dead letters, after the grace.
const LAST_LETTERS: Duration = Duration::from_secs(5);

/// Publishes the dead letters of all routes.
pub struct Publishing {
    connection: Rc<OnDemand>,
    give_up: CancellationToken,
    queues: TaskTracker,
    clock: Clock,
}

impl Publishing {
    /// Publishes nothing yet. The connection is opened for the first route that keeps dead letters.
    pub fn new(connection: Rc<OnDemand>, clock: Clock) -> Self {
        Self { connection, give_up: CancellationToken::new(), queues: TaskTracker::new(), clock }
    }

    /// Opens a queue for letters that go to `destination`. It ends when its senders are gone and all is published.
    pub fn open(&mut self, destination: Destination) -> Sender {
        let publisher = Publisher::over(self.connection.get(), destination, self.clock);
        let (sender, queue) = queue(self.clock);
        let run = queue.run(publisher, self.give_up.clone());
        drop(spawn_local(self.queues.track_future(run)));
        sender
    }

    /// Publishes what is waiting, as far as NATS takes it within five seconds. All senders have to be gone: the queues
    /// end only with them.
    pub async fn finish(self) {
        self.queues.close();
        if timeout(LAST_LETTERS, self.queues.wait()).await.is_err() {
            warn!("NATS does not confirm the last dead letters");
            self.give_up.cancel();
            self.queues.wait().await;
        }
    }
}
