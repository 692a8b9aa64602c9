//! All replicas of a fleet, as clients of NATS find and ask them: by the service that each of them is.

use std::{fmt, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::{DaemonError, PATIENCE, Told, refused};
use crate::{
    base::clock::Clock,
    config::{self, Sources},
    control::service::{
        ERROR_CODE, REPLICA,
        acts::{Act, Question, Who},
        discovery::Verb,
    },
    nats::{Connection, Incoming, Outgoing, Replies, jetstream::NO_RESPONDERS},
};

/// How long NATS may take to be there: somebody waits for it.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long the first replica may take to be found, and each after it.
const FIRST: Duration = Duration::from_secs(2);
const NEXT: Duration = Duration::from_millis(400);
/// How many of the last letters of an id tell replicas of the same name apart.
const SHORT: usize = 6;

/// A fleet that can be asked.
pub(in crate::cli) struct Fleet {
    connection: Connection,
    replies: Replies,
    /// The name of the service.
    service: String,
    /// The replica that alone is meant, by its name or its id.
    wanted: Option<String>,
}

/// A replica that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Replica {
    /// The id of its service.
    pub(in crate::cli) id: String,
    /// What people call it.
    pub(in crate::cli) name: String,
    /// Whether it takes what it is to be asked for.
    takes_it: bool,
}

