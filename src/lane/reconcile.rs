//! What a lane has to do for what should run to be what runs. It only compares: no I/O, and nothing is started here.

use std::{collections::BTreeMap, sync::Arc};

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

/// Compares what is `running` on the lane of this number with what is `wanted`. A route whose settings are the same is
/// the same object in both, and is not touched.
pub(super) fn steps(running: &BTreeMap<RouteName, &Arc<Route>>, wanted: &Routes, lane: usize) -> Steps {
    let here = |route: &Arc<Route>| Some((Arc::clone(route), Arc::clone(route.source(lane)?)));
    let is_new =
        |route: &&Arc<Route>| running.get(route.name()).is_none_or(|running| !Arc::ptr_eq(running, route));
    let is_gone = |name: &&RouteName| wanted.get(name).and_then(here).is_none();
    Steps {
        start: wanted.iter().filter(is_new).filter_map(here).collect(),
        stop: running.keys().filter(is_gone).cloned().collect(),
    }
}
