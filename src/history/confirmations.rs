//! What a stream has confirmed of the history, and what it has not. Nothing is sent twice: a history is to look something up
//! in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{feed::Counts, keeper::Keeping};
use crate::{
    config::{HistoryStream, PublishSubject},
    nats::{Connection, Outgoing, PublishError, Replies, puback::PubAck},
};

/// How many may be unconfirmed; more wait in the queue, and find no room there at last.
const MOST: usize = 1024;
/// How long a stream may take to confirm one.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was published to a stream, and is not confirmed yet.
pub(super) struct Confirmations {
    stream: HistoryStream,
    replies: Replies,
    /// By the numbers of their answers, which grow: until when each may be confirmed.
    sent: BTreeMap<u64, Instant>,
    counts: Arc<Counts>,
    keeping: Arc<Keeping>,
}

impl Confirmations {
    /// Of the stream that `keeping` is told of.
    pub(super) fn of(
        stream: HistoryStream,
        connection: &Connection,
        counts: Arc<Counts>,
        keeping: Arc<Keeping>,
    ) -> Self {
        Self { stream, replies: Replies::over(connection), sent: BTreeMap::new(), counts, keeping }
    }

    /// For how many more there is room.
    pub(super) fn room(&self) -> usize {
        MOST.saturating_sub(self.sent.len())
    }

    /// Whether nothing is left to be confirmed.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Publishes `line`. It is counted when it is confirmed, or not.
    pub(super) fn publish(
        &mut self,
        connection: &Connection,
        subject: &PublishSubject,
        line: &[u8],
    ) -> Result<(), PublishError> {
        let (number, reply) = self.replies.expect();
        connection.publish(Outgoing::new(subject.as_str(), line).replying_to(&reply))?;
        self.sent.insert(number, Instant::now() + PATIENCE);
        Ok(())
    }

    /// Counts what is confirmed next, or is not in time. Can be dropped, and called again.
    pub(super) async fn hear(&mut self) {
        let oldest = self.sent.first_key_value().map(|(_, until)| *until);
        let late = async {
            match oldest {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (number, answer) = self.replies.next() => {
                if self.sent.remove(&number).is_some() {
                    let name = self.stream.name.as_str();
                    self.told(&PubAck::read(answer.status(), &answer.payload(), Some(name)));
                }
            }
            () = late => {
                self.sent.pop_first();
                self.counts.add_dropped(1);
                self.keeping.troubled("the stream does not confirm it");
            }
        }
    }

    fn told(&self, ack: &PubAck) {
        match ack {
            PubAck::Stored | PubAck::Duplicate => {
                self.counts.add_published(1);
                self.keeping.kept(&self.stream.name);
            }
            PubAck::TooLarge => self.counts.add_dropped(1),
            PubAck::Refused(why) => {
                self.counts.add_dropped(1);
                self.keeping.troubled(why);
            }
        }
    }
}
