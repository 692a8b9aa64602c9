//! What a lane shows to other threads. The lane writes it and waits for nobody.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{runtime::RuntimeMetrics, sync::watch};

use super::{
    heartbeat::Heartbeat,
    mailbox::{Asked, Found, Mailbox},
};
use crate::nats::ConnectionState;

/// The state of a lane, for health, metrics, and whoever changes the routes.
#[derive(Debug)]
pub struct LaneStatus {
    connection: OnceLock<Arc<ConnectionState>>,
    /// The generation of the list of routes that runs here; the highest number once the lane has ended.
    generation: watch::Sender<u64>,
    /// What tokio says about the lane's runtime, once it runs.
    pub runtime: OnceLock<RuntimeMetrics>,
    /// When the lane was last seen to move.
    pub heartbeat: Heartbeat,
    pub(super) mailbox: Mailbox,
}

impl Default for LaneStatus {
    fn default() -> Self {
        Self {
            connection: OnceLock::new(),
            generation: watch::Sender::new(0),
            runtime: OnceLock::new(),
            heartbeat: Heartbeat::default(),
            mailbox: Mailbox::default(),
        }
    }
}

impl LaneStatus {
    /// What is known of the connection, once there is one in the making.
    pub fn connection(&self) -> Option<&Arc<ConnectionState>> {
        self.connection.get()
    }

    /// Whether the routes of this generation, or later ones, run here.
    pub fn has_applied(&self, generation: u64) -> bool {
        *self.generation.borrow() >= generation
    }

    /// Returns when the routes of this generation, or later ones, run here, or the lane has ended.
    pub async fn applied(&self, generation: u64) {
        let mut changes = self.generation.subscribe();
        // The sender is here, so that this can't fail.
        drop(changes.wait_for(|applied| *applied >= generation).await);
    }

    /// The messages in hand here that are `asked` for, the oldest first. None where the lane has not answered within
    /// `patience`: it is stuck, or has ended.
    pub async fn in_hand(&self, asked: Asked, patience: Duration) -> Option<Found> {
        self.mailbox.ask(asked, patience).await
    }

    /// Notes that the routes of this generation run here. A generation may be noted after a later one, since each waits
    /// for NATS by itself; it is no news then.
    pub(super) fn apply(&self, generation: u64) {
        self.generation.send_if_modified(|applied| {
            let is_newer = generation > *applied;
            *applied = generation.max(*applied);
            is_newer
        });
    }

    pub(super) fn connect(&self, connection: Arc<ConnectionState>) {
        // A lane has one connection, which it opens once.
        self.connection.get_or_init(|| connection);
    }

    pub(super) fn end(&self) {
        self.heartbeat.end();
        self.apply(u64::MAX);
    }
}
