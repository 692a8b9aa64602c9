//! What JetStream is asked for: streams and consumers, as JSON over the connection of the lane.

use std::{rc::Rc, sync::Arc, time::Duration};

use async_nats::jetstream::{consumer, stream};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use thiserror::Error;

use super::answers::Answers;
use crate::{config::Jetstream, nats::ConnectionState};

/// How long JetStream may take to answer. While a leader is chosen it does not answer at all, so that asking again soon is
/// better than waiting.
const ANSWER: Duration = Duration::from_secs(1);

pub(super) struct Api {
    answers: Rc<Answers>,
    state: Arc<ConnectionState>,
    /// What the subjects of its requests begin with.
    prefix: String,
    stream: String,
    consumer: String,
}

/// Why JetStream does not do what it is asked for.
#[derive(Debug, Error)]
pub(super) enum ApiError {
    #[error("JetStream does not answer")]
    Silence,
    #[error("nobody answers for JetStream: it is not enabled, or its server is away")]
    NoResponders,
    #[error("NATS refuses the inbox for the answers of JetStream: {0}")]
    Inbox(String),
    #[error("NATS refuses the request: the user needs the permission to publish to {0}")]
    Forbidden(String),
    #[error("{description} ({code})")]
    Refused { code: u64, description: String },
    #[error("what JetStream says can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// The codes of JetStream (server/errors.json of nats-server) that are no trouble.
mod codes {
    pub(super) const CONSUMER_NOT_FOUND: u64 = 10_014;
    pub(super) const STREAM_NOT_FOUND: u64 = 10_059;
    pub(super) const CONSUMER_EXISTS: u64 = 10_148;
    pub(super) const CONSUMER_NAME_EXISTS: u64 = 10_013;
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl ApiError {
    const fn has_code(&self, wanted: u64) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

impl Api {
    /// For the stream and the consumer of `jetstream`.
    pub(super) fn new(answers: Rc<Answers>, jetstream: &Jetstream) -> Self {
        let (stream, consumer) = (jetstream.stream.to_string(), jetstream.consumer.to_string());
        let state = answers.connection_state();
        Self { answers, state, prefix: jetstream.api(), stream, consumer }
    }

    /// The stream; none where there is none.
    pub(super) async fn stream(&self) -> Result<Option<stream::Info>, ApiError> {
        let subject = format!("STREAM.INFO.{}", self.stream);
        match self.request(&subject, &[]).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.has_code(codes::STREAM_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The consumer; none where there is none.
    pub(super) async fn consumer(&self) -> Result<Option<consumer::Info>, ApiError> {
        let subject = format!("CONSUMER.INFO.{}.{}", self.stream, self.consumer);
        match self.request(&subject, &[]).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.has_code(codes::CONSUMER_NOT_FOUND) => Ok(None),
            Err(error) if error.has_code(codes::STREAM_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the consumer, unless there is one: another replica may have been quicker. Returns whether it was made.
    pub(super) async fn create(&self, config: &consumer::Config) -> Result<bool, ApiError> {
        // The action keeps it from overwriting the settings of one that is there.
        let request = json!({ "stream_name": self.stream, "config": config, "action": "create" });
        let filter = if config.filter_subject.is_empty() { "" } else { "." };
        let subject =
            format!("CONSUMER.CREATE.{}.{}{filter}{}", self.stream, self.consumer, config.filter_subject);
        match self.request::<consumer::Info>(&subject, request.to_string().as_bytes()).await {
            Ok(_) => Ok(true),
            Err(error)
                if error.has_code(codes::CONSUMER_EXISTS) || error.has_code(codes::CONSUMER_NAME_EXISTS) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Where messages of the consumer are asked for.
    pub(super) fn next_subject(&self) -> String {
        format!("{}.CONSUMER.MSG.NEXT.{}.{}", self.prefix, self.stream, self.consumer)
    }

    async fn request<T: DeserializeOwned>(&self, what: &str, question: &[u8]) -> Result<T, ApiError> {
        let subject = format!("{}.{what}", self.prefix);
        let refusals = || self.state.refused_publications(&subject);
        let before = refusals();
        let Some(answer) = self.answers.ask(&subject, question, ANSWER).await else {
            return Err(match self.answers.refusal() {
                Some(why) => ApiError::Inbox(why),
                None if refusals() > before => ApiError::Forbidden(subject),
                None => ApiError::Silence,
            });
        };
        if answer.status() == Some(503) {
            return Err(ApiError::NoResponders);
        }
        let mut answer: serde_json::Value = serde_json::from_slice(&answer.payload())?;
        if let Some(refusal) = answer.get_mut("error").map(serde_json::Value::take) {
            let Refusal { err_code, description } = serde_json::from_value(refusal)?;
            return Err(ApiError::Refused { code: err_code, description });
        }
        Ok(serde_json::from_value(answer)?)
    }
}
