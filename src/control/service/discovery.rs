//! What a service says of itself when it is looked for: the answers to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Value, json};

use super::acts::{Act, Who};
use crate::base::clock::rfc3339;

/// What a service is looked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Who is there.
    Ping,
    /// What can be asked for.
    Info,
    /// What was asked for.
    Stats,
}

/// Who the service is.
pub(super) struct Identity {
    pub(super) name: String,
    /// Of this process: no other has the same.
    pub(super) id: String,
    /// The name of this machine, or pod.
    replica: String,
    started: SystemTime,
}

/// What was asked of an endpoint so far.
#[derive(Debug, Default)]
pub(super) struct Figures {
    requests: u64,
    errors: u64,
    last_error: String,
    time: Duration,
}

/// What every answer begins with.
#[derive(Serialize)]
struct Answer<'s> {
    r#type: &'static str,
    name: &'s str,
    id: &'s str,
    version: &'static str,
    metadata: Value,
    #[serde(flatten)]
    more: Value,
}

impl Verb {
    pub(super) const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    /// Where the service of this name is looked for.
    pub fn subject(self, service: &str) -> String {
        format!("$SRV.{}.{service}", self.word())
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        }
    }
}

impl Identity {
    pub(super) fn new(name: &str, replica: &str) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        Self { name: name.to_owned(), id, replica: replica.to_owned(), started: SystemTime::now() }
    }

    /// The queue group in which `act` is listened to, where one replica is to answer.
    pub(super) fn queue_group(&self, act: Act) -> Option<&str> {
        (act.who() == Who::One).then_some(&self.name)
    }

    /// Where it is looked for: as any service, by its name, and as this process.
    pub(super) fn subjects(&self, verb: Verb) -> [String; 3] {
        let by_name = verb.subject(&self.name);
        [format!("$SRV.{}", verb.word()), by_name.clone(), format!("{by_name}.{}", self.id)]
    }

    /// The answer to `verb`, as JSON.
    pub(super) fn tell(&self, verb: Verb, acts: &[(Act, Figures)]) -> Vec<u8> {
        let (kind, more) = match verb {
            Verb::Ping => ("io.nats.micro.v1.ping_response", json!({})),
            Verb::Info => ("io.nats.micro.v1.info_response", self.info(acts)),
            Verb::Stats => ("io.nats.micro.v1.stats_response", self.stats(acts)),
        };
        let metadata = json!({ "commit": crate::COMMIT, "replica": self.replica });
        let answer =
            Answer { r#type: kind, name: &self.name, id: &self.id, version: crate::VERSION, metadata, more };
        serde_json::to_vec(&answer).unwrap_or_default()
    }

    fn info(&self, acts: &[(Act, Figures)]) -> Value {
        let endpoint = |(act, _): &(Act, Figures)| {
            json!({
                "name": act.name(),
                "subject": act.subject(&self.name),
                "queue_group": self.queue_group(*act).unwrap_or_default(),
                "metadata": {
                    "description": act.description(), "own_subject": act.own_subject(&self.name, &self.id),
                },
            })
        };
        json!({
            "description": "Delivers messages from NATS to HTTP webhooks; every replica answers",
            "endpoints": acts.iter().map(endpoint).collect::<Vec<_>>(),
        })
    }

    fn stats(&self, acts: &[(Act, Figures)]) -> Value {
        let endpoint = |(act, figures): &(Act, Figures)| {
            let nanos = u64::try_from(figures.time.as_nanos()).unwrap_or(u64::MAX);
            json!({
                "name": act.name(),
                "subject": act.subject(&self.name),
                "queue_group": self.queue_group(*act).unwrap_or_default(),
                "num_requests": figures.requests,
                "num_errors": figures.errors,
                "last_error": figures.last_error,
                "processing_time": nanos,
                "average_processing_time": nanos.checked_div(figures.requests).unwrap_or_default(),
            })
        };
        json!({
            "started": rfc3339(self.started),
            "endpoints": acts.iter().map(endpoint).collect::<Vec<_>>(),
        })
    }
}

impl Figures {
    /// Counts a question that took so long, and the code and the words of what was wrong with it.
    pub(super) fn count(&mut self, took: Duration, failed: Option<(u16, &str)>) {
        self.requests += 1;
        self.time += took;
        if let Some((code, words)) = failed {
            self.errors += 1;
            self.last_error = format!("{code}:{words}");
        }
    }
}
