//! All values of the bucket, and then each change of one, in the order of their revisions.
//!
//! An ordered consumer, over a connection of our own: the client library ends the process over some headers, and whoever may
//! write the bucket could put them there.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::key::{Key, Keys};
use crate::{
    message::{acknowledgement::Origin, header_names::nats as names},
    nats::{
        Connection, Incoming, Replies, Subscription,
        jetstream::{Api, Asked, Unanswered},
    },
};

/// How often the server says that it is still there, and after how long without a word something is wrong.
const HEARTBEAT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(11);
/// After so long without anybody who listens, the server forgets the consumer.
const INACTIVE: Duration = Duration::from_secs(30);
/// How many changes are taken at once, at most.
const MOST: usize = 4096;
/// `JSStreamNotFoundErr`.
const STREAM_NOT_FOUND: u64 = 10_059;

/// Why the bucket can't be followed, now.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// Nobody has made it.
    #[error("there is no bucket {0}: make it (nats kv add {0}), or set endpoints.create")]
    Missing(String),
    /// It was there before.
    #[error("the bucket {0} is gone: make it (nats kv add {0}) and put its routes there")]
    Gone(String),
    /// JetStream says no.
    #[error("JetStream refuses the bucket: {0}")]
    Refused(String),
    /// The server has none.
    #[error("JetStream is not enabled on this server, or for this account")]
    NoJetStream,
    /// The user may not ask.
    #[error("the NATS user needs the permission to publish to $JS.API.{0}")]
    Forbidden(String),
    /// No answer, or none that makes sense.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The server refuses the inbox.
    #[error("NATS refuses the inbox for the values: {0}")]
    Inbox(String),
    /// Something was left out.
    #[error("some changes of the bucket got lost on their way")]
    Gap,
    /// The connection is another one, or there is none.
    #[error("the connection to NATS was lost")]
    Reconnected,
    /// Nothing was heard of the server.
    #[error("NATS says nothing of the bucket any more: it was deleted, or has no leader")]
    Silence,
    /// Nobody could read the values.
    #[error("the values can't be read: {0}")]
    Unread(String),
    /// The server has ended it.
    #[error("NATS has ended the watch of the bucket: {0}")]
    Ended(String),
}

/// A key that has got another value.
#[derive(Debug)]
pub(super) struct News {
    pub(super) key: Key,
    pub(super) revision: u64,
    /// None where it was removed.
    pub(super) value: Option<Bytes>,
}

/// What comes from the bucket.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) news: Vec<News>,
    /// Keys that are none of this fleet.
    pub(super) strange: Vec<String>,
    /// The revision of the last of them.
    pub(super) revision: u64,
}

pub(super) struct Watch<'a> {
    connection: &'a Connection,
    keys: &'a Keys,
    messages: Subscription,
    connections: u64,
    /// How many deliveries there were.
    delivered: u64,
    /// When the server was last heard of. Whoever waits for what comes next may be called away again and again meanwhile.
    heard: Instant,
    is_caught_up: bool,
}

