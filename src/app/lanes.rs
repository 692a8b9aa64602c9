//! The threads of the lanes: how many there are, how they are started and waited for.

use std::{num::NonZeroUsize, sync::Arc, thread};

use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::{
    base::clock::Clock,
    config::{Nats, Threads},
    handover::LaneReceiver,
    lane::{self, LaneError, LaneStatus, Plan},
    route::registry::Registry,
};

/// More lanes than this are only started when asked for. Each has its own connection to NATS, and a pod without a CPU
/// limit sees all cores of its node.
const MOST_AUTOMATIC_LANES: usize = 4;

/// How many lanes a process has: as many as it can use, up to four, where that is not told. A route that has too little to
/// divide among all of them runs on some.
pub fn lane_count(threads: Threads) -> NonZeroUsize {
    match threads {
        Threads::Fixed(lanes) => lanes,
        Threads::Auto => {
            let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
            NonZeroUsize::new(cores.min(MOST_AUTOMATIC_LANES)).unwrap_or(NonZeroUsize::MIN)
        }
    }
}

/// The lanes at work.
pub(super) struct Lanes {
    threads: Vec<thread::JoinHandle<Result<(), LaneError>>>,
    /// Cancelled when the first lane has ended.
    ended: CancellationToken,
}

impl Lanes {
    /// Starts a lane for each of `statuses`, which follow the list of `registry`.
    pub(super) fn start(
        nats: &Nats,
        registry: &Registry,
        statuses: Vec<Arc<LaneStatus>>,
        offers: Vec<LaneReceiver>,
        clock: Clock,
    ) -> Result<Self, AppError> {
        let ended = CancellationToken::new();
        let mut threads = Vec::with_capacity(statuses.len());
        let mut offers = offers.into_iter();
        for (number, status) in statuses.into_iter().enumerate() {
            let (nats, routes, offers) = (nats.clone(), registry.subscribe(), offers.next());
            let plan = Plan { number, nats, routes, status, offers, clock };
            threads.push(lane::spawn(plan, ended.clone()).map_err(AppError::Thread)?);
        }
        Ok(Self { threads, ended })
    }

    /// Returns when the first lane has ended, which none should before a stop.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Waits until all lanes have ended.
    pub(super) async fn join(self) -> Result<(), AppError> {
        let mut result = Ok(());
        for thread in self.threads {
            // Joining blocks, and this thread serves health and metrics meanwhile.
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            let ended = match ended {
                Ok(Ok(ended)) => ended.map_err(AppError::from),
                Ok(Err(_panic)) => Err(AppError::Panic),
                Err(_aborted) => Err(AppError::Panic),
            };
            result = result.and(ended);
        }
        result
    }
}
