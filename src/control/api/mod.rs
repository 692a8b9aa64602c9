//! What the port of the API answers: health, for the probes of orchestrators and load balancers, and whatever its parts
//! have to tell and to do.

mod router;
mod status;

use std::sync::Arc;

use http::{Method, StatusCode};

pub use self::router::{Access, Call, Router};
use super::{
    health::{Health, HealthReport},
    page::StatusPage,
    server::{Answer, Handler, Head, Reply, json},
    status::{Events, StatusBoard},
};

/// The API.
pub struct Api {
    router: Router,
}

impl Api {
    /// Answers from `health`.
    pub fn new(health: &Arc<Health>) -> Self {
        let mut router = Router::default();
        let (ready, alive) = (Arc::clone(health), Arc::clone(health));
        router.add(Method::GET, "/health", Access::Open, move |_| Reply::Now(told(&ready.report())));
        router.add(Method::GET, "/healthz", Access::Open, move |_| Reply::Now(told(&alive.liveness())));
        Self { router }
    }

    /// The same, which also tells what `board` knows; those who follow it are told by `events`.
    #[must_use]
    pub fn telling(mut self, board: &StatusBoard, events: Events) -> Self {
        status::add(&mut self.router, board, events);
        self
    }

    /// The same, with the status page.
    #[must_use]
    pub fn showing(mut self, page: StatusPage) -> Self {
        self.router.add(Method::GET, "/", Access::Open, move |call| Reply::Now(page.answer(call.head)));
        self
    }
}

impl Handler for Api {
    fn handle(&self, head: &Head) -> Reply {
        self.router.answer(head)
    }
}

fn told(report: &HealthReport) -> Answer {
    let status = if report.reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, report)
}
