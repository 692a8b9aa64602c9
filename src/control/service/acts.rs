//! What clients may ask the service for. Each act is an operation of the API: a question says what a request would say in
//! its path, its query and its body, and the answer is that of the API.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use thiserror::Error;
use url::form_urlencoded;

use crate::{base::json::Object, config::ServiceAccess};

/// What clients may ask for: the endpoints of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// How the process and its routes are doing.
    Status,
    /// All that is told of one route.
    Route,
    /// What is in hand of a route.
    Messages,
    /// The message with an id, where it is in hand.
    Message,
    /// The level of the log.
    LogLevel,
    /// Dead letters of a route.
    DeadLetters,
    /// One of them.
    DeadLetter,
    /// How far a replay or a discard of them is.
    Job,
    /// Holds a route.
    Pause,
    /// Has a route take nothing, and deliver what it has.
    Drain,
    /// Lets a route go on.
    Resume,
    /// Sends a message to the webhook of a route.
    Test,
    /// Reads the configuration again.
    Reload,
    /// Sets the level of the log for a while.
    SetLogLevel,
    /// Writes a route to the bucket.
    Put,
    /// Removes a route from the bucket.
    Remove,
    /// Delivers dead letters after all.
    Replay,
    /// Removes dead letters for good.
    Discard,
    /// Stops the one or the other.
    StopJob,
}

/// Who answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every replica, for itself.
    All,
    /// One of them, whichever NATS chooses: what it does is done for the fleet.
    One,
}

/// What a question says: members by their names.
pub type Question = Map<String, Value>;

/// A request to the API that asks for the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub target: String,
    /// The body, where it has one.
    pub body: Option<Value>,
}

/// A question that makes no sense, in words for whoever has asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// It is neither empty nor an object.
    #[error("expected a JSON object such as {{\"route\": \"todos\"}}, or nothing: {0}")]
    NoObject(String),
    /// It names no route, and the act is about one.
    #[error("expected the name of a route, as in {{\"route\": \"todos\"}}")]
    NoRoute,
    /// It names no message, and the act is about one.
    #[error("expected the id of a message, as in {{\"id\": \"order-17\"}}")]
    NoId,
    /// It names no letter, and the act is about one.
    #[error("expected the sequence of a dead letter, as in {{\"route\": \"todos\", \"sequence\": 17}}")]
    NoSequence,
    /// It has no settings, and the act writes some.
    #[error("expected the settings of the route, as in {{\"route\": \"todos\", \"settings\": {{…}}}}")]
    NoSettings,
}

