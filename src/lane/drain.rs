//! How routes leave a lane: nothing comes any more, what waits moves on or is delivered, and the rest comes to an end.

use std::{future::Future, pin::pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    task::spawn_local,
    time::{interval, sleep_until},
};

use super::{
    intake::Source,
    run::{Lane, Running},
};
use crate::{
    base::clock::Time,
    deliver::Client,
    route::{pipeline::Pipeline, shared::Route},
    source::{core, jetstream::Pulling},
};

/// How long the last dead letters may wait for room on their way to NATS, after the grace.
const LAST_LETTERS: Duration = Duration::from_secs(5);
/// How often to look whether a successor has room for more of what its predecessor holds.
const ROOM: Duration = Duration::from_millis(100);
/// How long the successors of subscriptions may take to be in place before those end.
const JOINING: Duration = Duration::from_secs(2);

/// A route that ends.
pub(super) struct Retired {
    pub(super) running: Running,
    /// Whether a route of the same name goes on.
    pub(super) is_replaced: bool,
}

impl Lane {
    /// Has `retired` pipelines get no more messages, and drained by `deadline`.
    pub(super) async fn retire(self: &Rc<Self>, retired: Vec<Retired>, deadline: Time) {
        let replaces = retired.iter().any(|retired| retired.is_replaced);
        let mut memberships = Vec::new();
        let mut draining = Vec::with_capacity(retired.len());
        for Retired { running: Running { route, pipeline, source }, is_replaced } in retired {
            if is_replaced {
                pipeline.retire();
            } else {
                pipeline.close(deadline);
            }
            let pulling = match source {
                Source::Core(membership) => {
                    memberships.push(membership);
                    None
                }
                Source::Stream(pulling) => Some(pulling),
                Source::None => None,
            };
            draining.push((route, pipeline, pulling));
        }
        if replaces && !memberships.is_empty() {
            // A message for which the server chose among the members just before the successors joined would find none.
            drop(self.connection.round_trip(JOINING).await);
        }
        core::leave(&self.connection, memberships).await;
        for (route, pipeline, pulling) in draining {
            let drain = Rc::clone(self).drain(route, pipeline, pulling, deadline);
            drop(spawn_local(self.draining.track_future(drain)));
        }
    }

    /// Sees `pipeline`, which has left its queue group, to its end. What waits goes to the pipeline that the
    /// route has now, where it has one; else it is delivered until `deadline`. What is left is handed over, and the rest of
    /// it given up.
    async fn drain(
        self: Rc<Self>,
        route: Arc<Route>,
        pipeline: Rc<Pipeline<Client>>,
        pulling: Option<Rc<Pulling>>,
        deadline: Time,
    ) {
        if let Some(pulling) = &pulling {
            self.moving_on(&route, &pipeline, pulling.leave()).await;
        }
        if pipeline.is_retired() {
            self.move_on(&route, &pipeline);
            self.until(deadline, pipeline.drained(deadline)).await;
            // What was under way meanwhile and is to be tried again.
            self.move_on(&route, &pipeline);
            if !pipeline.is_empty() {
                pipeline.close(deadline);
            }
        }
        self.until(deadline, self.moving_on(&route, &pipeline, pipeline.drained(deadline))).await;
        pipeline.abort().await;
        // Also what was broken off, and what waited for a route that was there again meanwhile.
        self.move_on(&route, &pipeline);
        if let Some(offerer) = &self.offerer {
            offerer.offer(&route.settings, &pipeline).await;
        }
        pipeline.give_up(self.clock.now() + LAST_LETTERS).await;
    }

    /// Waits until it is `done`. What waits in `pipeline` goes to the one that runs for the same route meanwhile, as soon as
    /// that has room.
    async fn moving_on(&self, route: &Route, pipeline: &Pipeline<Client>, done: impl Future<Output = ()>) {
        let (mut done, mut look) = (pin!(done), interval(ROOM));
        loop {
            tokio::select! {
                () = &mut done => return,
                _ = look.tick() => self.move_on(route, pipeline),
            }
        }
    }

    /// Gives what waits in `pipeline` to the one that runs for the same route. That need not be the one that replaced it:
    /// the route may have changed again since, and what came into a pipeline that is retired itself would stay there.
    fn move_on(&self, route: &Route, pipeline: &Pipeline<Client>) {
        if let Some(successor) = self.pipeline_of(route.name()) {
            pipeline.move_to(&successor);
        }
    }

    /// Returns when it is `done`, but by `deadline` at the latest, and by the end of the lane.
    async fn until(&self, deadline: Time, done: impl Future<Output = ()>) {
        tokio::select! {
            () = done => {}
            () = sleep_until(self.clock.instant(deadline)) => {}
            () = self.ended() => {}
        }
    }

    async fn ended(&self) {
        let mut end = self.end.subscribe();
        // The sender is here, so that this can't fail.
        let end = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        if let Some(end) = end {
            sleep_until(self.clock.instant(end)).await;
        }
    }
}