/// What a replica says of itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    id: String,
    metadata: Metadata,
    endpoints: Vec<Endpoint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    replica: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    name: String,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl Fleet {
    /// The fleet where `sources` say, as the user that these say; `wanted` is the replica that alone is meant. Needs a runtime
    /// that takes local tasks.
    ///
    /// # Errors
    /// There is no connection to NATS.
    pub(super) async fn join(wanted: Option<String>, sources: Sources) -> Result<Self, DaemonError> {
        let (nats, service) = config::nats_and_service(sources)?;
        let connection = Connection::open(&nats, "command", Clock::start());
        let replies = Replies::over(&connection);
        if timeout(CONNECTING, connection.state().connected()).await.is_err() {
            let trouble = connection.state().trouble();
            return Err(DaemonError::Nats(trouble.unwrap_or_else(|| "no answer".to_owned())));
        }
        Ok(Self { connection, replies, service: service.name, wanted })
    }

    /// Asks those that are meant for `act`: all of them, or where one does it for all whichever takes it.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub(super) async fn ask(&mut self, act: Act, question: &Question) -> Result<Vec<Told>, DaemonError> {
        let replicas = self.find(act).await?;
        if self.wanted.is_some() {
            let mut told = Vec::new();
            for replica in replicas {
                let answer = self.ask_one(&replica, act, question.clone()).await;
                told.push(Told { replica: Some(replica), answer });
            }
            return Ok(told);
        }
        let takers = replicas.iter().filter(|replica| replica.takes_it).count();
        let enough = if act.who() == Who::One { takers.min(1) } else { takers };
        let answers = self.gather(&act.subject(&self.service), question, &replicas, enough).await?;
        let mut told = Vec::new();
        for replica in replicas {
            let answer = answers.iter().find(|answer| is_of(answer, &replica));
            let answer = match answer {
                Some(answer) => read(answer, &replica),
                // Whichever takes it has answered.
                None if act.who() == Who::One && enough > 0 && !answers.is_empty() => continue,
                None if replica.takes_it => Err(DaemonError::Silent(replica.to_string())),
                None => Err(DaemonError::NotTaken(act.name())),
            };
            let answer = match (answer, smaller(question)) {
                (Err(DaemonError::TooLarge(_)), Some(smaller)) => self.ask_one(&replica, act, smaller).await,
                (answer, _) => answer,
            };
            told.push(Told { replica: Some(replica), answer });
        }
        if told.is_empty() { Err(DaemonError::Nobody(self.service.clone())) } else { Ok(told) }
    }

    /// Asks `replica` for `act`; for less of it where the answer would be larger than NATS takes.
    ///
    /// # Errors
    /// Why there is no good answer.
    pub(super) async fn ask_one(
        &mut self,
        replica: &Replica,
        act: Act,
        mut question: Question,
    ) -> Result<Value, DaemonError> {
        if !replica.takes_it {
            return Err(DaemonError::NotTaken(act.name()));
        }
        let subject = act.own_subject(&self.service, &replica.id);
        loop {
            let answers = self.gather(&subject, &question, std::slice::from_ref(replica), 1).await?;
            let answer = answers.first().map_or_else(
                || Err(DaemonError::Silent(replica.to_string())),
                |answer| read(answer, replica),
            );
            match (answer, smaller(&question)) {
                (Err(DaemonError::TooLarge(_)), Some(smaller)) => question = smaller,
                (answer, _) => return answer,
            }
        }
    }

    /// Finds the replicas that are meant, by their names, to ask them for `act`. There is one at least.
    ///
    /// # Errors
    /// NATS can't be asked, no replica answers, or none of those that do is meant.
    pub(super) async fn find(&mut self, act: Act) -> Result<Vec<Replica>, DaemonError> {
        let asked = self.publish(&Verb::Info.subject(&self.service), &[]).await?;
        let mut found = Vec::new();
        let mut until = Instant::now() + FIRST;
        while let Ok(answer) = timeout_at(until, self.replies.next()).await {
            let (number, answer) = answer;
            if number != asked || answer.status() == Some(NO_RESPONDERS) {
                continue;
            }
            if let Some(replica) = Replica::read(&answer.payload(), act) {
                found.push(replica);
                until = Instant::now() + NEXT;
            }
        }
        tell_apart(&mut found);
        if found.is_empty() {
            return Err(DaemonError::Nobody(self.service.clone()));
        }
        match &self.wanted {
            None => Ok(found),
            Some(wanted) => choose(found, wanted),
        }
    }

    /// The first `enough` answers of `replicas` to `question`, or fewer where no more come in time.
    async fn gather(
        &mut self,
        subject: &str,
        question: &Question,
        replicas: &[Replica],
        enough: usize,
    ) -> Result<Vec<Incoming>, DaemonError> {
        let mut answers = Vec::new();
        if enough == 0 {
            return Ok(answers);
        }
        let question = serde_json::to_vec(question).unwrap_or_default();
        let asked = self.publish(subject, &question).await?;
        let until = Instant::now() + PATIENCE;
        while answers.len() < enough {
            match timeout_at(until, self.replies.next()).await {
                // All have gone since they were found.
                Ok((number, answer)) if number == asked && answer.status() == Some(NO_RESPONDERS) => break,
                Ok((number, answer)) => {
                    // One of each who is asked: who answers twice, or unasked, takes nobody's place.
                    let is_meant = |replica: &Replica| replica.takes_it && is_of(&answer, replica);
                    let is_first = |known: &Incoming| known.header(REPLICA) != answer.header(REPLICA);
                    let counts =
                        number == asked && replicas.iter().any(is_meant) && answers.iter().all(is_first);
                    answers.extend(counts.then_some(answer));
                }
                Err(_late) => break,
            }
        }
        Ok(answers)
    }

    /// Publishes a question, and returns its number: that of its answers.
    async fn publish(&mut self, subject: &str, question: &[u8]) -> Result<u64, DaemonError> {
        let state = self.connection.state();
        let refusals = state.refused_publications(subject);
        let (number, reply) = self.replies.expect();
        self.connection.publish(Outgoing::new(subject, question).replying_to(&reply))?;
        // What the server says against it has come by then.
        drop(self.connection.round_trip(FIRST).await);
        if state.refused_publications(subject) > refusals {
            return Err(DaemonError::Forbidden(format!("publish to {subject}")));
        }
        match self.replies.refusal() {
            Some(_) => Err(DaemonError::Forbidden("subscribe to its inboxes, nats.inbox_prefix".to_owned())),
            None => Ok(number),
        }
    }
}

impl Replica {
    /// One of this name.
    #[cfg(test)]
    pub(in crate::cli) fn named(name: &str) -> Self {
        Self { id: name.to_owned(), name: name.to_owned(), takes_it: true }
    }

