//! All dead-letter queues of the process at work, over one connection of their own: what the lanes count on theirs is
//! not disturbed by publishing.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{task::spawn_local, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{Destination, Publisher, Sender, queue};
use crate::{
    base::clock::Clock,
    config::Nats,
    nats::{Connections, NatsConnection, SetUpError},
};

/// How long NATS may take to confirm the last dead letters, after the grace.
const LAST_LETTERS: Duration = Duration::from_secs(5);

/// Publishes the dead letters of all routes. The connection is opened for the first route that keeps dead letters.
#[derive(Debug)]
pub struct Publishing {
    nats: Nats,
    connections: Arc<Connections>,
    connection: Option<Rc<NatsConnection>>,
    give_up: CancellationToken,
    queues: TaskTracker,
    clock: Clock,
}

impl Publishing {
    /// Publishes nothing yet. The connection will be one of `connections`.
    pub fn new(nats: &Nats, connections: Arc<Connections>, clock: Clock) -> Self {
        let (give_up, queues) = (CancellationToken::new(), TaskTracker::new());
        Self { nats: nats.clone(), connections, connection: None, give_up, queues, clock }
    }

    /// Opens a queue for letters that go to `destination`. It ends when its senders are gone and all is published. The
    /// error is that of the connection, where it can't be set up.
    pub async fn open(&mut self, destination: Destination) -> Result<Sender, SetUpError> {
        let connection = self.connection().await?;
        let publisher = Publisher::over(connection, destination, self.clock).await?;
        let (sender, queue) = queue(self.clock);
        let run = queue.run(publisher, self.give_up.clone());
        drop(spawn_local(self.queues.track_future(run)));
        Ok(sender)
    }

    async fn connection(&mut self) -> Result<Rc<NatsConnection>, SetUpError> {
        if let Some(connection) = &self.connection {
            return Ok(Rc::clone(connection));
        }
        let connection = Rc::new(NatsConnection::open(&self.nats, "dead letters", None).await?);
        self.connections.add(Arc::clone(connection.state()));
        Ok(Rc::clone(self.connection.insert(connection)))
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
