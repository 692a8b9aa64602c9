//! What a lane has to do for what should run to be what runs. It only compares: no I/O, and nothing is started here.

use std::sync::Arc;

use crate::{
    config::RouteName,
    route::{registry::Routes, shared::Route, source_status::SourceStatus},
};

/// The differences on one lane.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Routes to be started, each with what it says of its source on this lane. Where one of the same name runs, it is to
    /// be replaced.
    pub(super) start: Vec<(Arc<Route>, Arc<SourceStatus>)>,
    /// Routes to be stopped.
    pub(super) stop: Vec<RouteName>,
}

/// Compares what is `running` on the lane of this number, sorted by name, with what is `wanted`. A route whose settings are
/// the same is the same object in both, and is not touched.
pub(super) fn steps<'r>(
    running: impl IntoIterator<Item = (&'r RouteName, &'r Arc<Route>)>,
    wanted: &Routes,
    lane: usize,
) -> Steps {
    let mut running = running.into_iter().peekable();
    let mut steps = Steps::default();
    // Side by side: each change of one route has ten thousand of them compared.
    for route in wanted.iter() {
        while let Some((gone, _)) = running.next_if(|(name, _)| *name < route.name()) {
            steps.stop.push(gone.clone());
        }
        let former = running.next_if(|(name, _)| *name == route.name()).map(|(_, former)| former);
        match (route.source(lane), former) {
            (Some(_), Some(former)) if Arc::ptr_eq(former, route) => {}
            (Some(source), _) => steps.start.push((Arc::clone(route), Arc::clone(source))),
            (None, Some(_)) => steps.stop.push(route.name().clone()),
            (None, None) => {}
        }
    }
    steps.stop.extend(running.map(|(gone, _)| gone.clone()));
    steps
}
