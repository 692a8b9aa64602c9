//! The dead letters in a stream: finding, reading and removing them.
//!
//! Each letter is asked for by itself. A consumer would give many at once, but a stream that is a work queue lets nobody
//! look at it by a consumer; and what is asked for has its headers in base64, so that whatever a stranger has published is
//! nothing but bytes to whoever reads the answer.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    rc::Rc,
    time::{Duration, SystemTime},
};

use data_encoding::BASE64;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::task::JoinSet;

use super::{Stored, asker::Asker};
use crate::{
    config::PublishSubject,
    nats::jetstream::{Asked, JetStream},
};

/// How many letters are asked for at once, at most: enough to go through a large stream quickly.
const MOST: usize = 32;
/// About how many bytes of them. Their payloads come along.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// `JSStreamNotFoundErr`.
const STREAM_NOT_FOUND: u64 = 10_059;
/// `JSNoMessageFoundErr`.
const NO_MESSAGE_FOUND: u64 = 10_037;

/// The dead letters can't be reached.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing keeps them.
    #[error(
        "no stream keeps the subject {0}: dead letters are only kept where one does (set dead_letter.stream and \
         dead_letter.create)"
    )]
    NoStream(PublishSubject),
    /// There are no streams at all.
    #[error("nothing keeps the subject {0}: JetStream is not enabled on this server, or for this account")]
    NoJetStream(PublishSubject),
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
         and to its inbox (_INBOX.>)"
    )]
    Unclaimable(String),
    /// A permission is missing.
    #[error("cannot {doing}: the NATS user needs the permission to publish to {subject}")]
    Forbidden {
        /// What was asked for.
        doing: &'static str,
        /// Where it is asked for.
        subject: String,
    },
    /// A request was not answered, however often it was made.
    #[error("cannot {doing}: {cause}")]
    Unanswered {
        /// What was asked for.
        doing: &'static str,
        /// What there was instead of an answer.
        cause: String,
    },
    /// A request was refused, or its answer makes no sense.
    #[error("cannot {doing}: {cause}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// Why it failed.
        cause: String,
    },
}

fn refused<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> StoreError {
    move |cause| StoreError::Refused { doing, cause: cause.to_string() }
}

fn forbidden(doing: &'static str, request: &str) -> StoreError {
    StoreError::Forbidden { doing, subject: format!("$JS.API.{request}") }
}

/// The dead letters of one subject in the stream that keeps it. Clones are of the same one.
#[derive(Clone)]
pub struct Store {
    asker: Asker,
    stream: Rc<str>,
    settings: Settings,
    last: u64,
    subject: PublishSubject,
}

/// The settings of a stream, as far as they matter to whoever reads letters or removes them.
#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    sealed: bool,
    deny_delete: bool,
    deny_purge: bool,
    /// Whether it keeps letters under the subject that they are published to.
    is_plain: bool,
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
    pub const START: Self = Self::behind(0);

    /// Behind the letter with this sequence.
    pub const fn behind(sequence: u64) -> Self {
        Self { after: sequence, window: NonZeroUsize::MIN, is_at_end: false }
    }

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

/// The request that removes one.
const REMOVE: &str = "STREAM.MSG.DELETE";

const FINDING: &str = "ask JetStream for the stream";
const OPENING: &str = "open the stream";
const COUNTING: &str = "count the letters";
const READING: &str = "read the stream";
const REMOVING: &str = "remove a dead letter";
const PURGING: &str = "purge the stream";

impl Store {
    /// Finds the stream that keeps `subject`. Each answer of `jetstream` may take as long as this `patience`. Needs a runtime
    /// that takes local tasks.
    ///
    /// # Errors
    /// No stream keeps it, or JetStream does not answer.
    pub async fn open(
        jetstream: Rc<dyn JetStream>,
        subject: &PublishSubject,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Names {
            streams: Option<Vec<String>>,
        }
        #[derive(Deserialize)]
        struct Info {
            config: Config,
            state: State,
        }
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            sealed: bool,
            #[serde(default)]
            deny_delete: bool,
            #[serde(default)]
            deny_purge: bool,
            subject_transform: Option<Value>,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            last_seq: u64,
        }