    /// What it says of itself; none where a stranger says something.
    fn read(info: &[u8], act: Act) -> Option<Self> {
        let Info { id, metadata, endpoints } = serde_json::from_slice(info).ok()?;
        // It becomes a part of subjects.
        let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let name = if metadata.replica.is_empty() { id.clone() } else { metadata.replica };
        let takes_it = endpoints.iter().any(|endpoint| endpoint.name == act.name());
        is_id.then_some(Self { id, name, takes_it })
    }
}

/// Sorts replicas by name, and gives those that have the same one the end of their ids as well.
fn tell_apart(replicas: &mut [Replica]) {
    replicas.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    let names: Vec<_> = replicas.iter().map(|replica| replica.name.clone()).collect();
    for replica in replicas {
        if names.iter().filter(|name| **name == replica.name).count() > 1 {
            let end = replica.id.len().saturating_sub(SHORT);
            replica.name = format!("{}/{}", replica.name, replica.id.get(end..).unwrap_or_default());
        }
    }
}

/// The one of `found` that is `wanted`, by its name or its id.
fn choose(found: Vec<Replica>, wanted: &str) -> Result<Vec<Replica>, DaemonError> {
    let known = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let chosen: Vec<_> =
        found.into_iter().filter(|replica| replica.name == wanted || replica.id == wanted).collect();
    if chosen.is_empty() {
        return Err(DaemonError::Replica { wanted: wanted.to_owned(), known });
    }
    Ok(chosen)
}

fn is_of(answer: &Incoming, replica: &Replica) -> bool {
    answer.header(REPLICA).as_ref() == Some(&replica.id)
}

/// What an answer says.
fn read(answer: &Incoming, replica: &Replica) -> Result<Value, DaemonError> {
    let payload = answer.payload();
    if let Some(code) = answer.header(ERROR_CODE) {
        let status = code.parse().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Err(refused(status, &payload, &replica.name));
    }
    serde_json::from_slice(&payload).map_err(|error| DaemonError::Garbage(replica.to_string(), error.into()))
}

/// The same question, for half as much; none where it asks for no number, or for one.
fn smaller(question: &Question) -> Option<Question> {
    let limit = question.get("limit")?.as_u64().filter(|limit| *limit > 1)?;
    let mut smaller = question.clone();
    smaller.insert("limit".to_owned(), (limit / 2).into());
    Some(smaller)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replica(name: &str, id: &str) -> Replica {
        let info = json!({ "id": id, "metadata": { "replica": name }, "endpoints": [{ "name": "status" }] });
        Replica::read(info.to_string().as_bytes(), Act::Status).expect("it is one")
    }

    #[test]
    fn replicas_are_told_apart_and_chosen_by_name_or_id() {
        let mut found =
            [replica("b", "0001"), replica("a", "01a2b3c4d5"), replica("a", "01a2b3c4ff")].to_vec();
        tell_apart(&mut found);
        let names: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a/b3c4d5", "a/b3c4ff", "b"]);
        assert_eq!(choose(found.clone(), "a/b3c4ff").unwrap(), [found[1].clone()]);
        assert_eq!(choose(found.clone(), "0001").unwrap(), [found[2].clone()]);
        let none = choose(found, "c").unwrap_err();
        assert_eq!(none.to_string(), "\"c\" is not one of the replicas: a/b3c4d5, a/b3c4ff, b");
    }

    #[test]
    fn what_a_stranger_says_of_himself_is_read_with_care() {
        for wrong in ["", "{}", "[]", r#"{"id":"a.b"}"#, r#"{"id":"*"}"#, r#"{"id":1}"#] {
            assert_eq!(Replica::read(wrong.as_bytes(), Act::Status), None, "{wrong}");
        }
        let bare = Replica::read(br#"{"id":"7","more":1}"#, Act::Pause).expect("it is one");
        assert_eq!((bare.name.as_str(), bare.takes_it), ("7", false));
    }

    #[test]
    fn less_is_half_as_much() {
        let limit = |question: Value| {
            let smaller = smaller(question.as_object().expect("an object"));
            smaller.map(|smaller| smaller["limit"].clone())
        };
        assert_eq!(limit(json!({ "limit": 50 })), Some(25.into()));
        assert_eq!(limit(json!({ "limit": 1 })), None);
        assert_eq!(limit(json!({})), None);
    }
}
