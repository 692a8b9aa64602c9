//! The life of a lane: it follows the list of routes, and starts and stops pipelines until that is what runs.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::spawn_local,
    time::interval,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{
    LaneStatus, Plan,
    drain::Retired,
    intake::Source,
    mailbox::{Asked, Found, Question},
    reconcile,
};
use crate::{
    base::clock::{Clock, Time},
    config::{self, RouteName},
    deliver::{Client, Target, h1::connection::Buffers, kept::Use},
    handover::Offerer,
    nats::Connection,
    route::{
        in_hand::InHand, pipeline::Pipeline, registry::Routes, shared::Route, source_status::SourceStatus,
        under_way::UnderWay,
    },
    source::jetstream::Streams,
};

/// How often connections are looked after.
const REFRESH: Duration = Duration::from_secs(1);
/// How long the server may take to confirm the subscriptions of a new list of routes before the list counts as running.
const CONFIRMATION: Duration = Duration::from_secs(2);
/// How long the server may take at the end to confirm that it has the last answers of webhooks.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

pub(super) struct Running {
    pub(super) route: Arc<Route>,
    pub(super) pipeline: Rc<Pipeline<Client>>,
    pub(super) source: Source,
}

pub(super) struct Lane {
    pub(super) number: usize,
    status: Arc<LaneStatus>,
    buffers: Rc<Buffers>,
    pub(super) connection: Connection,
    /// Set up for the first durable route.
    pub(super) streams: RefCell<Option<Rc<Streams>>>,
    pub(super) running: RefCell<BTreeMap<RouteName, Running>>,
    pub(super) draining: TaskTracker,
    /// By when everything has to end, once that is known.
    pub(super) end: watch::Sender<Option<Time>>,
    pub(super) offerer: Option<Offerer>,
    /// Whether any route has its answers told.
    answers: Cell<bool>,
    pub(super) clock: Clock,
}

/// Runs a lane from the first list of routes to the last one, and until all of their messages have come to an end.
/// Needs a runtime that takes local tasks.
pub async fn run(plan: Plan) {
    let Plan { number, nats, routes, status, offers, clock } = plan;
    status.runtime.get_or_init(|| Handle::current().metrics());
    let moving = Arc::clone(&status);
    drop(spawn_local(async move { moving.heartbeat.keep(clock).await }));
    let connection = Connection::open(&nats, &format!("lane {number}"), clock);
    status.connect(Arc::clone(connection.state()));
    let offerer = offers.is_some().then(|| Offerer::over(connection.clone(), clock));
    let lane = Rc::new(Lane {
        number,
        status,
        buffers: Rc::default(),
        connection,
        streams: RefCell::default(),
        running: RefCell::default(),
        draining: TaskTracker::new(),
        end: watch::Sender::new(None),
        offerer,
        answers: Cell::new(false),
        clock,
    });
    if let Some(questions) = lane.status.mailbox.open() {
        drop(spawn_local(Rc::clone(&lane).answer(questions)));
    }
    if let Some(offers) = offers {
        let lane = Rc::clone(&lane);
        drop(spawn_local(offers.run(move |name: &RouteName| lane.pipeline_of(name))));
    }
    lane.follow(routes).await;
    lane.draining.close();
    lane.draining.wait().await;
    if lane.answers.get() {
        // What was answered last may not be on the wire yet.
        drop(lane.connection.round_trip(LAST_ANSWERS).await);
    }
    // Not before the last message has come to an end, as its ack goes over this connection.
    let streams = lane.streams.borrow_mut().take();
    if let Some(streams) = streams {
        streams.close().await;
    }
}

