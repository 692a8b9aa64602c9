//! Whether the routes of a lane take messages: each does, but for those that an operator has drained.

use std::{mem, rc::Rc, sync::Arc};

use tokio::task::spawn_local;
use tokio_util::task::TaskTracker;

use super::run::Lane;
use crate::{
    config,
    deliver::Client,
    route::{hold::Holds, pipeline::Pipeline, shared::Route, source_status::SourceStatus},
    source::{
        core::{self, Membership},
        jetstream::{Pulling, Streams},
    },
};

/// Where the messages of a route come from, on one lane.
pub(super) enum Source {
    Core(Membership<Client>),
    /// It goes on without taking any while the route is drained: what is in hand has to be acknowledged.
    Stream(Rc<Pulling>),
    /// The successor of the route has it, or the route is drained.
    None,
}

/// What takes no messages any more, as an operator has drained its routes.
#[derive(Default)]
pub(super) struct Drained {
    memberships: Vec<Membership<Client>>,
    pullings: Vec<Rc<Pulling>>,
    statuses: Vec<Arc<SourceStatus>>,
}

impl Lane {
    /// The source of `route`, whose messages go to `pipeline`, and which takes them or not yet.
    pub(super) fn source(
        &self,
        route: &Arc<Route>,
        pipeline: &Rc<Pipeline<Client>>,
        status: &Arc<SourceStatus>,
        takes: bool,
    ) -> Source {
        let (settings, status) = (&route.settings, Arc::clone(status));
        match &settings.jetstream {
            Some(jetstream) => {
                let pulling = self.streams().pull(route, jetstream, Rc::clone(pipeline), status, self.number);
                pulling.take(takes);
                Source::Stream(Rc::new(pulling))
            }
            // A former membership is left where it is: it ends with its route.
            None if !takes => Source::None,
            None => match self.membership_of(settings) {
                Some(membership) => {
                    membership.pass_on(route, Rc::clone(pipeline), status);
                    Source::Core(membership)
                }
                None => Source::Core(core::join(
                    &self.connection,
                    route,
                    Rc::clone(pipeline),
                    status,
                    self.number,
                )),
            },
        }
    }

    /// Takes the membership of a route that runs already and is in the queue group that `settings` want.
    fn membership_of(&self, settings: &config::Route) -> Option<Membership<Client>> {
        let mut running = self.running.borrow_mut();
        let former = running.get_mut(&settings.name)?;
        let known = &former.route.settings;
        if known.subject != settings.subject || known.queue_group != settings.queue_group {
            return None;
        }
        match mem::replace(&mut former.source, Source::None) {
            Source::Core(membership) => Some(membership),
            other => {
                former.source = other;
                None
            }
        }
    }

    fn streams(&self) -> Rc<Streams> {
        let mut streams = self.streams.borrow_mut();
        Rc::clone(streams.get_or_insert_with(|| {
            Rc::new(Streams::over(&self.connection, self.offerer.is_some(), self.clock))
        }))
    }

    /// Has what operators have paused wait and what they have drained take nothing, and all else go on. Returns what has to
    /// [leave](Self::leave) for that.
    pub(super) fn follow_holds(&self, holds: &Holds) -> Drained {
        let mut drained = Drained::default();
        for (name, running) in &mut *self.running.borrow_mut() {
            running.pipeline.hold(!holds.attempts(name));
            if !running.pipeline.is_empty() {
                // An operator may have a webhook tried at once, and nobody else tells of that.
                running.pipeline.wake_workers();
            }
            let Some(status) = running.route.source(self.number) else { continue };
            let takes = holds.takes(name);
            if takes && status.is_drained() {
                status.starts();
            }
            match &running.source {
                Source::Stream(pulling) => {
                    pulling.take(takes);
                    drained.pullings.extend((!takes).then(|| Rc::clone(pulling)));
                }
                Source::None if takes => {
                    let (connection, pipeline) = (&self.connection, Rc::clone(&running.pipeline));
                    let status = Arc::clone(status);
                    let membership = core::join(connection, &running.route, pipeline, status, self.number);
                    running.source = Source::Core(membership);
                }
                Source::Core(_) if !takes => {
                    if let Source::Core(membership) = mem::replace(&mut running.source, Source::None) {
                        drained.memberships.push(membership);
                    }
                }
                Source::Core(_) | Source::None => {}
            }
            if holds.has_drained(name) {
                drained.statuses.push(Arc::clone(status));
            }
        }
        drained
    }

    /// Returns when nothing comes any more of what is `drained`. What was sent before that has come.
    pub(super) async fn leave(&self, drained: Drained) {
        let Drained { memberships, pullings, statuses } = drained;
        core::leave(&self.connection, memberships).await;
        let leaving = TaskTracker::new();
        for pulling in pullings {
            drop(spawn_local(leaving.track_future(async move { pulling.rests().await })));
        }
        leaving.close();
        leaving.wait().await;
        statuses.iter().for_each(|status| status.drained());
    }
}
