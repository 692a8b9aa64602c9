//! Answers to what was published over a connection, many at a time.

use std::time::Duration;

use tokio::time::timeout;

use super::{Connection, Incoming, Outgoing, Subscription};

/// An inbox for answers to numbered questions. A question that is never answered leaves nothing behind.
pub struct Replies {
    connection: Connection,
    inbox: String,
    subscription: Subscription,
    asked: u64,
}

impl Replies {
    /// An inbox over `connection`, which may not be connected yet.
    pub fn over(connection: &Connection) -> Self {
        let inbox = connection.new_inbox();
        let subscription = connection.subscribe(&format!("{inbox}.*"), None);
        Self { connection: connection.clone(), inbox, subscription, asked: 0 }
    }

    /// The number of the next question, and the subject that its answer is to go to.
    pub fn expect(&mut self) -> (u64, String) {
        self.asked += 1;
        (self.asked, format!("{}.{}", self.inbox, self.asked))
    }

    /// The next answer with the number of its question, which may be an old one.
    pub async fn next(&mut self) -> (u64, Incoming) {
        loop {
            let answer = self.subscription.next().await;
            let number = answer.subject().rsplit('.').next().and_then(|token| token.parse().ok());
            if let Some(number) = number {
                return (number, answer);
            }
        }
    }

    /// Asks `subject` and waits for the answer. None where it can't be asked, and where no answer comes in time.
    pub async fn ask(&mut self, subject: &str, question: &[u8], patience: Duration) -> Option<Incoming> {
        let (asked, reply) = self.expect();
        self.connection.publish(Outgoing::new(subject, question).replying_to(&reply)).ok()?;
        let answered = async {
            loop {
                let (number, answer) = self.next().await;
                if number == asked {
                    return answer;
                }
            }
        };
        timeout(patience, answered).await.ok()
    }

    /// Why the server refuses the inbox, in its own words; none while it does not.
    pub fn refusal(&self) -> Option<String> {
        self.subscription.refusal()
    }
}
