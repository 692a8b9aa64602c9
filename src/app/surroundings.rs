//! What the machine gives the process, and whether that is enough.

use std::fs;

use tracing::warn;

use crate::{base::descriptors, config::Route};

/// How many descriptors a lane has for itself: its runtime, and its connections to NATS.
const OF_A_LANE: u64 = 8;
/// How many the rest of the process has, but for whoever asks for health or metrics.
const OF_THE_REST: u64 = 16;

/// Takes as many descriptors as the system allows.
pub(super) fn settle_in() {
    if let Err(error) = descriptors::raise_limit() {
        warn!(%error, "cannot raise the limit of open files");
    }
}

/// The name of this machine, or of this pod.
pub(super) fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

/// Warns where there may not be enough descriptors for all connections that `routes` may have on this many lanes.
pub(super) fn warn_of_too_few_descriptors<'r>(routes: impl IntoIterator<Item = &'r Route>, lanes: usize) {
    let limit = descriptors::limit();
    let webhooks: u64 = routes.into_iter().map(|route| count(route.webhook.concurrency.most().get())).sum();
    let others = count(lanes).saturating_mul(OF_A_LANE).saturating_add(OF_THE_REST);
    if webhooks.saturating_add(others) > descriptors::free_of(limit) {
        warn!(
            limit,
            needed = webhooks.saturating_add(others).saturating_add(limit - descriptors::free_of(limit)),
            connections_to_webhooks = webhooks,
            "the limit of open files may be too low for all routes at once: raise it (LimitNOFILE=, ulimit -Hn), or \
             lower webhook.concurrency"
        );
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
