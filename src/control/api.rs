//! What the API answers: health, for the probes of orchestrators and load balancers. It changes nothing.

use std::sync::Arc;

use http::StatusCode;

use super::{
    health::{Health, HealthReport},
    server::{Page, Pages},
};

/// The pages of the API.
#[derive(Debug)]
pub struct Api {
    health: Arc<Health>,
}

impl Api {
    /// Answers from `health`.
    pub const fn new(health: Arc<Health>) -> Self {
        Self { health }
    }
}

impl Pages for Api {
    fn page(&self, path: &str, _accept: Option<&str>) -> Option<Page> {
        match path {
            "/health" => Some(told(&self.health.report())),
            "/healthz" => Some(told(&self.health.liveness())),
            _ => None,
        }
    }
}

fn told(report: &HealthReport) -> Page {
    let status = if report.reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = (serde_json::to_string(report).unwrap_or_default() + "\n").into();
    Page { status, content_type: "application/json", body }
}