impl<'a> Watch<'a> {
    /// Begins with all values there are to `subjects`, by a consumer of this name, which nobody else has. The bucket is made
    /// where it `may_create` it.
    pub(super) async fn open(
        connection: &'a Connection,
        keys: &'a Keys,
        subjects: Vec<String>,
        consumer: &str,
        may_create: bool,
    ) -> Result<Self, Trouble> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(default)]
            num_pending: u64,
        }

        let connections = connection.connections();
        let inbox = connection.new_inbox();
        let messages = connection.subscribe(&inbox, None);
        let stream = keys.stream();
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let mut request = format!("CONSUMER.CREATE.{stream}.{consumer}");
        let mut question = json!({
            "stream_name": stream,
            "config": {
                "name": consumer,
                "deliver_subject": inbox,
                "deliver_policy": "last_per_subject",
                "ack_policy": "none",
                "replay_policy": "instant",
                "max_deliver": 1,
                "mem_storage": true,
                "num_replicas": 1,
                "idle_heartbeat": nanos(HEARTBEAT),
                "inactive_threshold": nanos(INACTIVE),
            },
            "action": "create",
        });
        // A single one stands in the subject of the request, too, by which users are permitted to ask.
        match subjects.as_slice() {
            [subject] => {
                request.push_str(&format!(".{subject}"));
                question["config"]["filter_subject"] = json!(subject);
            }
            subjects => question["config"]["filter_subjects"] = json!(subjects),
        }
        let mut replies = Replies::over(connection);
        let mut api = Api { replies: &mut replies, state: connection.state() };
        let mut answer = api.ask::<Created>(&request, &question).await?;
        if may_create && matches!(&answer, Asked::Refused(refusal) if refusal.err_code == STREAM_NOT_FOUND) {
            create(&mut api, keys).await?;
            answer = api.ask(&request, &question).await?;
        }
        let Created { num_pending } = match answer {
            Asked::Answer(created) => created,
            Asked::Refused(refusal) if refusal.err_code == STREAM_NOT_FOUND => {
                return Err(Trouble::Missing(keys.bucket().as_str().to_owned()));
            }
            Asked::Refused(refusal) => return Err(Trouble::Refused(refusal.description)),
            Asked::NoJetStream => return Err(Trouble::NoJetStream),
            Asked::Forbidden => return Err(Trouble::Forbidden(format!("CONSUMER.CREATE.{stream}.>"))),
        };
        let is_caught_up = num_pending == 0;
        let heard = Instant::now();
        Ok(Self { connection, keys, messages, connections, delivered: 0, heard, is_caught_up })
    }

    /// Whether all values have come that there were at the beginning.
    pub(super) const fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    /// What comes next, and all that is there with it.
    pub(super) async fn next(&mut self) -> Result<Batch, Trouble> {
        let mut batch = Batch::default();
        while batch.revision == 0 {
            let mut changes = self.connection.state().changes();
            if !self.connection.is_connected() || self.connection.connections() != self.connections {
                return Err(Trouble::Reconnected);
            }
            let message = tokio::select! {
                biased;
                message = timeout_at(self.heard + SILENCE, self.messages.next()) => {
                    message.map_err(|_| self.silence())?
                }
                _ = changes.changed() => continue,
            };
            self.take(&message, &mut batch)?;
        }
        for _ in 1..MOST {
            let Some(message) = self.messages.try_next() else { break };
            self.take(&message, &mut batch)?;
        }
        Ok(batch)
    }

    fn silence(&self) -> Trouble {
        self.messages.refusal().map_or(Trouble::Silence, Trouble::Inbox)
    }

    fn take(&mut self, message: &Incoming, batch: &mut Batch) -> Result<(), Trouble> {
        self.heard = Instant::now();
        let Some(origin) = message.reply().and_then(Origin::parse) else { return self.hear(message) };
        if origin.consumer_sequence != self.delivered + 1 {
            return Err(Trouble::Gap);
        }
        self.delivered += 1;
        self.is_caught_up = self.is_caught_up || origin.pending == 0;
        batch.revision = origin.sequence;
        match self.keys.parse(&message.subject()) {
            Ok(key) => {
                let value = Some(message).filter(|message| !is_marker(message)).map(Incoming::payload);
                batch.news.push(News { key, revision: origin.sequence, value });
            }
            Err(key) => batch.strange.push(key),
        }
        Ok(())
    }

    /// Takes note of what the server says beside values.
    fn hear(&self, said: &Incoming) -> Result<(), Trouble> {
        match said.status() {
            Some(100) => {
                let last = said.header(names::LAST_CONSUMER).and_then(|last| last.parse::<u64>().ok());
                if last.is_none_or(|last| last == self.delivered) { Ok(()) } else { Err(Trouble::Gap) }
            }
            Some(_) => Err(Trouble::Ended(said.description().to_owned())),
            None => Ok(()),
        }
    }
}

/// A name for a consumer that no other one has.
pub(super) fn new_consumer() -> String {
    format!("broadcaster-{}", Uuid::now_v7().simple())
}

/// Whether a message says that a key has no value any more.
fn is_marker(message: &Incoming) -> bool {
    let operation = message.header(names::BUCKET_OPERATION);
    matches!(operation.as_deref(), Some("DEL" | "PURGE")) || message.header(names::MARKER_REASON).is_some()
}

/// Makes the bucket, as clients of NATS do.
async fn create(api: &mut Api<'_>, keys: &Keys) -> Result<(), Trouble> {
    let stream = keys.stream();
    let config = json!({
        "name": stream,
        "description": "endpoints of broadcaster",
        "subjects": [format!("$KV.{}.>", keys.bucket().as_str())],
        "max_msgs_per_subject": 1,
        "storage": "file",
        "discard": "new",
        "allow_rollup_hdrs": true,
        "deny_delete": true,
        "allow_direct": true,
        "num_replicas": 1,
    });
    match api.ask::<Value>(&format!("STREAM.CREATE.{stream}"), &config).await? {
        Asked::Answer(_) => Ok(()),
        Asked::Refused(refusal) => Err(Trouble::Refused(refusal.description)),
        Asked::NoJetStream => Err(Trouble::NoJetStream),
        Asked::Forbidden => Err(Trouble::Forbidden(format!("STREAM.CREATE.{stream}"))),
    }
}
