//! Whether the process is ready for its work, and if not, why.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use serde::Serialize;

use crate::{config::Route, lane::LaneStatus};

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    draining: AtomicBool,
    lanes: Vec<Arc<LaneStatus>>,
    routes: Vec<(String, String)>,
}

/// The answer to `GET /health`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `ready` or `unready`.
    pub status: &'static str,
    /// Why it is not ready; empty when it is.
    pub reasons: Vec<String>,
}

impl Health {
    /// Ready when all `lanes` serve all `routes`.
    pub fn new(lanes: Vec<Arc<LaneStatus>>, routes: &[Route]) -> Self {
        let core = routes.iter().filter(|route| route.jetstream.is_none());
        let routes = core.map(|r| (r.name.to_string(), r.subject.as_str().to_owned())).collect();
        Self { draining: AtomicBool::new(false), lanes, routes }
    }

    /// From now on the process is stopping, and not ready.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// How things stand.
    pub fn report(&self) -> Report {
        let mut reasons = Vec::new();
        if self.draining.load(Relaxed) {
            reasons.push("the process is stopping".to_owned());
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            self.examine(number, lane, &mut reasons);
        }
        let status = if reasons.is_empty() { "ready" } else { "unready" };
        Report { status, reasons }
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