impl Lane {
    /// Makes each list of routes what runs, until the last one does. Meanwhile it looks after the connections.
    async fn follow(self: &Rc<Self>, mut wanted: watch::Receiver<Arc<Routes>>) {
        let mut refresh = interval(REFRESH);
        // The first list was published before this lane began to listen, and is news to it.
        wanted.mark_changed();
        loop {
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
                    self.reconcile(&routes).await;
                    if is_last {
                        return;
                    }
                }
                _ = refresh.tick() => self.refresh(),
            }
        }
    }

    /// Makes `routes` what runs. What is retired for that is drained by itself.
    async fn reconcile(self: &Rc<Self>, routes: &Routes) {
        let steps = {
            let running = self.running.borrow();
            let running = running.iter().map(|(name, running)| (name, &running.route));
            reconcile::steps(running, routes, self.number)
        };
        // The new pipeline of a route starts before the former one is retired, so that the queue group always has a
        // member here.
        let mut retired = Vec::new();
        for (route, source) in &steps.start {
            let running = self.start(route, source, routes.holds().takes(route.name()));
            let former = self.running.borrow_mut().insert(route.name().clone(), running);
            retired.extend(former.map(|running| Retired { running, is_replaced: true }));
        }
        for name in &steps.stop {
            let former = self.running.borrow_mut().remove(name);
            retired.extend(former.map(|running| Retired { running, is_replaced: false }));
        }
        // Before anything is awaited: no attempt of a pipeline that has just been started has begun.
        let drained = self.follow_holds(routes.holds());
        self.retire(retired, self.clock.now() + routes.grace).await;
        self.leave(drained).await;
        self.announce(routes.generation);
    }

    /// Starts a pipeline for `route`, and its source, which takes messages or not yet.
    fn start(&self, route: &Arc<Route>, status: &Arc<SourceStatus>, takes: bool) -> Running {
        let settings = &route.settings;
        let target = Target::new(&settings.webhook, &route.endpoint, Rc::clone(&self.buffers), self.clock);
        let target = target.using(settings.answer.as_ref().map(Use::of)).batching(&settings.batch);
        let target = Rc::new(target);
        let client = Box::new(move || Client::new(Rc::clone(&target)));
        let under_way = self.under_way(settings);
        let out = Rc::new(self.connection.clone());
        self.answers.set(self.answers.get() || settings.answer.is_some());
        let pipeline = route.start(self.number, client, under_way, out, self.clock);
        let source = self.source(route, &pipeline, status, takes);
        Running { route: Arc::clone(route), pipeline, source }
    }

    /// What is under way here at the webhook of `settings`, where the route runs already.
    fn under_way(&self, settings: &config::Route) -> Rc<UnderWay> {
        let running = self.running.borrow();
        let former = running.get(&settings.name);
        let same = former.filter(|former| former.route.settings.webhook.url == settings.webhook.url);
        same.map_or_else(Rc::default, |former| former.pipeline.under_way())
    }

    /// Says that this generation of routes runs here, when NATS knows of their subscriptions. Where there is no connection,
    /// those follow when there is one.
    fn announce(self: &Rc<Self>, generation: u64) {
        let lane = Rc::clone(self);
        drop(spawn_local(async move {
            if lane.connection.round_trip(CONFIRMATION).await.is_err() {
                debug!(lane = lane.number, "NATS has not confirmed the subscriptions yet");
            }
            lane.status.apply(generation);
        }));
    }

    pub(super) fn pipeline_of(&self, name: &RouteName) -> Option<Rc<Pipeline<Client>>> {
        self.running.borrow().get(name).map(|running| Rc::clone(&running.pipeline))
    }

    /// Answers what is asked about what is in hand, one question after the other.
    async fn answer(self: Rc<Self>, mut questions: mpsc::Receiver<Question>) {
        while let Some(Question { asked, answer }) = questions.recv().await {
            let found = match asked {
                Asked::OfRoute(route, limit) => match self.pipeline_of(&route) {
                    Some(pipeline) => named(&route, pipeline.in_hand(limit).await),
                    None => Vec::new(),
                },
                Asked::WithId(id) => self.with_id(&id).await,
            };
            // Whoever asked may have waited long enough.
            drop(answer.send(found));
        }
    }

    async fn with_id(&self, id: &str) -> Found {
        let pipelines: Vec<_> = {
            let all = self.running.borrow();
            all.iter().map(|(name, running)| (name.clone(), Rc::clone(&running.pipeline))).collect()
        };
        let mut found = Vec::new();
        for (route, pipeline) in pipelines {
            found.extend(named(&route, pipeline.with_id(id).await));
        }
        found
    }

    /// Brings what is known of the connections up to date, and has those to webhooks looked after where that is needed.
    fn refresh(&self) {
        let now = self.clock.now();
        let running = self.running.borrow();
        // Of what the process is short of, idle connections are to keep nothing.
        let short = running.values().filter(|running| running.route.endpoint.transport.is_short(now));
        short.for_each(|running| running.pipeline.look_after_connections());
    }
}

/// These messages, each with the name of its route.
fn named(route: &RouteName, messages: Vec<InHand>) -> Found {
    messages.into_iter().map(|message| (route.clone(), message)).collect()
}
