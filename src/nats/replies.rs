//! Answers to what was published over a connection, many at a time.

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{NatsConnection, SetUpError, next};

/// An inbox for answers to numbered questions. The client's own requests would keep an entry for each answer that never
/// comes, for as long as the client lives (nats-io/nats.rs#1617).
#[derive(Debug)]
pub struct Replies {
    client: Client,
    inbox: String,
    subscriber: Subscriber,
    asked: u64,
}

impl Replies {
    /// An inbox over `connection`, which may not be connected yet.
    pub async fn over(connection: &NatsConnection) -> Result<Self, SetUpError> {
        let client = connection.client().clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(format!("{inbox}.*")).await?;
        Ok(Self { client, inbox, subscriber, asked: 0 })
    }

    /// The number of the next question, and the subject that its answer is to go to.
    pub fn expect(&mut self) -> (u64, String) {
        self.asked += 1;
        (self.asked, format!("{}.{}", self.inbox, self.asked))
    }

    /// The next answer with the number of its question, which may be an old one. None when the connection was closed for
    /// good.
    pub async fn next(&mut self) -> Option<(u64, Message)> {
        loop {
            let message = next(&mut self.subscriber).await?;
            let number = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
            if let Some(number) = number {
                return Some((number, message));
            }
        }
    }

    /// Asks `subject` and waits for the answer. None where none comes in time.
    pub async fn ask(&mut self, subject: String, question: Bytes, patience: Duration) -> Option<Message> {
        let deadline = Instant::now() + patience;
        let (asked, reply) = self.expect();
        let published = self.client.publish_with_reply(subject, reply, question);
        timeout_at(deadline, published).await.ok()?.ok()?;
        loop {
            let (number, message) = timeout_at(deadline, self.next()).await.ok()??;
            if number == asked {
                return Some(message);
            }
        }
    }
}
