//! What a lane shows to other threads. The lane writes it and waits for nobody.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::{runtime::RuntimeMetrics, sync::watch};

use super::heartbeat::Heartbeat;
use crate::{nats::ConnectionState, stats::Counter};

/// The state of a lane, for health, metrics, and whoever changes the routes.
#[derive(Debug)]
pub struct LaneStatus {
    connection: Mutex<Option<Arc<ConnectionState>>>,
    /// Reconnects of connections that the lane has replaced by others since.
    reconnects: Counter,
    /// The generation of the list of routes that runs here; the highest number once the lane has ended.
    generation: watch::Sender<u64>,
    /// What tokio says about the lane's runtime, once it runs.
    pub runtime: OnceLock<RuntimeMetrics>,
    /// When the lane was last seen to move.
    pub heartbeat: Heartbeat,
    /// Messages that the NATS client dropped, because the lane was too slow.
    pub slow_consumer: Arc<Counter>,
}

impl Default for LaneStatus {
    fn default() -> Self {
        Self {
            connection: Mutex::default(),
            reconnects: Counter::default(),
            generation: watch::Sender::new(0),
            runtime: OnceLock::new(),
            heartbeat: Heartbeat::default(),
            slow_consumer: Arc::default(),
        }
    }
}

impl LaneStatus {
    /// What is known of the connection, once there is one in the making.
    pub fn connection(&self) -> Option<Arc<ConnectionState>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// How often the lane has lost its connection and made it again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.get() + self.connection().map_or(0, |connection| connection.reconnects())
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

    pub(super) fn switch_to(&self, connection: Arc<ConnectionState>) {
        let former = self.connection.lock().unwrap_or_else(PoisonError::into_inner).replace(connection);
        if let Some(former) = former {
            self.reconnects.add(former.reconnects());
        }
    }

    pub(super) fn end(&self) {
        self.heartbeat.end();
        self.apply(u64::MAX);
    }
}
