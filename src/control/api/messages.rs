//! `GET /api/v1/routes/NAME/messages` and `GET /api/v1/messages/ID`: what is in hand, message by message.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Serialize;

use super::{Access, Call, Router, input::Query, routes::Stage};
use crate::{
    base::clock::rfc3339,
    config::RouteName,
    control::server::{self, Answer, Problem, ProblemKind},
    lane::Asked,
    route::in_hand::InHand,
};

/// How many messages are shown, and how many at the most.
const SHOWN: (usize, usize) = (100, 1_000);
/// How long a lane may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Shown {
    messages: Vec<ShownMessage>,
    /// Lanes that have not answered.
    silent_lanes: Vec<usize>,
}

#[derive(Serialize)]
struct ShownMessage {
    route: String,
    id: String,
    subject: String,
    r#where: &'static str,
    lane: usize,
    received: String,
    age: f64,
    attempts: u32,
    /// In how many seconds it is tried again.
    due: Option<f64>,
    last_failure: Option<String>,
    bytes: usize,
}

/// Adds it to `router`.
pub(super) fn add(router: &mut Router, stage: &Stage) {
    let on = stage.clone();
    router.add_taking(&["limit"], Method::GET, "/api/v1/routes/{name}/messages", Access::Read, move |call| {
        let (on, asked) = (on.clone(), asked(&on, call));
        call.work(async move {
            let (name, limit) = asked?;
            Ok(on.messages(&Asked::OfRoute(name, limit), limit).await)
        })
    });
    let on = stage.clone();
    router.add(Method::GET, "/api/v1/messages/{id}", Access::Read, move |call| {
        let (on, id) = (on.clone(), call.parameter("id").into_owned().into());
        call.work(async move { Ok(on.messages(&Asked::WithId(id), SHOWN.1).await) })
    });
}

fn asked(stage: &Stage, call: &Call<'_>) -> Result<(RouteName, usize), Problem> {
    let (_, route) = stage.route(call)?;
    let mut query = Query::of(call.head);
    let expected = format!("a number from 1 to {}", SHOWN.1);
    let limit = query.take::<usize>("limit", &expected)?.unwrap_or(SHOWN.0);
    query.finish()?;
    if !(1..=SHOWN.1).contains(&limit) {
        return Err(Problem::new(ProblemKind::BadQuery, format!("limit: expected {expected}")));
    }
    Ok((route.name().clone(), limit))
}

impl Stage {
    async fn messages(&self, asked: &Asked, limit: usize) -> Answer {
        let (mut found, mut silent_lanes) = (Vec::new(), Vec::new());
        for (number, lane) in self.lanes.iter().enumerate() {
            match lane.in_hand(asked.clone(), PATIENCE).await {
                Some(messages) => found.extend(messages.into_iter().map(|message| (number, message))),
                None => silent_lanes.push(number),
            }
        }
        found.sort_by_key(|(_, (_, message))| message.received);
        found.truncate(limit);
        let messages = found.iter().map(|(lane, message)| self.shown_message(*lane, message)).collect();
        server::json(StatusCode::OK, &Shown { messages, silent_lanes })
    }

    fn shown_message(&self, lane: usize, (route, message): &(RouteName, InHand)) -> ShownMessage {
        let now = self.clock.now();
        ShownMessage {
            route: route.to_string(),
            id: message.id.clone(),
            subject: message.subject.clone(),
            r#where: message.stay.word(),
            lane,
            received: rfc3339(self.clock.wall(message.received)),
            age: now.since(message.received).as_secs_f64(),
            attempts: message.attempts,
            due: message.due.map(|due| due.since(now).as_secs_f64()),
            last_failure: message.last_failure.map(|failure| failure.label().into_owned()),
            bytes: message.bytes,
        }
    }
}
