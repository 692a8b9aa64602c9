//! What clients may ask the service for, and what it does then.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;
use tracing::info;

use super::Parts;
use crate::{
    config::{RouteName, ServiceAccess},
    control::{
        reload::{ReloadError, Report},
        status::Query,
    },
    endpoints::{Reach, StoreError},
    route::hold::Hold,
};

/// A question is no larger, in bytes.
const LARGEST: usize = 4 * 1024;
/// How long somebody waits for a reload. It goes on after that, but nobody else is answered meanwhile.
const RELOADING: Duration = Duration::from_secs(10);

/// What clients may ask for: the endpoints of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Status,
    Pause,
    Resume,
    Reload,
}

/// What could not be done, in words for whoever has asked.
#[derive(Debug, Error)]
pub(super) enum Failed {
    #[error("expected a JSON object such as {{\"route\": \"todos\"}} of {LARGEST} bytes at most")]
    Unread,
    #[error("expected the name of a route, as in {{\"route\": \"todos\"}}")]
    NoRoute,
    #[error("there is no route of this name")]
    UnknownRoute,
    #[error("the answer is larger than NATS takes: ask for one route, as in {{\"route\": \"todos\"}}")]
    TooLarge,
    #[error("the configuration is still being read")]
    Late,
    #[error("the configuration is refused: what ran before runs on")]
    Reload(#[source] ReloadError),
    #[error("the bucket of endpoints does not take it")]
    NotWritten(#[source] StoreError),
}

/// What a question says; nothing says the same as an empty object.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    route: Option<String>,
    why: Option<String>,
}

impl Act {
    pub(super) const ALL: [Self; 4] = [Self::Status, Self::Pause, Self::Resume, Self::Reload];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Reload => "reload",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Status => "How the process and its routes are doing; {\"route\": NAME} for all of one",
            Self::Pause => "Has the messages of a route wait: {\"route\": NAME, \"why\": TEXT}",
            Self::Resume => "Ends that: {\"route\": NAME}",
            Self::Reload => "Reads the configuration again, and applies it where nothing is wrong with it",
        }
    }

    /// What has to be allowed for it.
    pub(super) const fn needs(self) -> ServiceAccess {
        match self {
            Self::Status => ServiceAccess::Read,
            Self::Pause | Self::Resume | Self::Reload => ServiceAccess::Act,
        }
    }

    /// Where the service of this name is asked for it. Reading has a subject of its own beside what changes something, so
    /// that permissions can tell them apart.
    pub(super) fn subject(self, service: &str) -> String {
        let kind = if self.needs() == ServiceAccess::Read { "read" } else { "act" };
        format!("{service}.service.{kind}.{}", self.name())
    }

    /// Does what `question` asks for; the answer is JSON.
    pub(super) async fn run(self, parts: &Parts, question: &[u8]) -> Result<Vec<u8>, Failed> {
        let question = Question::read(question)?;
        match self {
            Self::Status => status(parts, &question),
            Self::Pause => {
                let route = question.known_route(parts)?;
                let (why, by, since) = (question.why(), "a client of NATS".to_owned(), SystemTime::now());
                let hold = Hold { why, by, since };
                let reach = parts.fleet.hold(&route, hold).await.map_err(Failed::NotWritten)?;
                Ok(held(parts, &route, true, reach))
            }
            Self::Resume => {
                let route = question.known_route(parts)?;
                let reach = parts.fleet.release(&route).await.map_err(Failed::NotWritten)?;
                Ok(held(parts, &route, false, reach))
            }
            Self::Reload => reload(parts).await,
        }
    }
}

/// What a hold, or the end of one, has come to.
fn held(parts: &Parts, route: &RouteName, is_held: bool, reach: Reach) -> Vec<u8> {
    let generation = parts.registry.current().generation;
    json_bytes(&json!({ "route": route.as_str(), "held": is_held, "reach": reach, "generation": generation }))
}

fn status(parts: &Parts, question: &Question) -> Result<Vec<u8>, Failed> {
    match &question.route {
        None => Ok(json_bytes(&parts.board.status(&Query::default()))),
        Some(route) => parts.board.route(route).map(|detail| json_bytes(&detail)).ok_or(Failed::UnknownRoute),
    }
}

async fn reload(parts: &Parts) -> Result<Vec<u8>, Failed> {
    info!("a client of NATS asks for a reload");
    let reloaded = timeout(RELOADING, parts.reloader.reload()).await.map_err(|_late| Failed::Late)?;
    let Report { generation, changes, need_restart } = reloaded.map_err(Failed::Reload)?;
    let names =
        |routes: &[RouteName]| routes.iter().map(|route| route.as_str().to_owned()).collect::<Vec<_>>();
    Ok(json_bytes(&json!({
        "generation": generation,
        "added": names(&changes.added),
        "changed": names(&changes.changed),
        "removed": names(&changes.removed),
        "need_restart": need_restart,
    })))
}

impl Question {
    fn read(question: &[u8]) -> Result<Self, Failed> {
        if question.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let is_short = question.len() <= LARGEST;
        is_short.then(|| serde_json::from_slice(question).ok()).flatten().ok_or(Failed::Unread)
    }

    /// What for, in one line: it goes into the log.
    fn why(self) -> Option<String> {
        self.why.map(|why| why.replace(|letter: char| letter.is_control(), " "))
    }

    fn known_route(&self, parts: &Parts) -> Result<RouteName, Failed> {
        let name = self.route.as_deref().ok_or(Failed::NoRoute)?;
        let name = name.parse().map_err(|_| Failed::UnknownRoute)?;
        parts.registry.current().get(&name).map(|route| route.name().clone()).ok_or(Failed::UnknownRoute)
    }
}

impl Failed {
    /// The status of HTTP that says the same.
    pub(super) const fn code(&self) -> u16 {
        match self {
            Self::Unread | Self::NoRoute => 400,
            Self::UnknownRoute => 404,
            Self::Reload(_) => 409,
            Self::TooLarge => 413,
            Self::NotWritten(_) => 502,
            Self::Late => 504,
        }
    }

    /// The answer, as JSON.
    pub(super) fn told(&self) -> Vec<u8> {
        let mistakes = if let Self::Reload(error) = self { error.told() } else { Vec::new() };
        json_bytes(&json!({ "error": self.to_string(), "mistakes": mistakes }))
    }
}

fn json_bytes(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_an_object_or_nothing() {
        for nothing in ["", " \n", "{}"] {
            assert!(Question::read(nothing.as_bytes()).is_ok_and(|question| question.route.is_none()));
        }
        let question = Question::read(b"{\"route\": \"todos\", \"why\": \"deploy\"}").unwrap();
        assert_eq!((question.route.as_deref(), question.why.as_deref()), (Some("todos"), Some("deploy")));
        let long = format!("{{\"route\": \"{}\"}}", "a".repeat(LARGEST));
        for wrong in ["[]", "todos", "{\"rout\": 1}", "{\"route\": 1}", "\u{0}", &long] {
            assert!(matches!(Question::read(wrong.as_bytes()), Err(Failed::Unread)), "{wrong}");
        }
    }

    #[test]
    fn what_changes_something_has_subjects_of_its_own() {
        assert_eq!(Act::Status.subject("fleet"), "fleet.service.read.status");
        let acts = Act::ALL.into_iter().filter(|act| act.needs() == ServiceAccess::Act);
        let subjects: Vec<_> = acts.map(|act| act.subject("fleet")).collect();
        assert_eq!(
            subjects,
            ["fleet.service.act.pause", "fleet.service.act.resume", "fleet.service.act.reload"]
        );
    }
}
