//! What a durable route is pulled with: what is its own, and what all durable routes of the lane share.

use std::{rc::Rc, sync::Arc};

use super::answers::Answers;
use crate::{
    base::clock::Clock,
    config::Jetstream,
    nats::Connection,
    route::{shared::Route, source_status::SourceStatus},
    stats::RouteStats,
};

/// A durable route as its source sees it.
pub(super) struct Feed {
    pub(super) route: Arc<Route>,
    pub(super) jetstream: Jetstream,
    pub(super) stats: Arc<RouteStats>,
    pub(super) status: Arc<SourceStatus>,
    /// Which lane this is. The first one of the route asks how far behind the consumer is, for all.
    pub(super) lane: usize,
}

impl Feed {
    pub(super) fn is_first(&self) -> bool {
        self.lane == self.route.first_lane()
    }
}

/// What the durable routes of a lane share. Clones share it too.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) connection: Connection,
    pub(super) answers: Rc<Answers>,
    /// Whether replicas tell each other how often messages were attempted.
    pub(super) shares_attempts: bool,
    pub(super) clock: Clock,
}
