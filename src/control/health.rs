//! Whether the process is ready for its work, or in need of a restart, and if so, why.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;

use crate::{base::clock::Clock, config::Route, lane::LaneStatus};

/// A lane that gave no sign for so long will hardly move again.
const STUCK: Duration = Duration::from_secs(30);

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    draining: AtomicBool,
    lanes: Vec<Arc<LaneStatus>>,
    routes: Vec<(String, String)>,
    clock: Clock,
}

/// The answer to `GET /health` and `GET /healthz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `ready` or `unready`, `alive` or `stuck`.
    pub status: &'static str,
    /// Why; empty when all is well.
    pub reasons: Vec<String>,
}

impl Health {
    /// Ready when all `lanes` serve all `routes`.
    pub fn new(lanes: Vec<Arc<LaneStatus>>, routes: &[Route], clock: Clock) -> Self {
        let core = routes.iter().filter(|route| route.jetstream.is_none());
        let routes = core.map(|r| (r.name.to_string(), r.subject.as_str().to_owned())).collect();
        Self { draining: AtomicBool::new(false), lanes, routes, clock }
    }

    /// From now on the process is stopping, and not ready.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether messages are taken.
    pub fn report(&self) -> Report {
        let mut reasons = self.stuck(STUCK);
        if self.draining.load(Relaxed) {
            reasons.push("the process is stopping".to_owned());
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            self.examine(number, lane, &mut reasons);
        }
        let status = if reasons.is_empty() { "ready" } else { "unready" };
        Report { status, reasons }
    }

    /// Whether a restart would help: all that it helps against is a lane that does not move. What is wrong with NATS or a
    /// webhook is not.
    pub fn liveness(&self) -> Report {
        let reasons = self.stuck(STUCK);
        Report { status: if reasons.is_empty() { "alive" } else { "stuck" }, reasons }
    }

    /// The lanes that have given no sign for longer than `patience`.
    pub fn stuck(&self, patience: Duration) -> Vec<String> {
        let now = self.clock.now();
        let silences = self.lanes.iter().map(|lane| lane.pulse.silence(now)).enumerate();
        let stuck = silences.filter(|(_, silence)| *silence > patience);
        stuck
            .map(|(number, silence)| format!("lane {number} has not moved for {} s", silence.as_secs()))
            .collect()
    }

    fn examine(&self, number: usize, lane: &LaneStatus, reasons: &mut Vec<String>) {
        let Some(link) = lane.link().filter(|link| link.is_connected()) else {
            let trouble = lane.link().and_then(|link| link.trouble());
            let trouble = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
            reasons.push(format!("lane {number} is not connected to NATS{trouble}"));
            return;
        };
        if !lane.is_subscribed() {
            reasons.push(format!("lane {number} has not subscribed yet"));
        }
        reasons.extend(lane.streams_in_trouble());
        for (name, subject) in &self.routes {
            if link.refused_subscription(subject) {
                reasons.push(format!("route {name}: NATS refuses the subscription to {subject}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lane_that_stands_still_is_a_reason_for_a_restart() {
        let clock = Clock::start();
        let lanes = [Arc::new(LaneStatus::default()), Arc::new(LaneStatus::default())];
        lanes[0].pulse.beat(clock.now());
        lanes[1].pulse.beat(clock.now().before(STUCK + Duration::from_millis(1)));
        let health = Health::new(lanes.to_vec(), &[], clock);
        let stuck = Report { status: "stuck", reasons: vec!["lane 1 has not moved for 30 s".to_owned()] };
        assert_eq!(health.liveness(), stuck);
        assert!(health.report().reasons.contains(&stuck.reasons[0]), "{:?}", health.report());

        lanes[1].pulse.end();
        let alive = Report { status: "alive", reasons: Vec::new() };
        assert_eq!(health.liveness(), alive, "nothing is expected of a lane that has ended");
        health.drain();
        assert_eq!(health.liveness(), alive, "a stop is none either");
        assert_eq!(health.report().status, "unready", "no lane is connected to NATS");
    }
}
