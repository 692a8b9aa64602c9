//! Questions that change nothing: to the server about our user, to JetStream about streams and consumers.

use std::{cell::Cell, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::{sync::Mutex, time::sleep};

use super::permissions::User;
use crate::nats::{NatsConnection, Replies, SetUpError};

/// How long an answer may take. JetStream answers within milliseconds, or chooses a leader just now.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a question has no answer that is of use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum NoAnswer {
    #[error("the user may not ask: it needs to publish to {0}")]
    Forbidden(String),
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
    connection: NatsConnection,
    replies: Mutex<Replies>,
    /// Whether JetStream was asked in vain: then the rest of the questions need not wait as long, one after the other.
    is_silent: Cell<bool>,
}

impl Api {
    pub(super) async fn over(connection: NatsConnection) -> Result<Self, SetUpError> {
        let replies = Mutex::new(Replies::over(&connection).await?);
        Ok(Self { connection, replies, is_silent: Cell::new(false) })
    }

    /// What the server says of the user that we have logged in as.
    pub(super) async fn user(&self) -> Result<User, NoAnswer> {
        let answer = self.ask("$SYS.REQ.USER.INFO".to_owned(), Bytes::new()).await?;
        User::read(&answer).ok_or_else(odd)
    }

    /// What JetStream says of a stream.
    pub(super) async fn stream<T: DeserializeOwned>(&self, stream: &str) -> Result<T, NoAnswer> {
        self.jetstream(format!("STREAM.INFO.{stream}"), &Value::Null).await
    }

    /// What JetStream says of a consumer.
    pub(super) async fn consumer<T: DeserializeOwned>(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<T, NoAnswer> {
        self.jetstream(format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null).await
    }

    /// The stream that has a subject, where one has.
    pub(super) async fn stream_with(&self, subject: &str) -> Result<Option<String>, NoAnswer> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            streams: Option<Vec<String>>,
        }
        let names: Names = self.jetstream("STREAM.NAMES".to_owned(), &json!({ "subject": subject })).await?;
        Ok(names.streams.unwrap_or_default().into_iter().next())
    }

    async fn jetstream<T: DeserializeOwned>(&self, api: String, question: &Value) -> Result<T, NoAnswer> {
        if self.is_silent.get() {
            return Err(NoAnswer::Silence);
        }
        let question = if question.is_null() { Bytes::new() } else { question.to_string().into() };
        let answer = self.ask(format!("$JS.API.{api}"), question).await;
        self.is_silent.set(answer == Err(NoAnswer::Silence));
        let answer = answer?;
        if let Ok(Failed { error }) = serde_json::from_slice(&answer) {
            return Err(error.into());
        }
        serde_json::from_slice(&answer).map_err(|_| odd())
    }

    async fn ask(&self, subject: String, question: Bytes) -> Result<Bytes, NoAnswer> {
        let mut replies = self.replies.lock().await;
        let forbidden = NoAnswer::Forbidden(subject.clone());
        tokio::select! {
            // The refusal first: a request that was refused gets no answer, and would be taken for silence.
            biased;
            () = self.refused(&subject) => Err(forbidden),
            answer = replies.ask(subject.clone(), question, PATIENCE) => match answer {
                None => Err(NoAnswer::Silence),
                Some(answer) if answer.status.is_some() => Err(NoAnswer::NoJetStream),
                Some(answer) => Ok(answer.payload),
            }
        }
    }

    /// Returns when the server has said that we may not publish to `subject`: it says so in no answer.
    async fn refused(&self, subject: &str) {
        while !self.connection.state().refused_publication(subject) {
            sleep(Duration::from_millis(10)).await;
        }
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
