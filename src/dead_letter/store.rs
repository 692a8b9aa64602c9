//! The dead letters in a stream: finding, reading and removing them. For the command `dead-letters` only: the daemon
//! writes letters and never reads them.

use std::{
    future::poll_fn,
    pin::Pin,
    time::{Duration, SystemTime},
};

use async_nats::jetstream::{
    self, ErrorCode,
    consumer::{AckPolicy, DeliverPolicy, pull},
    context::{Context, GetStreamByNameErrorKind},
    response::Response,
    stream::{Info, RawMessageErrorKind, Stream},
};
use futures_core::Stream as _;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::timeout;

use super::Stored;
use crate::{config::PublishSubject, nats::NatsConnection};

/// How many letters are read at once, without their payloads: enough to go through a large stream quickly, few enough
/// for memory.
const PAGE: usize = 1000;
/// How long the stream may take for the next letter of a page, and how long the server keeps a consumer that nobody
/// deletes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The dead letters can't be reached.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing keeps them.
    #[error(
        "no stream keeps the subject {0}: dead letters are only kept where one does (set dead_letter.stream and \
         dead_letter.create)"
    )]
    NoStream(PublishSubject),
    /// A request failed.
    #[error("cannot {doing}: {cause}")]
    Request {
        /// What was asked for.
        doing: &'static str,
        /// Why it failed.
        cause: String,
    },
}

fn failed<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> StoreError {
    move |cause| StoreError::Request { doing, cause: cause.to_string() }
}

/// The dead letters of one subject in the stream that keeps it.
#[derive(Debug)]
pub struct Store {
    context: Context,
    stream: Stream<Info>,
    subject: PublishSubject,
}

/// Some letters without their payloads, in the order of the stream.
#[derive(Debug)]
pub struct Listing {
    /// The letters; none at the end.
    pub letters: Vec<Stored>,
    /// How many there are in the stream from the first of these on.
    pub left: u64,
}

impl Store {
    /// Finds the stream that keeps `subject`. Fails where none does, or where JetStream does not answer.
    pub async fn open(connection: &NatsConnection, subject: &PublishSubject) -> Result<Self, StoreError> {
        let context = jetstream::new(connection.client().clone());
        let name = context.stream_by_subject(subject.as_str()).await.map_err(|error| match error.kind() {
            GetStreamByNameErrorKind::NotFound => StoreError::NoStream(subject.clone()),
            _ => failed("ask JetStream for the stream")(error),
        })?;
        let stream = context.get_stream(name).await.map_err(failed("open the stream"))?;
        Ok(Self { context, stream, subject: subject.clone() })
    }

    /// The name of the stream.
    pub fn name(&self) -> &str {
        &self.stream.cached_info().config.name
    }

    /// The sequence of the last message in the stream when it was opened. Whoever goes through the letters stops there:
    /// a replay that fails may add new ones all the time.
    pub fn last(&self) -> u64 {
        self.stream.cached_info().state.last_sequence
    }

    /// The next letters after the sequence `after`. Each page is asked for by itself, so that a connection that breaks
    /// in between leaves nothing behind.
    pub async fn page(&self, after: u64) -> Result<Listing, StoreError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            // Looking at letters must change nothing: they stay until they are removed.
            ack_policy: AckPolicy::None,
            filter_subject: self.subject.to_string(),
            headers_only: true,
            inactive_threshold: PATIENCE,
            // It lives for one page, so nothing of it is worth being written to a disk or copied to other servers.
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self.stream.create_consumer(config).await.map_err(failed("read the stream"))?;
        let left = consumer.cached_info().num_pending;
        let expected = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
        let mut letters = Vec::with_capacity(expected);
        if expected > 0 {
            let fetched = consumer.fetch().max_messages(expected).messages().await;
            let mut batch = fetched.map_err(failed("read the stream"))?;
            while let Some(message) = timeout(PATIENCE, poll_fn(|cx| Pin::new(&mut batch).poll_next(cx)))
                .await
                .map_err(failed("read the stream"))?
            {
                letters.push(self.look_at(&message.map_err(failed("read the stream"))?)?);
            }
        }
        let name = &consumer.cached_info().name;
        // One that could not be deleted goes away by itself, after `inactive_threshold`.
        drop(self.stream.delete_consumer(name).await);
        Ok(Listing { letters, left })
    }

    fn look_at(&self, message: &jetstream::Message) -> Result<Stored, StoreError> {
        let info = message.info().map_err(failed("read the stream"))?;
        let at: SystemTime = info.published.into();
        let position = (self.name(), info.stream_sequence);
        Ok(Stored::new(position, &message.subject, at, message.headers.as_ref(), message.payload.clone()))
    }

    /// The whole letter with this sequence, payload included; none where it is gone.
    pub async fn get(&self, sequence: u64) -> Result<Option<Stored>, StoreError> {
        match self.stream.get_raw_message(sequence).await {
            Ok(found) => {
                let position = (self.name(), found.sequence);
                let at: SystemTime = found.time.into();
                Ok(Some(Stored::new(position, &found.subject, at, Some(&found.headers), found.payload)))
            }
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::NO_MESSAGE_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(failed("read a dead letter")(error)),
            },
        }
    }

    /// Removes the letter with this sequence. One that is gone already is as good as removed.
    pub async fn remove(&self, sequence: u64) -> Result<(), StoreError> {
        // The client's own call has the server overwrite the message on disk first, which takes a hundred times as
        // long.
        let api = format!("STREAM.MSG.DELETE.{}", self.name());
        let question = json!({ "seq": sequence, "no_erase": true });
        let cause = match self.context.request(api, &question).await {
            Ok(Response::<Value>::Ok(_)) => return Ok(()),
            Ok(Response::Err { error }) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // A failed request may be one whose answer was lost, or a letter that somebody else has removed.
        match self.get(sequence).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(failed("remove a dead letter")(cause)),
        }
    }

    /// Removes all letters of the subject, not what else the stream keeps. Returns how many there were.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let purged = self.stream.purge().filter(self.subject.as_str()).await;
        purged.map(|purged| purged.purged).map_err(failed("purge the stream"))
    }
}
