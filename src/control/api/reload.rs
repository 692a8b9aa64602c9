//! `/api/v1/reload`: having the configuration read again, and how far the daemon follows it.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Access, Router};
use crate::{
    base::clock::rfc3339,
    config::RouteName,
    control::{
        reload::{ReloadError, ReloadStatus, Reloader, Report},
        server::{self, Problem, ProblemKind, Reply},
    },
};

const PATH: &str = "/api/v1/reload";

/// Adds it to `router`.
pub(super) fn add(router: &mut Router, reloader: &Reloader) {
    let status = reloader.status();
    router.add(Method::GET, PATH, Access::Read, move |_| {
        Reply::Now(server::json(StatusCode::OK, &shown(&status.borrow())))
    });
    let reloader = reloader.clone();
    router.add(Method::POST, PATH, Access::Act, move |call| {
        let reloader = reloader.clone();
        call.work(async move {
            let report = reloader.reload().await.map_err(|error| problem(&error))?;
            Ok(server::json(StatusCode::OK, &done(&report)))
        })
    });
}

fn shown(status: &ReloadStatus) -> Value {
    let failure = status.failure.as_ref();
    json!({
        "generation": status.generation,
        "applied": rfc3339(status.applied),
        "succeeded": status.succeeded,
        "failed": status.failed,
        "need_restart": status.need_restart,
        "failure": failure.map(|failure| json!({"at": rfc3339(failure.at), "mistakes": failure.error.told()})),
    })
}

fn done(report: &Report) -> Value {
    json!({
        "generation": report.generation,
        "added": names(&report.changes.added),
        "changed": names(&report.changes.changed),
        "removed": names(&report.changes.removed),
        "need_restart": report.need_restart,
    })
}

fn problem(error: &ReloadError) -> Problem {
    let (kind, detail) = match error {
        ReloadError::Refused(_) | ReloadError::Unfit(_) => {
            (ProblemKind::Refused, "the configuration has mistakes, and what ran before runs on".to_owned())
        }
        ReloadError::Unread(_) => (ProblemKind::Busy, error.to_string()),
        ReloadError::Stopping => (ProblemKind::Stopping, error.to_string()),
    };
    Problem::new(kind, detail).with("mistakes", error.told())
}

fn names(names: &[RouteName]) -> Vec<&str> {
    names.iter().map(RouteName::as_str).collect()
}
