//! The unit of an attempt: the messages that go out together, and succeed or fail together.

use super::Message;
use crate::trace::span::Link;

/// The messages that one request carries: one at least, and on a route without batches exactly one. The first is stored in
/// place, so that a single message costs what it would cost without a batch around it.
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

    /// A batch of these; none where there are none.
    pub fn of(messages: Vec<Message>) -> Option<Self> {
        let mut messages = messages.into_iter();
        Some(Self { first: messages.next()?, more: messages.collect() })
    }

    /// The first message, and a batch of the others where there are any.
    pub fn split_first(self) -> (Message, Option<Self>) {
        (self.first, Self::of(self.more))
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
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Gives each message to `take`, in that order.
    #[inline]
    pub fn for_each(self, mut take: impl FnMut(Message)) {
        take(self.first);
        self.more.into_iter().for_each(take);
    }

    /// Two batches of half as many, where there is more than one message: the first half is never the smaller one.
    pub fn halves(mut self) -> (Self, Option<Self>) {
        let first_half = self.count().div_ceil(2);
        let second = Self::of(self.more.split_off(first_half - 1));
        (self, second)
    }

    /// Takes back what [`Self::begin_attempt`] counted, of an attempt that no message pays for.
    pub fn take_back_attempt(&mut self) {
        let take_back = |message: &mut Message| message.attempts = message.attempts.saturating_sub(1);
        take_back(&mut self.first);
        self.more.iter_mut().for_each(take_back);
    }

    /// Counts an attempt at each of them, which is about to begin, as far as one can count: another replica says how many
    /// there were before.
    #[inline]
    pub fn begin_attempt(&mut self) {
        let is_traced = self.first.way.is_some() && !self.more.is_empty();
        let request = is_traced.then(Link::fresh);
        let begin = |message: &mut Message| {
            message.attempts = message.attempts.saturating_add(1);
            if let Some(way) = &mut message.way {
                way.begin_attempt(request);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::clock::Time,
        message::{Headers, Id},
    };

    fn batch(count: usize) -> Batch {
        let message = |number: usize| {
            let payload = number.to_string().into();
            Message::new(Id::fresh(), "a".into(), Headers::default(), payload, Time::START)
        };
        Batch::new(message(0), (1..count).map(message).collect())
    }

    fn names(batch: &Batch) -> Vec<String> {
        batch.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
    }

    #[test]
    fn halves_have_the_messages_in_their_order() {
        let (first, second) = batch(5).halves();
        assert_eq!(names(&first), ["0", "1", "2"]);
        assert_eq!(names(&second.unwrap()), ["3", "4"]);
        let (first, second) = batch(2).halves();
        assert_eq!((names(&first), names(&second.unwrap())), (vec!["0".into()], vec!["1".into()]));
        let (first, second) = batch(1).halves();
        assert_eq!((first.count(), second.is_none()), (1, true));
    }
}
