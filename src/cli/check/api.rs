//! Questions that change nothing: to the server about our user, to JetStream about streams and consumers.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::sleep;

use super::permissions::User;
use crate::nats::{Connection, Replies};

/// How long an answer may take. JetStream answers within milliseconds, or chooses a leader just now.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the subjects of JetStream's API begin with, unless an operator has made something else of it.
pub(super) const USUAL: &str = "$JS.API";

/// Why a question has no answer that is of use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum NoAnswer {
    #[error("the user may not ask: it needs to publish to {0}")]
    Forbidden(String),
    #[error("the user gets no answers: {0}")]
    NoInbox(String),
    #[error("JetStream is not enabled on this server, or for this account")]
    NoJetStream,
    #[error("there is no such thing")]
    NotFound,
    #[error("no answer within 2 s")]
    Silence,
    #[error("{0}")]
    Refused(String),
}

/// A connection, for questions one after the other.
pub(super) struct Api {
    connection: Connection,
    replies: Replies,
    /// Whether JetStream was asked in vain: then the rest of the questions need not wait as long, one after the other.
    is_silent: bool,
}

impl Api {
    /// Over `connection`, which is there.
    pub(super) async fn over(connection: Connection) -> Self {
        let replies = Replies::over(&connection);
        let mut api = Self { connection, replies, is_silent: false };
        // Now it is known whether answers can come.
        api.is_silent = api.connection.round_trip(PATIENCE).await.is_err();
        api
    }

    /// The largest message that NATS takes.
    pub(super) fn max_payload(&self) -> usize {
        self.connection.max_payload()
    }

    /// Whether the user may subscribe to `subject`, outside of any queue group: that takes nothing from anybody.
    pub(super) async fn may_subscribe(&self, subject: &str) -> Result<bool, NoAnswer> {
        let subscription = self.connection.subscribe(subject, None);
        self.connection.round_trip(PATIENCE).await.map_err(|_| NoAnswer::Silence)?;
        Ok(subscription.refusal().is_none())
    }

    /// What the server says of the user that we have logged in as.
    pub(super) async fn user(&mut self) -> Result<User, NoAnswer> {
        let answer = self.ask("$SYS.REQ.USER.INFO", &[]).await?;
        User::read(&answer).ok_or_else(odd)
    }

    /// What JetStream says of a stream, asked by subjects that begin with `prefix`.
    pub(super) async fn stream<T: DeserializeOwned>(
        &mut self,
        prefix: &str,
        stream: &str,
    ) -> Result<T, NoAnswer> {
        self.jetstream(format!("{prefix}.STREAM.INFO.{stream}"), &Value::Null).await
    }

    /// What JetStream says of a consumer, asked by subjects that begin with `prefix`.
    pub(super) async fn consumer<T: DeserializeOwned>(
        &mut self,
        prefix: &str,
        stream: &str,
        consumer: &str,
    ) -> Result<T, NoAnswer> {
        self.jetstream(format!("{prefix}.CONSUMER.INFO.{stream}.{consumer}"), &Value::Null).await
    }

    /// The stream that has a subject, where one has.
    pub(super) async fn stream_with(&mut self, subject: &str) -> Result<Option<String>, NoAnswer> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            streams: Option<Vec<String>>,
        }
        let question = json!({ "subject": subject });
        let names: Names = self.jetstream(format!("{USUAL}.STREAM.NAMES"), &question).await?;
        Ok(names.streams.unwrap_or_default().into_iter().next())
    }

    async fn jetstream<T: DeserializeOwned>(
        &mut self,
        subject: String,
        question: &Value,
    ) -> Result<T, NoAnswer> {
        if self.is_silent {
            return Err(NoAnswer::Silence);
        }
        let question = if question.is_null() { String::new() } else { question.to_string() };
        let answer = self.ask(&subject, question.as_bytes()).await;
        self.is_silent = answer == Err(NoAnswer::Silence);
        let answer = answer?;
        if let Ok(Failed { error }) = serde_json::from_slice(&answer) {
            return Err(error.into());
        }
        serde_json::from_slice(&answer).map_err(|_| odd())
    }

    async fn ask(&mut self, subject: &str, question: &[u8]) -> Result<Bytes, NoAnswer> {
        if let Some(words) = self.replies.refusal() {
            return Err(NoAnswer::NoInbox(words));
        }
        let refusals = self.connection.state().refused_publications(subject);
        tokio::select! {
            // The refusal first: a request that was refused gets no answer, and would be taken for silence.
            biased;
            () = refused(&self.connection, subject, refusals) => Err(NoAnswer::Forbidden(subject.to_owned())),
            answer = self.replies.ask(subject, question, PATIENCE) => match answer {
                None => Err(NoAnswer::Silence),
                Some(answer) if answer.status().is_some() => Err(NoAnswer::NoJetStream),
                Some(answer) => Ok(answer.payload()),
            }
        }
    }
}

/// Returns when the server has said once more that we may not publish to `subject`: it says so in no answer.
async fn refused(connection: &Connection, subject: &str, before: u64) {
    while connection.state().refused_publications(subject) <= before {
        sleep(Duration::from_millis(10)).await;
    }
}

fn odd() -> NoAnswer {
    NoAnswer::Refused("the answer makes no sense".to_owned())
}

#[derive(Deserialize)]
struct Failed {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl From<Failure> for NoAnswer {
    /// By the numbers of nats-server's `errors.json`.
    fn from(Failure { err_code, description }: Failure) -> Self {
        match err_code {
            10014 | 10059 => Self::NotFound,
            10039 | 10076 => Self::NoJetStream,
            _ => Self::Refused(description),
        }
    }
}
