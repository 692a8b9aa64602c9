//! The dead letters in a stream: finding, reading and removing them. For the command `dead-letters` only: the daemon
//! writes letters and never reads them.
//!
//! Each letter is asked for by itself. A consumer would give many at once, but a stream that is a work queue lets nobody
//! look at it by a consumer; and the client library ends the process over some headers that a stranger may publish, while
//! this answer has them in base64.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use async_nats::{
    Client,
    jetstream::{
        self, ErrorCode,
        context::{Context, GetStreamByNameErrorKind, GetStreamErrorKind},
        response::Response,
        stream::{Info, Stream},
    },
};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::task::JoinSet;

use super::Stored;
use crate::config::PublishSubject;

/// How many letters are asked for at once, at most: enough to go through a large stream quickly.
const MOST: usize = 64;
/// About how many bytes of them. Their payloads come along.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How long a request may take. A server that is busy with a large stream may need more than the client's five seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The dead letters can't be reached.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing keeps them.
    #[error(
        "no stream keeps the subject {0}: dead letters are only kept where one does (set dead_letter.stream and \
         dead_letter.create)"
    )]
    NoStream(PublishSubject),
    /// They can't be removed.
    #[error("the stream {stream} does not let letters be removed ({setting})")]
    Kept {
        /// The stream.
        stream: String,
        /// The setting that forbids it.
        setting: &'static str,
    },
    /// Somebody else replays them.
    #[error("another replay of the stream {0} is under way")]
    Claimed(String),
    /// Nothing tells whether somebody else replays them.
    #[error(
        "cannot tell whether another replay is under way: the user needs the permission to publish and subscribe to {0}, \
         and to subscribe to its inbox"
    )]
    Unclaimable(String),
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

/// How far somebody has read.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The sequence of the last letter that was read.
    after: u64,
    window: NonZeroUsize,
    is_at_end: bool,
}

impl Cursor {
    /// Before the first letter.
    pub const START: Self = Self { after: 0, window: NonZeroUsize::MIN, is_at_end: false };

    /// Whether nothing was found there the last time.
    pub const fn is_at_end(&self) -> bool {
        self.is_at_end
    }
}

/// A message as the stream gives it.
#[derive(Deserialize)]
struct Answer {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    time: String,
}

