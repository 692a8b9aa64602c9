//! What is told of the process: from all that shows something of itself.

use std::sync::Arc;

use tokio::{sync::watch, task::spawn_local};

use crate::{
    base::clock::Clock,
    control::{
        health::Health,
        reload::ReloadStatus,
        status::{Board, Events, Samples, StatusBoard},
    },
    lane::LaneStatus,
    nats::Connections,
    route::registry::Registry,
};

/// What shows something of itself.
pub(super) struct Seen<'s> {
    pub(super) registry: &'s Arc<Registry>,
    pub(super) lanes: &'s [Arc<LaneStatus>],
    pub(super) connections: &'s Arc<Connections>,
    pub(super) health: &'s Arc<Health>,
}

/// Begins to look at what is `seen`, and to tell whoever follows what that does.
pub(super) fn start(
    seen: Seen<'_>,
    reloads: watch::Receiver<ReloadStatus>,
    clock: Clock,
) -> (StatusBoard, Events) {
    let samples = Samples::default();
    drop(spawn_local(samples.clone().keep(Arc::clone(seen.registry), clock)));
    let board = StatusBoard::new(Board {
        registry: Arc::clone(seen.registry),
        lanes: seen.lanes.to_vec(),
        connections: Arc::clone(seen.connections),
        health: Arc::clone(seen.health),
        reloads,
        samples,
        clock,
    });
    let events = Events::of(board.clone());
    drop(spawn_local(events.clone().keep()));
    (board, events)
}
