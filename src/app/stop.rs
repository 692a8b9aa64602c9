//! Stopping: one place, one order.

use std::{rc::Rc, sync::Arc};

use tokio::time::Instant;
use tracing::{error, info};

use super::{AppError, apply::Applier, lanes::Lanes};
use crate::{
    control::{health::Health, letters::Letters, systemd},
    handover::HandOver,
    message::outcome::Outcome,
    otlp::Exporter,
    route::registry::Registry,
    stats::Tally,
};

/// What has to come to an end.
pub(super) struct Running {
    pub(super) health: Arc<Health>,
    pub(super) hand_over: Option<HandOver>,
    pub(super) letters: Rc<Letters>,
    pub(super) registry: Arc<Registry>,
    pub(super) lanes: Lanes,
    pub(super) applier: Applier,
    pub(super) exporter: Option<Exporter>,
}

impl Running {
    /// Ends all of it, and returns what became of all messages.
    pub(super) async fn stop(self) -> Result<Tally, AppError> {
        let Self { health, hand_over, letters, registry, lanes, applier, exporter } = self;
        // Unready first, so that nobody counts on this replica any more. The service manager has to hear of the stop
        // before its own patience ends. Nothing is taken over from other replicas any more before a lane offers them
        // anything, so that nothing comes back.
        health.drain();
        let grace = applier.grace();
        systemd::stopping(grace).await;
        // A replay begins nothing more, and ends beside the lanes.
        letters.stop();
        let deadline = Instant::now() + grace;
        if let Some(hand_over) = hand_over {
            hand_over.leave().await;
        }
        registry.close(grace);
        let result = lanes.join().await;
        letters.ended(deadline).await;
        // The lanes have sent all of their dead letters: what is still queued is the last of them.
        applier.finish().await;
        // So are the spans of those.
        if let Some(exporter) = exporter {
            exporter.finish().await;
        }
        let tally = registry.tally();
        report(tally);
        result.map(|()| tally)
    }
}

/// Logs the tally: the last line of the log.
fn report(tally: Tally) {
    let in_hand = tally.in_hand();
    info!(
        received = tally.received,
        delivered = tally.of(Outcome::Delivered),
        dead_lettered = tally.of(Outcome::DeadLettered),
        dropped = tally.of(Outcome::Dropped),
        handed_over = tally.of(Outcome::HandedOver),
        returned = tally.of(Outcome::Returned),
        filtered = tally.of(Outcome::Filtered),
        in_hand,
        "stopped"
    );
    if in_hand != 0 {
        error!(in_hand, "the tally does not add up: please report this as a bug");
    }
}
