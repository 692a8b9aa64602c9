//! What a durable route is pulled with: what is its own, and what all durable routes of the lane share.

use std::{rc::Rc, sync::Arc};

use async_nats::jetstream;

use crate::{
    base::clock::Clock,
    config::Jetstream,
    message::ack_queue::AckQueue,
    nats::{NatsConnection, SharedBarrier},
    route::{pipeline::Pipeline, shared::Route, source_status::SourceStatus},
    stats::RouteStats,
};

/// A durable route as its source sees it.
pub(super) struct Feed<D> {
    pub(super) route: Arc<Route>,
    pub(super) jetstream: Jetstream,
    pub(super) pipeline: Rc<Pipeline<D>>,
    pub(super) stats: Arc<RouteStats>,
    pub(super) status: Arc<SourceStatus>,
    /// Which lane this is. The first one of the route asks how far behind the consumer is, for all.
    pub(super) lane: usize,
}

/// What the durable routes of a lane share. Clones share it too.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) connection: Rc<NatsConnection>,
    pub(super) barrier: Rc<SharedBarrier>,
    pub(super) context: jetstream::Context,
    pub(super) acks: AckQueue,
    pub(super) clock: Clock,
}