impl Store {
    /// Finds the stream that keeps `subject`. Fails where none does, or where JetStream does not answer.
    pub async fn open(client: Client, subject: &PublishSubject) -> Result<Self, StoreError> {
        let mut context = jetstream::new(client);
        context.set_timeout(PATIENCE);
        let name = context.stream_by_subject(subject.as_str()).await.map_err(|error| match error.kind() {
            GetStreamByNameErrorKind::NotFound => StoreError::NoStream(subject.clone()),
            _ => failed("ask JetStream for the stream")(error),
        })?;
        let stream = context.get_stream(name).await.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                StoreError::NoStream(subject.clone())
            }
            _ => failed("open the stream")(error),
        })?;
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

    /// An error where letters can't be removed: whoever delivers them would deliver them again and again.
    pub fn removable(&self) -> Result<(), StoreError> {
        let config = &self.stream.cached_info().config;
        let setting = match config {
            config if config.sealed => "sealed",
            config if config.deny_delete => "deny_delete",
            _ => return Ok(()),
        };
        Err(StoreError::Kept { stream: config.name.clone(), setting })
    }

    /// Whether the stream keeps letters under the subject that they are published to.
    fn is_plain(&self) -> bool {
        self.stream.cached_info().config.subject_transform.is_none()
    }

    /// Under what the stream keeps them: anything, where it gives them other subjects.
    fn filter(&self) -> &str {
        if self.is_plain() { self.subject.as_str() } else { ">" }
    }

    /// How many letters there are.
    pub async fn count(&self) -> Result<u64, StoreError> {
        #[derive(Deserialize)]
        struct Counted {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            subjects: Option<BTreeMap<String, u64>>,
        }

        let api = format!("STREAM.INFO.{}", self.name());
        let question = json!({ "subjects_filter": self.filter() });
        match self.context.request(api, &question).await.map_err(failed("count the letters"))? {
            Response::Ok(Counted { state }) => Ok(state.subjects.unwrap_or_default().values().sum()),
            Response::Err { error } => Err(failed("count the letters")(error)),
        }
    }

    /// The next letters, in the order of the stream. None may be found before the [end](Cursor::is_at_end), too.
    pub async fn page(&self, cursor: &mut Cursor) -> Result<Vec<Stored>, StoreError> {
        // A letter is found by the sequence from which on to look for it. Where they lie close to each other, many are
        // found at once from so many sequences in a row.
        let mut asked = JoinSet::new();
        for ahead in 0..cursor.window.get() as u64 {
            let question = json!({ "seq": cursor.after + 1 + ahead, "next_by_subj": self.filter() });
            asked.spawn(read(self.context.clone(), self.name().to_owned(), question));
        }
        let mut found = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            if let Some(raw) = answer.map_err(failed("read the stream"))?? {
                found.insert(raw.seq, raw);
            }
        }
        // Between two that were found there is none that was not asked for.
        cursor.is_at_end = found.is_empty();
        if let Some(last) = found.keys().last() {
            (cursor.after, cursor.window) = (*last, window(cursor.window, &found));
        }
        let letters = found.values().map(|raw| self.letter(raw)).collect::<Result<Vec<_>, _>>()?;
        Ok(letters.into_iter().filter(|letter| self.is_plain() || letter.route().is_some()).collect())
    }

    fn letter(&self, raw: &Raw) -> Result<Stored, StoreError> {
        let decoded = |text: &str| BASE64.decode(text.as_bytes()).map_err(failed("read a dead letter"));
        let at = humantime::parse_rfc3339(&raw.time).unwrap_or(SystemTime::UNIX_EPOCH);
        let (block, payload) = (decoded(&raw.hdrs)?.into(), decoded(&raw.data)?.into());
        Ok(Stored::new((self.name(), raw.seq), &raw.subject, at, &block, payload))
    }

    /// The whole letter with this sequence, payload included; none where it is gone.
    pub async fn get(&self, sequence: u64) -> Result<Option<Stored>, StoreError> {
        let raw = read(self.context.clone(), self.name().to_owned(), json!({ "seq": sequence })).await?;
        raw.map(|raw| self.letter(&raw)).transpose()
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

    /// Removes all letters of the subject, not what else the stream keeps, where that can be done at once. Returns how many
    /// there were; none where they have to be removed one by one.
    pub async fn purge(&self) -> Result<Option<u64>, StoreError> {
        if !self.is_plain() || self.stream.cached_info().config.deny_purge {
            return Ok(None);
        }
        let purged = self.stream.purge().filter(self.subject.as_str()).await;
        purged.map(|purged| Some(purged.purged)).map_err(failed("purge the stream"))
    }
}

/// How many letters to ask for next, when so many were found with this `window`.
fn window(window: NonZeroUsize, found: &BTreeMap<u64, Raw>) -> NonZeroUsize {
    // Where they lie far from each other, most of the answers are the same letter.
    let next = if found.len() * 2 > window.get() { window.get() * 2 } else { found.len() };
    let bytes: usize = found.values().map(|raw| raw.data.len() + raw.hdrs.len()).sum();
    let average = bytes / found.len().max(1);
    NonZeroUsize::new(next.min(MOST).min(MOST_BYTES / average.max(1))).unwrap_or(NonZeroUsize::MIN)
}

async fn read(context: Context, stream: String, question: Value) -> Result<Option<Raw>, StoreError> {
    match context
        .request(format!("STREAM.MSG.GET.{stream}"), &question)
        .await
        .map_err(failed("read the stream"))?
    {
        Response::Ok(Answer { message }) => Ok(Some(message)),
        Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        Response::Err { error } => Err(failed("read the stream")(error)),
    }
}
