//! The process and its routes as operators see them: `GET /api/v1/status`, which the page and the command line show.
//!
//! It asks nobody: all of it is read from what lanes, routes and connections show of themselves. How all routes are
//! doing is found out once a second at the most, however many look.

mod events;
pub mod model;
mod query;
mod ring;
mod samples;
mod survey;
mod view;
mod words;

use std::{cell::RefCell, rc::Rc, sync::Arc};

use tokio::sync::watch;

pub use self::{
    events::Events,
    query::{Query, QueryError},
    samples::Samples,
};
use self::{
    model::{Configuration, Connection, Lane, Readiness, RouteDetail, Status},
    survey::Survey,
    view::View,
};
use super::{
    health::{Health, Lines},
    letters::Letters,
    reload::ReloadStatus,
};
use crate::{
    base::clock::{Clock, Time, rfc3339},
    lane::LaneStatus,
    nats::{ConnectionState, Connections},
    route::registry::Registry,
};

/// How many reasons for not being ready are named.
const REASONS: usize = 20;

/// What the status is read from.
#[derive(Debug)]
pub struct Board {
    /// The routes that should run, and the figures of those that run.
    pub registry: Arc<Registry>,
    /// What the lanes show, by their numbers.
    pub lanes: Vec<Arc<LaneStatus>>,
    /// The connections to NATS beside those of the lanes.
    pub connections: Arc<Connections>,
    /// Whether the process is ready.
    pub health: Arc<Health>,
    /// The dead letters of the routes.
    pub letters: Rc<Letters>,
    /// How far the process has followed its configuration.
    pub reloads: watch::Receiver<ReloadStatus>,
    /// What goes through.
    pub samples: Samples,
    /// The settings that the process was started with, without routes: as TOML, and with secrets masked.
    pub settings: String,
    /// The clock of the process, which was started with it.
    pub clock: Clock,
}

/// Answers what is asked about the process.
#[derive(Clone, Debug)]
pub struct StatusBoard {
    board: Rc<Board>,
    began: Time,
    latest: Rc<RefCell<Option<Rc<Survey>>>>,
}

impl StatusBoard {
    /// Reads from `board`, of a process that begins now.
    pub fn new(board: Board) -> Self {
        let began = board.clock.now();
        Self { board: Rc::new(board), began, latest: Rc::default() }
    }

    /// The process, and the routes that `query` asks for.
    pub fn status(&self, query: &Query) -> Status {
        let now = self.now();
        let survey = self.survey(now);
        let view = self.view(now);
        let generation = view.routes.generation;
        let selected = survey.select(query);
        let history = query.history;
        Status {
            version: crate::VERSION.to_owned(),
            commit: crate::COMMIT.to_owned(),
            sample: self.board.samples.latest(),
            at: rfc3339(self.board.clock.wall(now)),
            uptime: now.since(self.began).as_secs_f64(),
            generation,
            configuration: self.configuration(),
            health: readiness(self.board.health.reasons(&view.routes)),
            lanes: self.lanes(generation, now),
            connections: self.board.connections.all().iter().map(|state| connection(state)).collect(),
            totals: survey.totals,
            routes: selected.routes.into_iter().map(|route| view.route(route, history)).collect(),
            history: history.then(|| self.board.samples.history_of_all()),
            matching: selected.matching,
            next: selected.next,
        }
    }

    /// All that is known of the route of this name; none where there is none.
    pub fn route(&self, name: &str) -> Option<RouteDetail> {
        let name = name.parse().ok()?;
        let view = self.view(self.now());
        let route = view.routes.get(&name)?;
        let dead_letters = view.dead_letters(route, || self.board.letters.kept(&name));
        Some(RouteDetail { dead_letters, ..view.detail(route) })
    }

    /// The settings that the process was started with, as [`Board::settings`].
    pub fn settings(&self) -> &str {
        &self.board.settings
    }

    /// The time at which it would be read now.
    fn now(&self) -> Time {
        self.board.clock.now()
    }

    fn view(&self, now: Time) -> View<'_> {
        View::of(&self.board, now)
    }

    fn configuration(&self) -> Configuration {
        let status = self.board.reloads.borrow();
        Configuration { applied: rfc3339(status.applied), complaints: status.complaints() }
    }

    fn survey(&self, now: Time) -> Rc<Survey> {
        let mut latest = self.latest.borrow_mut();
        let known = latest.as_ref().filter(|survey| survey.is_fresh(now));
        let survey =
            known.cloned().unwrap_or_else(|| Rc::new(Survey::of(&self.board.registry, &self.view(now))));
        *latest = Some(Rc::clone(&survey));
        survey
    }

    fn lanes(&self, generation: u64, now: Time) -> Vec<Lane> {
        let lanes = self.board.lanes.iter().enumerate();
        lanes
            .map(|(number, lane)| Lane {
                lane: number,
                connection: lane.connection().map(|state| connection(state)).unwrap_or_default(),
                silent: lane.heartbeat.silence(now).as_secs_f64(),
                current: lane.has_applied(generation),
            })
            .collect()
    }
}

fn readiness(Lines { named: mut reasons, more }: Lines) -> Readiness {
    let more = more + reasons.len().saturating_sub(REASONS);
    reasons.truncate(REASONS);
    Readiness { ready: reasons.is_empty(), reasons, more }
}

fn connection(state: &ConnectionState) -> Connection {
    Connection {
        name: state.name().to_owned(),
        connected: state.is_connected(),
        server: state.server(),
        trouble: state.trouble(),
        round_trip: state.round_trip().map(|time| time.as_secs_f64()),
        reconnects: state.reconnects(),
        cuts: state.cuts(),
    }
}