/// Reads a question; nothing says the same as an empty object.
///
/// # Errors
/// It is something else.
pub fn read(question: &[u8]) -> Result<Question, QuestionError> {
    if question.trim_ascii().is_empty() {
        return Ok(Question::new());
    }
    let read = serde_json::from_slice(question);
    read.map(|Object(question)| question).map_err(|error| QuestionError::NoObject(error.to_string()))
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Status,
        Self::Route,
        Self::Messages,
        Self::Message,
        Self::LogLevel,
        Self::DeadLetters,
        Self::DeadLetter,
        Self::Job,
        Self::Pause,
        Self::Drain,
        Self::Resume,
        Self::Test,
        Self::Reload,
        Self::SetLogLevel,
        Self::Put,
        Self::Remove,
        Self::Replay,
        Self::Discard,
        Self::StopJob,
    ];

    /// What clients know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Route => "route",
            Self::Messages => "messages",
            Self::Message => "message",
            Self::LogLevel => "log-level",
            Self::DeadLetters => "dead-letters",
            Self::DeadLetter => "dead-letter",
            Self::Job => "job",
            Self::Pause => "pause",
            Self::Drain => "drain",
            Self::Resume => "resume",
            Self::Test => "test",
            Self::Reload => "reload",
            Self::SetLogLevel => "set-log-level",
            Self::Put => "put",
            Self::Remove => "remove",
            Self::Replay => "replay",
            Self::Discard => "discard",
            Self::StopJob => "stop-job",
        }
    }

    /// What it is, and what a question may say.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Status => {
                "How the process and its routes are doing: {\"search\", \"state\", \"limit\", \"after\", \"history\"}"
            }
            Self::Route => "All that is told of a route: {\"route\": NAME}",
            Self::Messages => "What is in hand of a route: {\"route\": NAME, \"limit\": N}",
            Self::Message => "The message with an id, where it is in hand: {\"id\": TEXT}",
            Self::LogLevel => "The level of the log",
            Self::DeadLetters => {
                "Dead letters: {\"route\": NAME, \"reason\", \"failure\", \"since\", \"limit\", \"after\", …}"
            }
            Self::DeadLetter => "A dead letter: {\"route\": NAME, \"sequence\": N}",
            Self::Job => "How far a replay or a discard of dead letters is",
            Self::Pause => "Has the messages of a route wait: {\"route\": NAME, \"why\": TEXT}",
            Self::Drain => {
                "Has a route take nothing, and deliver what it has: {\"route\": NAME, \"why\": TEXT}"
            }
            Self::Resume => "Ends either: {\"route\": NAME}",
            Self::Test => {
                "Sends a message to the webhook: {\"route\": NAME, \"payload\": JSON, \"subject\": TEXT}"
            }
            Self::Reload => "Reads the configuration again, and applies it where nothing is wrong with it",
            Self::SetLogLevel => {
                "Sets the level of the log for a while: {\"level\": \"debug\", \"for\": \"10m\"}"
            }
            Self::Put => {
                "Writes a route to the bucket: {\"route\": NAME, \"settings\": {…}, \"revision\": N}"
            }
            Self::Remove => "Removes a route from the bucket: {\"route\": NAME}",
            Self::Replay => {
                "Delivers dead letters after all: {\"route\": NAME, \"reason\" or \"all\": true, …}"
            }
            Self::Discard => {
                "Removes dead letters for good: {\"route\": NAME, \"reason\" or \"all\": true, …}"
            }
            Self::StopJob => "Stops a replay or a discard",
        }
    }

    /// The method and the path by which the API is asked for it.
    pub const fn operation(self) -> (Method, &'static str) {
        match self {
            Self::Status => (Method::GET, "/api/v1/status"),
            Self::Route => (Method::GET, "/api/v1/status/routes/{name}"),
            Self::Messages => (Method::GET, "/api/v1/routes/{name}/messages"),
            Self::Message => (Method::GET, "/api/v1/messages/{id}"),
            Self::LogLevel => (Method::GET, "/api/v1/log-level"),
            Self::DeadLetters => (Method::GET, "/api/v1/dead-letters"),
            Self::DeadLetter => (Method::GET, "/api/v1/dead-letters/{sequence}"),
            Self::Job => (Method::GET, "/api/v1/dead-letters/job"),
            Self::Pause => (Method::POST, "/api/v1/routes/{name}/pause"),
            Self::Drain => (Method::POST, "/api/v1/routes/{name}/drain"),
            Self::Resume => (Method::POST, "/api/v1/routes/{name}/resume"),
            Self::Test => (Method::POST, "/api/v1/routes/{name}/test"),
            Self::Reload => (Method::POST, "/api/v1/reload"),
            Self::SetLogLevel => (Method::PUT, "/api/v1/log-level"),
            Self::Put => (Method::PUT, "/api/v1/routes/{name}"),
            Self::Remove => (Method::DELETE, "/api/v1/routes/{name}"),
            Self::Replay => (Method::POST, "/api/v1/dead-letters/replay"),
            Self::Discard => (Method::POST, "/api/v1/dead-letters/discard"),
            Self::StopJob => (Method::DELETE, "/api/v1/dead-letters/job"),
        }
    }

    /// Who answers.
    pub const fn who(self) -> Who {
        match self {
            Self::Put | Self::Remove => Who::One,
            // What a stream keeps is the same for all, and done once.
            Self::DeadLetters | Self::DeadLetter | Self::Replay | Self::Discard => Who::One,
            _ => Who::All,
        }
    }

    /// What has to be allowed for it: what only looks is got from the API by `GET`.
    pub fn needs(self) -> ServiceAccess {
        if self.operation().0 == Method::GET { ServiceAccess::Read } else { ServiceAccess::Act }
    }

    /// Where the service of this name is asked for it. Reading has subjects of its own beside what changes something, so that
    /// permissions can tell them apart.
    pub fn subject(self, service: &str) -> String {
        let kind = if self.needs() == ServiceAccess::Read { "read" } else { "act" };
        format!("{service}.service.{kind}.{}", self.name())
    }

    /// Where one replica alone is asked for it, which is known by `id`.
    pub fn own_subject(self, service: &str, id: &str) -> String {
        format!("{}.{id}", self.subject(service))
    }

    /// The request that asks the API for what `question` says: what is neither the name of the route nor the body is its
    /// query.
    ///
    /// # Errors
    /// Something is missing in it.
    pub fn request(self, mut question: Question) -> Result<Request, QuestionError> {
        let (method, template) = self.operation();
        let mut target = template.to_owned();
        for (place, member, missing) in PLACES {
            if template.contains(place) {
                let value = question.remove(member);
                let value = value.as_ref().and_then(|value| as_text(member, value)).ok_or(missing)?;
                let value = utf8_percent_encode(&value, NON_ALPHANUMERIC);
                target = target.replace(place, &value.to_string());
            }
        }
        let body = match self {
            Self::Put => Some(question.remove("settings").ok_or(QuestionError::NoSettings)?),
            _ if method == Method::POST || method == Method::PUT => {
                Some(Value::Object(std::mem::take(&mut question)))
            }
            _ => None,
        };
        if !question.is_empty() {
            let mut query = form_urlencoded::Serializer::new(String::new());
            for (name, value) in &question {
                query.append_pair(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
            target.push('?');
            target.push_str(&query.finish());
        }
        Ok(Request { method, target, body })
    }
}

/// What this member of a question is as a part of a path. Names and ids are texts.
fn as_text(member: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) if member == "sequence" => Some(number.to_string()),
        _ => None,
    }
}

