//! The two servers, and what they tell: of all that shows something of itself.

use std::{rc::Rc, sync::Arc};

use tokio::{runtime::Handle, task::spawn_local};

use super::surroundings;
use crate::{
    base::clock::Clock,
    config::Config,
    control::{
        api::{self, Api, Guard},
        health::Health,
        letters::Letters,
        log_level::LevelControl,
        metrics::{Metrics, Observed},
        page::StatusPage,
        reload::Reloader,
        server::Server,
        status::{Board, Events, Samples, StatusBoard},
    },
    endpoints::{Fleet, Status},
    history::{Feed, Keeping},
    lane::LaneStatus,
    nats::Connections,
    route::registry::Registry,
    trace::spans::Counts,
};

/// What shows something of itself.
pub(super) struct Seen<'s> {
    pub(super) config: &'s Config,
    pub(super) registry: &'s Arc<Registry>,
    pub(super) fleet: Rc<Fleet>,
    pub(super) letters: Rc<Letters>,
    pub(super) lanes: &'s [Arc<LaneStatus>],
    pub(super) connections: Arc<Connections>,
    pub(super) reloader: &'s Reloader,
    pub(super) log_level: Option<LevelControl>,
    pub(super) spans: Arc<Counts>,
    pub(super) feed: &'s Arc<Feed>,
    pub(super) keeping: Option<Arc<Keeping>>,
    pub(super) endpoints: Option<Arc<Status>>,
    pub(super) clock: Clock,
}

/// Has both servers answer, for as long as the process lives, and returns what tells whether it is well, and what answers
/// at the port of the API. Needs a runtime that takes local tasks.
pub(super) fn serve(api: Server, metrics: Server, seen: Seen<'_>) -> (Arc<Health>, Rc<Api>) {
    let Seen {
        config,
        registry,
        fleet,
        letters,
        lanes,
        connections,
        reloader,
        log_level,
        spans,
        feed,
        keeping,
        endpoints,
        clock,
    } = seen;
    let health = Health::new(lanes.to_vec(), Arc::clone(registry), reloader.status(), clock);
    let health = Arc::new(health.with(endpoints.clone(), keeping));
    let samples = Samples::default();
    drop(spawn_local(samples.clone().keep(Arc::clone(registry), clock)));
    let board = StatusBoard::new(Board {
        registry: Arc::clone(registry),
        lanes: lanes.to_vec(),
        connections: Arc::clone(&connections),
        health: Arc::clone(&health),
        letters: Rc::clone(&letters),
        reloads: reloader.status(),
        samples,
        settings: config.process_to_toml(),
        clock,
    });
    let events = Events::of(board.clone());
    drop(spawn_local(events.clone().keep()));
    let parts = api::Parts {
        health: Arc::clone(&health),
        guard: Guard::new(&config.server.tokens, clock),
        reloader: reloader.clone(),
        registry: Arc::clone(registry),
        fleet,
        letters,
        lanes: lanes.to_vec(),
        log_level,
        clock,
    };
    let answers = Api::new(parts).telling(&board, events);
    let answers = answers.feeding(feed, registry, &surroundings::machine(), clock);
    let answers = Rc::new(if config.server.page { answers.showing(StatusPage::default()) } else { answers });
    drop(spawn_local(api.serve(Rc::clone(&answers))));
    drop(spawn_local(metrics.serve(Metrics::new(Observed {
        clock,
        registry: Arc::clone(registry),
        per_route: config.metrics.per_route,
        lanes: lanes.to_vec(),
        connections,
        reloads: reloader.status(),
        spans,
        attempts: feed.counts(),
        endpoints,
        control: Handle::current().metrics(),
    }))));
    (health, answers)
}
