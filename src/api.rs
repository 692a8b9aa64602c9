//! What the API answers: health, for supervisors and load balancers.

use std::sync::Arc;

use http::StatusCode;

use crate::{
    health::Health,
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
        const JSON: &str = "application/json";
        match path {
            "/health" => {
                let report = self.health.report();
                let status =
                    if report.reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = serde_json::to_string(&report).unwrap_or_default() + "\n";
                Some(Page { status, content_type: JSON, body })
            }
            // The process answers: that is all there is to say.
            "/healthz" => Some(Page {
                status: StatusCode::OK,
                content_type: JSON,
                body: "{\"status\":\"alive\"}\n".to_owned(),
            }),
            _ => None,
        }
    }
}
