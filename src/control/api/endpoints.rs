//! Writing the routes of the bucket: every replica follows it, this one too.

use std::rc::Rc;

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::{Access, Call, Router, input::Query};
use crate::{
    base::json::Object,
    config::RouteName,
    control::server::{self, Answer, Problem, ProblemKind},
    endpoints::{Fleet, Store, StoreError},
};

const PATH: &str = "/api/v1/routes/{name}";
/// So many mistakes of a value are told.
const TOLD: usize = 20;

/// What was written.
#[derive(Serialize)]
struct Written {
    name: String,
    /// The revision of the bucket: where `broadcaster_endpoints_revision` has it, a replica follows.
    revision: u64,
}

/// Adds it to `router`.
pub(super) fn add(router: &mut Router, fleet: &Rc<Fleet>) {
    let on = Rc::clone(fleet);
    router.add_taking(&["revision"], Method::PUT, PATH, Access::Act, move |call| {
        let (fleet, name, expected) = (Rc::clone(&on), name(call), revision(call));
        call.work_with(move |Object(route)| async move {
            let (name, expected) = (name?, expected?);
            let value = Value::Object(route).to_string();
            let put = store(&fleet)?.put(&name, value.as_bytes(), expected).await;
            Ok(written(&name, put.map_err(|error| problem(&error))?))
        })
    });
    let on = Rc::clone(fleet);
    router.add(Method::DELETE, PATH, Access::Act, move |call| {
        let (fleet, name) = (Rc::clone(&on), name(call));
        call.work(async move {
            let name = name?;
            let removed = store(&fleet)?.remove(&name).await;
            Ok(written(&name, removed.map_err(|error| problem(&error))?))
        })
    });
}

/// The name in the path of `call`. There need not be a route of it.
fn name(call: &Call<'_>) -> Result<RouteName, Problem> {
    let name = call.parameter("name").parse();
    name.map_err(|why| Problem::new(ProblemKind::NoSuchRoute, format!("no route can have this name: {why}")))
}

/// The revision that the key is to have, where that is asked for: nobody else has written it then.
fn revision(call: &Call<'_>) -> Result<Option<u64>, Problem> {
    let mut query = Query::of(call.head);
    let revision = query.take("revision", "the number of a revision; 0: there is none")?;
    query.finish().map(|()| revision)
}

fn store(fleet: &Fleet) -> Result<&Store, Problem> {
    let detail =
        "routes are written to the bucket of endpoints, and this daemon has none: set endpoints.bucket";
    fleet.store().ok_or_else(|| Problem::new(ProblemKind::NoBucket, detail))
}

fn written(name: &RouteName, revision: u64) -> Answer {
    server::json(StatusCode::OK, &Written { name: name.to_string(), revision })
}

/// Why the bucket does not have it.
pub(super) fn problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Mistakes(mistakes) => {
            let told: Vec<_> = mistakes.iter().take(TOLD).map(ToString::to_string).collect();
            let detail = "the route has mistakes, and nothing was written";
            Problem::new(ProblemKind::Refused, detail).with("mistakes", told)
        }
        StoreError::Absent => Problem::new(ProblemKind::NoSuchRoute, error.to_string()),
        StoreError::Changed => Problem::new(ProblemKind::Changed, error.to_string()),
        _ => Problem::new(ProblemKind::Bucket, error.to_string()),
    }
}
