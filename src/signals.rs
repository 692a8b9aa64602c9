//! SIGTERM and SIGINT: the first begins the stop, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// The signals that ask the process to stop.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals don't end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the first signal. A second one ends the process at once.
    pub async fn stop(mut self) {
        info!(signal = self.next().await, "stopping");
        drop(tokio::task::spawn_local(async move {
            warn!(
                signal = self.next().await,
                "stopping at once: what is in hand is lost"
            );
            std::process::exit(1);
        }));
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
