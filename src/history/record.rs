//! An attempt at one message that is over.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    base::clock::{Clock, Time, rfc3339},
    config::RouteName,
    message::{
        Id, Message,
        outcome::{Attempt, Failure},
    },
};

/// An attempt at one message that is over, as the lanes tell it.
#[derive(Clone, Debug)]
pub struct Record {
    route: RouteName,
    id: Id,
    subject: Arc<str>,
    attempt: u32,
    messages: usize,
    result: Result<Taken, Failure>,
    cause: Option<Arc<str>>,
    began: Time,
    ended: Time,
}

/// How the webhook took it.
#[derive(Clone, Copy, Debug)]
struct Taken {
    status: u16,
    unwanted: bool,
}

/// The same as JSON has it: what is published, and what `tail` and `history` read. Readers pass over what they do not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it ended, in UTC and as RFC 3339 has it.
    pub at: String,
    /// The name of the route.
    pub route: String,
    /// The id of the message.
    pub id: String,
    /// What it was published to.
    pub subject: String,
    /// The number of this attempt at the message.
    pub attempt: u32,
    /// How many messages went together in the request.
    pub messages: usize,
    /// `delivered`, `filtered` where the webhook has said to drop it, or `failed`.
    pub outcome: String,
    /// The status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed: as in the metric label `code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in the words of whoever knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// The name of the machine, or pod, that made it.
    pub replica: String,
}

impl Record {
    /// That of `message`, one of so many `messages` in the request.
    pub(super) fn of(
        message: &Message,
        messages: usize,
        route: &RouteName,
        attempt: &Attempt,
        span: (Time, Time),
    ) -> Self {
        let (result, cause) = match attempt {
            Attempt::Delivered { status, unwanted, .. } => {
                (Ok(Taken { status: *status, unwanted: *unwanted }), None)
            }
            Attempt::Failed { failure, cause, .. } => (Err(*failure), cause.clone()),
        };
        Self {
            route: route.clone(),
            id: message.id.clone(),
            subject: Arc::clone(&message.subject),
            attempt: message.attempts,
            messages,
            result,
            cause,
            began: span.0,
            ended: span.1,
        }
    }

    /// As JSON has it, by `clock`, of the `replica` with this name.
    pub fn line(&self, clock: Clock, replica: &str) -> Line {
        let (outcome, status, reason) = match self.result {
            Ok(Taken { status, unwanted: false }) => ("delivered", Some(status), None),
            Ok(Taken { status, unwanted: true }) => ("filtered", Some(status), None),
            Err(failure) => ("failed", failure.status(), Some(failure.label().into_owned())),
        };
        Line {
            at: rfc3339(clock.wall(self.ended)),
            route: self.route.to_string(),
            id: self.id.to_string(),
            subject: self.subject.to_string(),
            attempt: self.attempt,
            messages: self.messages,
            outcome: outcome.to_owned(),
            status,
            reason,
            cause: self.cause.as_deref().map(str::to_owned),
            seconds: micros(self.ended.since(self.began)),
            replica: replica.to_owned(),
        }
    }
}

/// In seconds, without what is below a microsecond.
fn micros(took: Duration) -> f64 {
    Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).as_secs_f64()
}
