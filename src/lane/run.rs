//! The life of a lane: it follows the list of routes, and starts and stops pipelines until that is what runs.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::spawn_local,
    time::{interval, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::{LaneError, LaneStatus, Plan, drain::Retired, reconcile};
use crate::{
    base::clock::{Clock, Time},
    config::{self, Nats, RouteName},
    deliver::{Client, Target, h1::connection::Buffers},
    handover::Offerer,
    message::ack_queue::AckQueue,
    nats::{NatsConnection, SetUpError},
    route::{
        pipeline::Pipeline, registry::Routes, shared::Route, source_status::SourceStatus, under_way::UnderWay,
    },
    source::{
        core::{CoreSession, Membership},
        jetstream::{Pulling, Streams},
    },
};

/// How often what is known of the connections is brought up to date.
const REFRESH: Duration = Duration::from_secs(1);
/// How long another NATS server may take to confirm the subscriptions of a lane that moves to it.
const MOVING: Duration = Duration::from_secs(5);

pub(super) struct Running {
    pub(super) route: Arc<Route>,
    pub(super) pipeline: Rc<Pipeline<Client>>,
    pub(super) source: Source,
}

pub(super) enum Source {
    Core(Membership<Client>),
    Stream(Pulling),
}

pub(super) struct Lane {
    number: usize,
    nats: Nats,
    status: Arc<LaneStatus>,
    acks: AckQueue,
    buffers: Rc<Buffers>,
    pub(super) core: RefCell<Rc<CoreSession<Client>>>,
    /// Opened for the first durable route.
    streams: RefCell<Option<Rc<Streams>>>,
    running: RefCell<BTreeMap<RouteName, Running>>,
    pub(super) draining: TaskTracker,
    /// By when everything has to end, once that is known.
    pub(super) end: watch::Sender<Option<Time>>,
    pub(super) offerer: Option<Offerer>,
    pub(super) clock: Clock,
}

/// Runs a lane from the first list of routes to the last one, and until all of their messages have come to an end.
/// Needs a runtime that takes local tasks.
pub async fn run(plan: Plan) -> Result<(), LaneError> {
    let Plan { number, nats, routes, status, handover, clock } = plan;
    status.runtime.get_or_init(|| Handle::current().metrics());
    let moving = Arc::clone(&status);
    drop(spawn_local(async move { moving.heartbeat.keep(clock).await }));
    let core = core_session(&nats, number, &status, None, clock).await?;
    status.switch_to(Arc::clone(core.state()));
    let (receiver, offerer) = handover.map(|handover| (handover.receiver, handover.offerer)).unzip();
    let lane = Rc::new(Lane {
        number,
        nats,
        status,
        acks: AckQueue::default(),
        buffers: Rc::default(),
        core: RefCell::new(Rc::new(core)),
        streams: RefCell::default(),
        running: RefCell::default(),
        draining: TaskTracker::new(),
        end: watch::Sender::new(None),
        offerer,
        clock,
    });
    if let Some(receiver) = receiver {
        let lane = Rc::clone(&lane);
        drop(spawn_local(receiver.run(move |name: &RouteName| lane.pipeline_of(name))));
    }
    lane.follow(routes).await?;
    lane.draining.close();
    lane.draining.wait().await;
    // Not before the last message has come to an end, as its ack goes over this connection.
    let streams = lane.streams.borrow_mut().take();
    if let Some(streams) = streams {
        streams.close().await;
    }
    Ok(())
}

async fn core_session(
    nats: &Nats,
    lane: usize,
    status: &LaneStatus,
    predecessor: Option<&NatsConnection>,
    clock: Clock,
) -> Result<CoreSession<Client>, SetUpError> {
    let connection = NatsConnection::open(nats, &format!("lane {lane}"), predecessor).await?;
    CoreSession::over(connection, Arc::clone(&status.slow_consumer), clock).await
}

impl Lane {
    /// Makes each list of routes what runs, until the last one does. Meanwhile it looks after the connections.
    async fn follow(self: &Rc<Self>, mut wanted: watch::Receiver<Arc<Routes>>) -> Result<(), SetUpError> {
        let mut refresh = interval(REFRESH);
        let mut elsewhere = None;
        // The first list was published before this lane began to listen, and is news to it.
        wanted.mark_changed();
        loop {
            let core = Rc::clone(&self.core.borrow());
            tokio::select! {
                biased;
                changed = wanted.changed() => {
                    // Without anybody who decides what should run, nothing should.
                    let nobody = changed.is_err();
                    let routes =
                        if nobody { Arc::default() } else { Arc::clone(&wanted.borrow_and_update()) };
                    let is_last = routes.is_last || nobody;
                    if is_last {
                        self.end.send_replace(Some(self.clock.now() + routes.grace));
                    }
                    self.reconcile(&routes).await?;
                    if is_last {
                        return Ok(());
                    }
                }
                _ = refresh.tick() => self.refresh(),
                () = core.state().lame_duck() => elsewhere = self.elsewhere().await,
                // There may be no other server for a long time: meanwhile life goes on.
                () = connected(elsewhere.as_ref()) => {
                    if let Some(session) = elsewhere.take()
                        && let Err(error) = self.move_away(session).await
                    {
                        self.cannot_move(&error);
                    }
                }
            }
        }
    }

    /// Makes `routes` what runs. What is retired for that is drained by itself.
    async fn reconcile(self: &Rc<Self>, routes: &Routes) -> Result<(), SetUpError> {
        let steps = {
            let running = self.running.borrow();
            let running = running.iter().map(|(name, running)| (name.clone(), &running.route)).collect();
            reconcile::steps(&running, routes, self.number)
        };
        // The new pipeline of a route starts before the former one is retired, so that the queue group always has a
        // member here.
        let mut retired = Vec::new();
        for (route, source) in &steps.start {
            let running = self.start(route, source).await?;
            let former = self.running.borrow_mut().insert(route.name().clone(), running);
            retired.extend(former.map(|running| Retired { running, is_replaced: true }));
        }
        for name in &steps.stop {
            let former = self.running.borrow_mut().remove(name);
            retired.extend(former.map(|running| Retired { running, is_replaced: false }));
        }
        self.retire(retired, self.clock.now() + routes.grace).await;
        self.announce(steps.start, routes.generation);
        Ok(())
    }

    /// Starts a pipeline for `route`, and its source.
    async fn start(&self, route: &Arc<Route>, status: &Arc<SourceStatus>) -> Result<Running, SetUpError> {
        let settings = &route.settings;
        let target = Rc::new(Target::new(
            &settings.webhook,
            route.transport.clone(),
            Rc::clone(&self.buffers),
            self.clock,
        ));
        let client = Box::new(move || Client::new(Rc::clone(&target)));
        let under_way = self.under_way(settings);
        let pipeline = route.start(self.number, client, under_way, self.acks.clone(), self.clock);
        let source = match &settings.jetstream {
            None => {
                let core = Rc::clone(&self.core.borrow());
                let joined = core.join(&settings.subject, &settings.queue_group, Rc::clone(&pipeline));
                Source::Core(joined.await?)
            }
            Some(jetstream) => {
                let streams = self.streams().await?;
                let status = Arc::clone(status);
                Source::Stream(streams.pull(route, jetstream, Rc::clone(&pipeline), status, self.number))
            }
        };
        Ok(Running { route: Arc::clone(route), pipeline, source })
    }

    /// What is under way here at the webhook of `settings`, where the route runs already.
    fn under_way(&self, settings: &config::Route) -> Rc<UnderWay> {
        let running = self.running.borrow();
        let former = running.get(&settings.name);
        let same = former.filter(|former| former.route.settings.webhook.url == settings.webhook.url);
        same.map_or_else(Rc::default, |former| former.pipeline.under_way())
    }

    async fn streams(&self) -> Result<Rc<Streams>, SetUpError> {
        if let Some(streams) = &*self.streams.borrow() {
            return Ok(Rc::clone(streams));
        }
        let name = format!("lane {} streams", self.number);
        let connection = NatsConnection::open(&self.nats, &name, None).await?;
        let streams = Rc::new(Streams::over(connection, self.acks.clone(), self.clock).await?);
        *self.streams.borrow_mut() = Some(Rc::clone(&streams));
        Ok(streams)
    }

    /// Says that this generation of routes runs here, and of core routes that they are live, when NATS knows of them. Where
    /// there is no connection, the subscriptions follow when there is one.
    fn announce(self: &Rc<Self>, started: Vec<(Arc<Route>, Arc<SourceStatus>)>, generation: u64) {
        let core = Rc::clone(&self.core.borrow());
        let started: Vec<_> = started.into_iter().filter(|(route, _)| !route.is_durable()).collect();
        if started.is_empty() {
            return self.status.apply(generation);
        }
        let lane = Rc::clone(self);
        drop(spawn_local(async move {
            if !core.is_connected() {
                lane.status.apply(generation);
            }
            core.confirmed().await;
            for (route, source) in started {
                // It may have been replaced or stopped while NATS was asked.
                if lane.runs(&route) {
                    source.went_live();
                    debug!(route = route.name().as_str(), lane = lane.number, "subscribed");
                    if route.went_live() {
                        log_live(&route.settings);
                    }
                }
            }
            lane.status.apply(generation);
        }));
    }

    fn runs(&self, route: &Arc<Route>) -> bool {
        self.running.borrow().get(route.name()).is_some_and(|running| Arc::ptr_eq(&running.route, route))
    }

    pub(super) fn pipeline_of(&self, name: &RouteName) -> Option<Rc<Pipeline<Client>>> {
        self.running.borrow().get(name).map(|running| Rc::clone(&running.pipeline))
    }

    /// Brings what is known of the connections up to date, and has those to webhooks looked after where that is needed.
    fn refresh(&self) {
        self.core.borrow().connection().refresh();
        self.streams.borrow().iter().for_each(|streams| streams.refresh());
        let now = self.clock.now();
        let running = self.running.borrow();
        // Of what the process is short of, idle connections are to keep nothing.
        let short = running.values().filter(|running| running.route.transport.is_short(now));
        short.for_each(|running| running.pipeline.look_after_connections());
    }

    /// A session with another server than the present one, which is about to stop.
    async fn elsewhere(&self) -> Option<CoreSession<Client>> {
        let core = Rc::clone(&self.core.borrow());
        let predecessor = Some(core.connection());
        match core_session(&self.nats, self.number, &self.status, predecessor, self.clock).await {
            Ok(session) => Some(session),
            Err(error) => {
                self.cannot_move(&error);
                None
            }
        }
    }

    /// What is in hand here is worth more than a clean move: the client reconnects by itself.
    fn cannot_move(&self, error: &SetUpError) {
        warn!(lane = self.number, %error, "cannot move to another NATS server");
    }

    /// Replaces the core session by `new`, which is connected, and leaves the old one, which goes on serving until the
    /// new one is in place.
    async fn move_away(&self, new: CoreSession<Client>) -> Result<(), SetUpError> {
        let old = Rc::clone(&self.core.borrow());
        let routes: Vec<_> = self
            .running
            .borrow()
            .values()
            .filter(|running| !running.route.is_durable())
            .map(|running| (Arc::clone(&running.route), Rc::clone(&running.pipeline)))
            .collect();
        let mut joined = Vec::with_capacity(routes.len());
        for (route, pipeline) in routes {
            let settings = &route.settings;
            let membership = new.join(&settings.subject, &settings.queue_group, pipeline).await?;
            joined.push((route, membership));
        }
        if timeout(MOVING, new.confirmed()).await.is_err() {
            // It is gone again. The client of the old one looks for another server by itself.
            return Ok(());
        }
        // Not before: the old connection serves until here, and health would call the lane disconnected.
        self.status.switch_to(Arc::clone(new.state()));
        *self.core.borrow_mut() = Rc::new(new);
        let mut memberships = Vec::with_capacity(joined.len());
        for (route, membership) in joined {
            if let Some(running) = self.running.borrow_mut().get_mut(route.name()) {
                let former = std::mem::replace(&mut running.source, Source::Core(membership));
                memberships.extend(match former {
                    Source::Core(membership) => Some(membership),
                    Source::Stream(_) => None,
                });
            }
        }
        old.leave(memberships).await;
        Ok(())
    }
}

/// Returns when `session` is connected, where there is one.
async fn connected(session: Option<&CoreSession<Client>>) {
    match session {
        Some(session) => session.connected().await,
        None => std::future::pending().await,
    }
}

fn log_live(route: &config::Route) {
    info!(
        route = route.name.as_str(),
        subject = route.subject.as_str(),
        queue_group = route.queue_group.as_str(),
        webhook = %route.webhook.url,
        "route is live"
    );
}
