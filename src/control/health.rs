//! Whether the process is ready for its work, or in need of a restart, and why. It asks nobody: it reads what lanes and
//! routes show of themselves, so that an answer never has to wait for NATS or a webhook.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::sync::watch;

use super::reload::ReloadStatus;
use crate::{
    base::clock::Clock,
    endpoints::Status,
    history::Keeping,
    lane::LaneStatus,
    route::{
        registry::{Registry, Routes},
        shared::Route,
    },
};

/// A lane without a heartbeat for so long will hardly move again.
const STUCK: Duration = Duration::from_secs(30);

/// How many routes are named of those that have the same trouble: there may be ten thousand, and a probe asks each second.
const NAMED: usize = 100;

/// Lines for operators: the first of them, and how many there are beyond those.
#[derive(Debug, Default)]
pub struct Lines {
    /// The first ones.
    pub named: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

impl Lines {
    fn add(&mut self, line: impl FnOnce() -> String) {
        if self.named.len() < NAMED { self.named.push(line()) } else { self.more += 1 }
    }

    /// All that is said: the last line tells how many there are beyond the others.
    fn told(self) -> Vec<String> {
        let more = Some(self.more).filter(|more| *more > 0).map(|more| format!("and {more} more"));
        self.named.into_iter().chain(more).collect()
    }
}

/// What readiness and liveness are told from.
#[derive(Debug)]
pub struct Health {
    draining: AtomicBool,
    lanes: Vec<Arc<LaneStatus>>,
    registry: Arc<Registry>,
    reloads: watch::Receiver<ReloadStatus>,
    endpoints: Option<Arc<Status>>,
    history: Option<Arc<Keeping>>,
    clock: Clock,
}

/// The answer to `GET /health` and `GET /healthz`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// `ready` or `unready` for readiness, `alive` or `stuck` for liveness.
    pub status: &'static str,
    /// Why; empty when all is well.
    pub reasons: Vec<String>,
    /// What is wrong with webhooks, so that messages wait. No reason to restart anything, nor to send messages elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<String>,
    /// What is not as it should be in streams and consumers though messages come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
    /// What of the configuration, as it is now, does not count. What was applied before runs on, so that it is no reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<String>,
    /// What is not as it should be in the bucket of endpoints. What was applied before runs on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Why what comes of attempts is not kept. Messages are delivered all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<String>,
}

impl Health {
    /// Ready when all `lanes` serve what `registry` says should run.
    pub const fn new(
        lanes: Vec<Arc<LaneStatus>>,
        registry: Arc<Registry>,
        reloads: watch::Receiver<ReloadStatus>,
        clock: Clock,
    ) -> Self {
        Self {
            draining: AtomicBool::new(false),
            lanes,
            registry,
            reloads,
            endpoints: None,
            history: None,
            clock,
        }
    }

    /// The same, with what is known of the bucket of `endpoints`, and of the stream that keeps the `history`, where those are.
    #[must_use]
    pub fn with(self, endpoints: Option<Arc<Status>>, history: Option<Arc<Keeping>>) -> Self {
        Self { endpoints, history, ..self }
    }

    /// From now on the process is stopping, and not ready.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Readiness: whether messages of all routes are taken, on all lanes. A webhook that fails is no reason, as its
    /// messages wait.
    pub fn report(&self) -> HealthReport {
        let routes = self.registry.current();
        let reasons = self.reasons(&routes).told();
        let endpoints = self.endpoints.as_ref().map(|bucket| bucket.complaints()).unwrap_or_default();
        let status = if reasons.is_empty() { "ready" } else { "unready" };
        let configuration = self.reloads.borrow().complaints();
        let (webhooks, streams) = (self.webhooks(&routes), streams(&routes));
        let trouble = self.history.as_ref().and_then(|keeping| keeping.trouble());
        let history = trouble.map(|trouble| format!("it is not kept: {trouble}")).into_iter().collect();
        HealthReport { status, reasons, webhooks, streams, configuration, endpoints, history }
    }

