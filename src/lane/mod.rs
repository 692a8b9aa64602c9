//! A lane: one thread with a runtime, a connection to NATS, and a pipeline for each route. Lanes share nothing on the way of
//! a message. NATS balances between lanes exactly as it does between replicas.

mod answers;
mod drain;
pub mod heartbeat;
mod intake;
mod mailbox;
mod reconcile;
mod run;
mod status;

use std::{io, sync::Arc, thread};

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

pub use self::{
    mailbox::{Asked, Found},
    run::run,
    status::LaneStatus,
};
use crate::{
    base::{clock::Clock, error_chain::ErrorChain, runtime},
    config::Nats,
    handover::LaneReceiver,
    route::registry::Routes,
};

/// What a lane needs from the rest of the process. It moves to the lane's thread.
pub struct Plan {
    /// Which lane this is, from 0.
    pub number: usize,
    /// `[nats]`: where the servers are, and how to log in.
    pub nats: Nats,
    /// What should run. The last list ends the lane.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// What the lane shows to other threads.
    pub status: Arc<LaneStatus>,
    /// What other replicas offer; none where nothing is handed over.
    pub offers: Option<LaneReceiver>,
    /// The clock of the process.
    pub clock: Clock,
}

/// A lane could not begin to work, or can't go on.
#[derive(Debug, Error)]
pub enum LaneError {
    /// The system refuses what a runtime needs.
    #[error("cannot start the runtime of a lane")]
    Runtime(#[from] io::Error),
}

/// Runs a lane on a thread of its own. `ended` is cancelled when it is over, however it came to that.
pub fn spawn(plan: Plan, ended: CancellationToken) -> io::Result<thread::JoinHandle<Result<(), LaneError>>> {
    let (number, status) = (plan.number, Arc::clone(&plan.status));
    thread::Builder::new().name(format!("lane-{number}")).spawn(move || {
        let _ended = ended.drop_guard();
        let runtime = runtime::local().map_err(LaneError::from);
        let done = runtime.map(|runtime| {
            runtime.block_on(run(plan));
            // The name of a NATS server may still be looked up, and nothing can stop that: nobody waits for it.
            runtime.shutdown_background();
        });
        status.end();
        if let Err(error) = &done {
            error!(lane = number, error = %ErrorChain(error), "lane failed");
        }
        done
    })
}
