//! How the process and its routes are doing, for whoever reaches the port: no secrets, no payloads.

use http::{Method, StatusCode};

use super::{Access, Router};
use crate::control::{
    server::{Answer, Body, Problem, ProblemKind, Reply, answer, json},
    status::{Events, Query, StatusBoard, model::Settings},
};

/// Has `router` tell what `board` knows.
pub(super) fn add(router: &mut Router, board: &StatusBoard, events: Events) {
    let (all, one) = (board.clone(), board.clone());
    router.add(Method::GET, "/api/v1/status", Access::Open, move |call| {
        Reply::Now(status(&all, call.head.query()))
    });
    router.add(Method::GET, "/api/v1/status/routes/{name}", Access::Open, move |call| {
        Reply::Now(route(&one, &call.parameter("name")))
    });
    let process = board.clone();
    router.add(Method::GET, "/api/v1/status/configuration", Access::Open, move |_| {
        Reply::Now(json(StatusCode::OK, &Settings { toml: process.settings().to_owned() }))
    });
    router.add(Method::GET, "/api/v1/status/events", Access::Open, move |call| {
        // The answer to HEAD has no body, and nobody would read the stream.
        let body = if call.head.method() == Method::HEAD { "".into() } else { Body::stream(events.follow()) };
        Reply::Now(answer(StatusCode::OK, "text/event-stream", body))
    });
}

fn status(board: &StatusBoard, query: &str) -> Answer {
    match Query::parse(query) {
        Ok(query) => json(StatusCode::OK, &board.status(&query)),
        Err(error) => Problem::new(ProblemKind::BadQuery, error.to_string()).into(),
    }
}

fn route(board: &StatusBoard, name: &str) -> Answer {
    match board.route(name) {
        Some(detail) => json(StatusCode::OK, &detail),
        None => Problem::new(ProblemKind::NoSuchRoute, "no route has this name").into(),
    }
}