    /// Why the process is not ready, as long as `routes` are what should run; empty where it is.
    pub fn reasons(&self, routes: &Routes) -> Lines {
        let mut reasons = Lines { named: self.stuck(STUCK), more: 0 };
        if self.draining.load(Relaxed) {
            reasons.add(|| "the process is stopping".to_owned());
        }
        if let Some(reason) = self.endpoints.as_ref().and_then(|bucket| bucket.reason()) {
            reasons.add(|| reason);
        }
        let mut connected = Vec::new();
        for (number, lane) in self.lanes.iter().enumerate() {
            match lane.connection() {
                Some(connection) if connection.is_connected() => connected.push(number),
                // It is the one reason: every route would only repeat it.
                connection => {
                    let trouble = connection.and_then(|connection| connection.trouble());
                    let trouble = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
                    reasons.add(|| format!("lane {number} is not connected to NATS{trouble}"));
                }
            }
        }
        for route in routes.iter() {
            examine(route, &connected, &mut reasons);
        }
        reasons
    }

    fn webhooks(&self, routes: &Routes) -> Vec<String> {
        let now = self.clock.now();
        let mut lines = Lines::default();
        for (route, trouble) in routes.iter().filter_map(|route| Some((route, routes.trouble(route, now)?))) {
            lines.add(|| {
                let cause =
                    routes.cause(route, trouble, now).map_or_else(String::new, |cause| format!(" ({cause})"));
                format!("route {}: {trouble}{cause}", route.name())
            });
        }
        lines.told()
    }

    /// Whether a restart would help: all that it helps against is a lane that does not move. What is wrong with NATS or a
    /// webhook is not.
    pub fn liveness(&self) -> HealthReport {
        let reasons = self.stuck(STUCK);
        let status = if reasons.is_empty() { "alive" } else { "stuck" };
        HealthReport { status, reasons, ..HealthReport::default() }
    }

    /// The lanes without a heartbeat for longer than `patience`, each in words for operators.
    pub fn stuck(&self, patience: Duration) -> Vec<String> {
        let now = self.clock.now();
        let silences = self.lanes.iter().map(|lane| lane.heartbeat.silence(now)).enumerate();
        let stuck = silences.filter(|(_, silence)| *silence > patience);
        stuck
            .map(|(number, silence)| format!("lane {number} has not moved for {} s", silence.as_secs()))
            .collect()
    }
}

/// What is not as it should be in the streams of `routes`: one lane of each looks.
fn streams(routes: &Routes) -> Vec<String> {
    let sources = routes.iter().filter_map(|route| route.source(route.first_lane()));
    let mut lines = Lines::default();
    sources.flat_map(|source| source.warnings()).for_each(|warning| lines.add(|| warning));
    lines.told()
}

/// Why `route` gets no messages on one of these lanes: said once where it is the same on several.
fn examine(route: &Route, lanes: &[usize], reasons: &mut Lines) {
    let said = lanes.iter().filter_map(|lane| route.source(*lane)?.reason());
    let mut said: Vec<_> = said.collect();
    said.dedup();
    said.into_iter().for_each(|reason| reasons.add(|| reason));
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::control::reload::reloader;

    #[test]
    fn of_many_lines_the_first_are_told_and_the_others_counted() {
        let mut lines = Lines::default();
        (0..NAMED + 3).for_each(|number| lines.add(|| number.to_string()));
        let told = lines.told();
        assert_eq!((told.len(), told[NAMED - 1].as_str(), told[NAMED].as_str()), (101, "99", "and 3 more"));
        assert!(Lines::default().told().is_empty());
    }

    #[test]
    fn only_a_lane_that_stands_still_is_a_reason_for_a_restart() {
        let clock = Clock::start();
        let lanes = [Arc::new(LaneStatus::default()), Arc::new(LaneStatus::default())];
        lanes[0].heartbeat.beat(clock.now());
        lanes[1].heartbeat.beat(clock.now().before(STUCK + Duration::from_millis(1)));
        let (reloader, _reloads) = reloader(SystemTime::now());
        let health = Health::new(lanes.to_vec(), Arc::new(Registry::new(2)), reloader.status(), clock);
        let stuck = HealthReport {
            status: "stuck",
            reasons: vec!["lane 1 has not moved for 30 s".to_owned()],
            ..HealthReport::default()
        };
        assert_eq!(health.liveness(), stuck);
        assert!(health.report().reasons.contains(&stuck.reasons[0]), "{:?}", health.report());

        lanes[1].heartbeat.end();
        let alive = HealthReport { status: "alive", ..HealthReport::default() };
        assert_eq!(health.liveness(), alive, "nothing is expected of a lane that has ended");
        health.drain();
        assert_eq!(health.liveness(), alive, "a stop is none either");
        assert_eq!(health.report().status, "unready", "no lane is connected to NATS");
    }
}
