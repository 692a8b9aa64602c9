//! The unit of an attempt: the messages that go out together, and succeed or fail together.

use super::Message;

/// The messages that one request carries: one at least, and today exactly one. The first is stored in place, so that a
/// single message costs what it would cost without a batch around it.
#[derive(Debug)]
pub struct Batch {
    first: Message,
    /// Allocates nothing as long as it is empty.
    more: Vec<Message>,
}

impl Batch {
    /// A batch of `first` and those that follow it.
    pub const fn new(first: Message, more: Vec<Message>) -> Self {
        Self { first, more }
    }

    /// The first message.
    pub const fn first(&self) -> &Message {
        &self.first
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.more.len()
    }

    /// The messages, in the order in which the request has them.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Gives each message to `take`, in that order.
    #[inline]
    pub fn for_each(self, mut take: impl FnMut(Message)) {
        take(self.first);
        self.more.into_iter().for_each(take);
    }

    /// Counts an attempt at each of them, which is about to begin, as far as one can count: another replica says how many
    /// there were before.
    pub fn begin_attempt(&mut self) {
        let begin = |message: &mut Message| {
            message.attempts = message.attempts.saturating_add(1);
            if let Some(way) = &mut message.way {
                way.begin_attempt();
            }
        };
        begin(&mut self.first);
        self.more.iter_mut().for_each(begin);
    }
}

impl From<Message> for Batch {
    fn from(message: Message) -> Self {
        Self::new(message, Vec::new())
    }
}