        let asker = Asker::new(jetstream, patience);
        let question = json!({ "subject": subject.as_str() });
        let found = match asker.ask::<Names>(FINDING, "STREAM.NAMES", &question).await? {
            Asked::Answer(Names { streams }) => streams.unwrap_or_default().into_iter().next(),
            Asked::Refused(refusal) => return Err(refused(FINDING)(refusal.description)),
            Asked::NoJetStream => return Err(StoreError::NoJetStream(subject.clone())),
            Asked::Forbidden => return Err(forbidden(FINDING, "STREAM.NAMES")),
        };
        let stream = found.ok_or_else(|| StoreError::NoStream(subject.clone()))?;
        let request = format!("STREAM.INFO.{stream}");
        let Info { config, state } = match asker.ask(OPENING, &request, &json!({})).await? {
            Asked::Answer(info) => info,
            Asked::Refused(refusal) if refusal.err_code == STREAM_NOT_FOUND => {
                return Err(StoreError::NoStream(subject.clone()));
            }
            Asked::Refused(refusal) => return Err(refused(OPENING)(refusal.description)),
            Asked::NoJetStream => return Err(StoreError::NoJetStream(subject.clone())),
            Asked::Forbidden => return Err(forbidden(OPENING, &request)),
        };
        let Config { sealed, deny_delete, deny_purge, subject_transform } = config;
        let settings = Settings { sealed, deny_delete, deny_purge, is_plain: subject_transform.is_none() };
        Ok(Self { asker, stream: stream.into(), settings, last: state.last_seq, subject: subject.clone() })
    }

    /// The same, which asks again for a while what is not answered: somebody has begun what he would have to begin anew.
    #[must_use]
    pub fn persistent(self) -> Self {
        Self { asker: self.asker.persistent(), ..self }
    }

    /// The name of the stream.
    pub fn name(&self) -> &str {
        &self.stream
    }

    /// The sequence of the last message in the stream when it was opened. Whoever goes through the letters stops there:
    /// a replay that fails may add new ones all the time.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// An error where letters can't be removed: whoever delivers them would deliver them again and again.
    pub async fn removable(&self) -> Result<(), StoreError> {
        let kept = |setting| Err(StoreError::Kept { stream: self.name().to_owned(), setting });
        match self.settings {
            Settings { sealed: true, .. } => return kept("sealed"),
            Settings { deny_delete: true, .. } => return kept("deny_delete"),
            _ => {}
        }
        // Whether the user may remove any shows only when he asks for it: for one that nobody has.
        let (request, question) = (format!("{REMOVE}.{}", self.name()), json!({ "seq": u64::MAX }));
        match self.asker.ask::<Value>(REMOVING, &request, &question).await? {
            Asked::Forbidden => Err(forbidden(REMOVING, &request)),
            Asked::NoJetStream | Asked::Refused(_) | Asked::Answer(_) => Ok(()),
        }
    }

    /// Under what the stream keeps them: anything, where it gives them other subjects.
    fn filter(&self) -> &str {
        if self.settings.is_plain { self.subject.as_str() } else { ">" }
    }

    /// Asks what `verb` says of this stream; none where the message that is asked for is not there.
    async fn ask<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        verb: &str,
        question: &Value,
    ) -> Result<Option<T>, StoreError> {
        let request = format!("{verb}.{}", self.name());
        match self.asker.ask(doing, &request, question).await? {
            Asked::Answer(answer) => Ok(Some(answer)),
            Asked::Refused(refusal) if refusal.err_code == NO_MESSAGE_FOUND => Ok(None),
            Asked::Refused(refusal) => Err(refused(doing)(refusal.description)),
            Asked::NoJetStream => Err(StoreError::NoJetStream(self.subject.clone())),
            Asked::Forbidden => Err(forbidden(doing, &request)),
        }
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

        let question = json!({ "subjects_filter": self.filter() });
        let counted = self.ask(COUNTING, "STREAM.INFO", &question).await?;
        Ok(counted.and_then(|Counted { state }| state.subjects).unwrap_or_default().values().sum())
    }

    /// The next letters, in the order of the stream. None may be found before the [end](Cursor::is_at_end), too.
    pub async fn page(&self, cursor: &mut Cursor) -> Result<Vec<Stored>, StoreError> {
        // A letter is found by the sequence from which on to look for it. Where they lie close to each other, many are
        // found at once from so many sequences in a row.
        let mut asked = JoinSet::new();
        for ahead in 0..cursor.window.get() as u64 {
            let question = json!({ "seq": cursor.after + 1 + ahead, "next_by_subj": self.filter() });
            let store = self.clone();
            asked.spawn_local(async move { store.read(&question).await });
        }
        let mut found = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            if let Some(letter) = answer.map_err(refused(READING))?? {
                found.insert(letter.sequence, letter);
            }
        }
        // Between two that were found there is none that was not asked for.
        cursor.is_at_end = found.is_empty();
        if let Some(last) = found.keys().last() {
            (cursor.after, cursor.window) = (*last, window(cursor.window, &found));
        }
        Ok(found.into_values().filter(|letter| self.is_letter(letter)).collect())
    }

    /// Whether a message of the stream is a letter of this subject.
    fn is_letter(&self, message: &Stored) -> bool {
        if self.settings.is_plain {
            message.is_published_to(&self.subject)
        } else {
            message.route().is_some()
        }
    }

    async fn read(&self, question: &Value) -> Result<Option<Stored>, StoreError> {
        let answer = self.ask(READING, "STREAM.MSG.GET", question).await?;
        answer.map(|Answer { message }| self.letter(&message)).transpose()
    }

    fn letter(&self, raw: &Raw) -> Result<Stored, StoreError> {
        let decoded = |text: &str| BASE64.decode(text.as_bytes()).map_err(refused(READING));
        let at = humantime::parse_rfc3339(&raw.time).unwrap_or(SystemTime::UNIX_EPOCH);
        let (block, payload) = (decoded(&raw.hdrs)?.into(), decoded(&raw.data)?.into());
        Ok(Stored::new((self.name(), raw.seq), &raw.subject, at, &block, payload))
    }

    /// The whole letter with this sequence, payload included; none where it is gone, or no letter of this subject.
    pub async fn get(&self, sequence: u64) -> Result<Option<Stored>, StoreError> {
        let found = self.read(&json!({ "seq": sequence })).await?;
        Ok(found.filter(|message| self.is_letter(message)))
    }

    /// Removes the letter with this sequence. One that is gone already is as good as removed.
    pub async fn remove(&self, sequence: u64) -> Result<(), StoreError> {
        // Without `no_erase` the server overwrites the message on disk first, which takes a hundred times as long.
        let question = json!({ "seq": sequence, "no_erase": true });
        let Err(error) = self.ask::<Value>(REMOVING, REMOVE, &question).await else {
            return Ok(());
        };
        // A failed request may be one whose answer was lost, or a letter that somebody else has removed.
        match self.get(sequence).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(error),
        }
    }

    /// Removes all letters of the subject, not what else the stream keeps, where that can be done at once. Returns how many
    /// there were; none where they have to be removed one by one.
    pub async fn purge(&self) -> Result<Option<u64>, StoreError> {
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }

        if !self.settings.is_plain || self.settings.deny_purge {
            return Ok(None);
        }
        let question = json!({ "filter": self.subject.as_str() });
        let purged = self.ask(PURGING, "STREAM.PURGE", &question).await?;
        Ok(purged.map(|Purged { purged }| purged))
    }
}

/// How many letters to ask for next, when so many were found with this `window`.
fn window(window: NonZeroUsize, found: &BTreeMap<u64, Stored>) -> NonZeroUsize {
    // Where they lie far from each other, most of the answers are the same letter.
    let next = if found.len() * 2 > window.get() { window.get() * 2 } else { found.len() };
    // The next ones may be as large as the largest of these, most likely.
    let largest = found.values().map(|letter| letter.size + letter.headers.as_bytes().len()).max();
    NonZeroUsize::new(next.min(MOST).min(MOST_BYTES / largest.unwrap_or_default().max(1)))
        .unwrap_or(NonZeroUsize::MIN)
}