/// What stands in paths for the name of a route, the id of a message and the sequence of a letter, what questions call these,
/// and what is wrong without.
const PLACES: [(&str, &str, QuestionError); 3] = [
    ("{name}", "route", QuestionError::NoRoute),
    ("{id}", "id", QuestionError::NoId),
    ("{sequence}", "sequence", QuestionError::NoSequence),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(act: Act, question: &Value) -> Result<(String, Option<Value>), QuestionError> {
        let question = question.as_object().cloned().unwrap_or_default();
        act.request(question).map(|Request { method, target, body }| (format!("{method} {target}"), body))
    }

    #[test]
    fn a_question_is_an_object_or_nothing() {
        for nothing in ["", " \n", "{}"] {
            assert_eq!(read(nothing.as_bytes()), Ok(Question::new()));
        }
        for wrong in ["[]", "todos", "{", "\u{0}", "1"] {
            let read = read(wrong.as_bytes());
            assert!(matches!(read, Err(QuestionError::NoObject(_))), "{wrong}: {read:?}");
        }
    }

    #[test]
    fn a_question_becomes_the_request_that_says_the_same() {
        let asked = |target: &str, body| Ok((target.to_owned(), body));
        let search = json!({ "search": "a b", "limit": 7, "history": true });
        let status = asked("GET /api/v1/status?history=true&limit=7&search=a+b", None);
        assert_eq!(request(Act::Status, &search), status);
        let pause = json!({ "route": "a/b", "why": "x" });
        let expected = asked("POST /api/v1/routes/a%2Fb/pause", Some(json!({ "why": "x" })));
        assert_eq!(request(Act::Pause, &pause), expected);
        let put = json!({ "route": "a", "settings": { "subject": "s" }, "revision": 3 });
        let expected = asked("PUT /api/v1/routes/a?revision=3", Some(json!({ "subject": "s" })));
        assert_eq!(request(Act::Put, &put), expected);
        assert_eq!(request(Act::Reload, &json!({})), asked("POST /api/v1/reload", Some(json!({}))));
        assert_eq!(request(Act::Pause, &json!({ "why": "x" })), Err(QuestionError::NoRoute));
        assert_eq!(request(Act::Route, &json!({ "route": "" })), Err(QuestionError::NoRoute));
        let message = asked("GET /api/v1/messages/a%2017", None);
        assert_eq!(request(Act::Message, &json!({ "id": "a 17" })), message);
        assert_eq!(request(Act::Message, &json!({ "route": "a" })), Err(QuestionError::NoId));
        let letter = asked("GET /api/v1/dead-letters/17?route=a", None);
        assert_eq!(request(Act::DeadLetter, &json!({ "route": "a", "sequence": 17 })), letter);
        assert_eq!(request(Act::DeadLetter, &json!({ "route": "a" })), Err(QuestionError::NoSequence));
        let named = json!({ "route": "a", "sequences": [1, 2] });
        assert_eq!(
            request(Act::Replay, &named),
            asked("POST /api/v1/dead-letters/replay", Some(named.clone()))
        );
        assert_eq!(request(Act::StopJob, &json!({})), asked("DELETE /api/v1/dead-letters/job", None));
        assert_eq!(request(Act::Put, &json!({ "route": "a" })), Err(QuestionError::NoSettings));
    }

    #[test]
    fn what_changes_something_has_subjects_of_its_own() {
        assert_eq!(Act::Status.subject("fleet"), "fleet.service.read.status");
        assert_eq!(Act::Pause.own_subject("fleet", "17"), "fleet.service.act.pause.17");
        let acts = Act::ALL.into_iter().filter(|act| act.needs() == ServiceAccess::Act);
        let names: Vec<_> = acts.map(Act::name).collect();
        let expected = ["pause", "drain", "resume", "test", "reload", "set-log-level", "put", "remove"];
        assert_eq!(names, [&expected[..], &["replay", "discard", "stop-job"]].concat());
    }
}
