//! The messages that wait for another attempt, ordered by when it is due. Bounded in messages and in bytes.
//!
//! A waiting retry is an entry in a heap: no task, no timer, no connection, no permit. So an outage costs memory and
//! nothing else, and that is bounded. A retry keeps its place while it is attempted: it is not to find that taken when
//! it fails again.

use std::{cmp::Ordering, collections::BinaryHeap, time::Duration};

use super::queue::{KEPT_CAPACITY, Room};
use crate::{
    base::clock::Time,
    message::{Charge, Message},
};

/// A heap of messages by due time.
#[derive(Debug)]
pub struct RetryQueue {
    waiting: BinaryHeap<Entry>,
    /// How many of its messages are under way.
    under_way: usize,
    room: Room,
    /// How many have ever come in: the latest [`Entry::arrival`].
    arrivals: u64,
}

#[derive(Debug)]
struct Entry {
    due: Time,
    /// Those due at the same time come out in the order they went in.
    arrival: u64,
    /// Boxed, because a heap moves its entries around, and a whole message is large: in a long queue, moving took
    /// longer than all else.
    message: Box<Message>,
}

impl Entry {
    /// The heap gives the greatest first, and we want the earliest.
    fn rank(&self) -> (std::cmp::Reverse<Time>, std::cmp::Reverse<u64>) {
        (std::cmp::Reverse(self.due), std::cmp::Reverse(self.arrival))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Entry {}

impl RetryQueue {
    /// An empty retry queue.
    pub fn new(room: impl Into<Room>) -> Self {
        Self { waiting: BinaryHeap::new(), under_way: 0, room: room.into(), arrivals: 0 }
    }

    /// Keeps `message` until `due`, or gives it back where it does not fit. One that was here until a moment ago has its
    /// place, also where it has grown since by what is known of its last failure.
    pub fn push(&mut self, mut message: Message, due: Time) -> Result<(), Message> {
        let cost = message.cost();
        let charged = message.charged.take();
        if charged == Some(Charge::Retries) {
            self.room.bytes.insist(cost);
        } else if self.places() == 0 || !self.room.bytes.take(cost) {
            return Err(message);
        }
        if charged.is_none() {
            // It was in no queue of ours yet, and is handed over as it came in.
            message.detach();
        }
        self.arrivals += 1;
        self.waiting.push(Entry { due, arrival: self.arrivals, message: Box::new(message) });
        Ok(())
    }

    /// Takes the message that has been due for the longest for an attempt, if one is due at `now`. It keeps its place
    /// until the attempt ends.
    pub fn begin(&mut self, now: Time) -> Option<Message> {
        if self.next_due()? > now {
            return None;
        }
        let (mut message, _due) = self.pop_entry()?;
        message.charged = Some(Charge::Retries);
        self.under_way += 1;
        Some(message)
    }

    /// The message that [`Self::begin`] would take at `now`.
    pub(super) fn first(&self, now: Time) -> Option<&Message> {
        self.waiting.peek().filter(|entry| entry.due <= now).map(|entry| &*entry.message)
    }

    /// All that wait and when each is due, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Message, Time)> {
        self.waiting.iter().map(|entry| (&*entry.message, entry.due))
    }

    /// What was begun, and takes so much, is under way no more.
    pub(super) fn end(&mut self, cost: usize) {
        self.under_way -= 1;
        self.room.bytes.give_back(cost);
    }

    /// Takes the message that is due next, however far off that is, and tells when it is.
    pub fn pop(&mut self) -> Option<(Message, Time)> {
        let (message, due) = self.pop_entry()?;
        self.room.bytes.give_back(message.cost());
        Some((message, due))
    }

    fn pop_entry(&mut self) -> Option<(Message, Time)> {
        let Entry { message, due, .. } = self.waiting.pop()?;
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting.shrink_to(KEPT_CAPACITY);
        }
        Some((*message, due))
    }

    /// When the next message is due.
    pub fn next_due(&self) -> Option<Time> {
        self.waiting.peek().map(|entry| entry.due)
    }

    /// Brings forward what is due too late, so that all of it is due within `window` from `now`: in the same order,
    /// evenly spread, the first one at once.
    pub fn bring_forward(&mut self, now: Time, window: Duration) {
        let mut entries = std::mem::take(&mut self.waiting).into_vec();
        entries.sort_unstable_by(|one, other| other.cmp(one));
        // Spread, and not all at once: a webhook that has just come back would be hit by everything that failed
        // meanwhile.
        let step = window / u32::try_from(entries.len().max(1)).unwrap_or(u32::MAX);
        let mut slot = now;
        for entry in &mut entries {
            // What is due earlier anyway stays so: this is about getting an attempt in time, and delays nothing.
            entry.due = entry.due.min(slot);
            slot = slot + step;
        }
        self.waiting = entries.into();
    }

    /// How many more messages there are places for.
    fn places(&self) -> usize {
        self.room.messages.get().saturating_sub(self.len() + self.under_way)
    }

    /// Whether there may be room for another message.
    pub fn has_room(&self) -> bool {
        self.places() > 0 && self.room.bytes.left() > 0
    }

    /// How many messages are waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no message is waiting.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The memory that the messages waiting and those under way take, in bytes.
    pub const fn bytes(&self) -> usize {
        self.room.bytes.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::schedule::testing::{at, bounds, message, names};

    #[test]
    fn comes_out_by_due_time_and_not_before() {
        let mut retries = RetryQueue::new(bounds(10, 1 << 20));
        for (n, seconds) in [(0, 30), (1, 10), (2, 20), (3, 10)] {
            retries.push(message(n), at(seconds)).unwrap();
        }
        assert!(retries.begin(at(9)).is_none());
        assert_eq!(retries.next_due(), Some(at(10)));
        let due: Vec<_> = std::iter::from_fn(|| retries.begin(at(20))).collect();
        assert_eq!(names(&due), ["1", "3", "2"]);
        assert_eq!(retries.len(), 1);
    }

    #[test]
    fn full_gives_the_message_back() {
        let cost = message(0).cost();
        for bounds in [bounds(2, 1 << 20), bounds(10, 2 * cost)] {
            let mut retries = RetryQueue::new(bounds);
            retries.push(message(0), at(1)).unwrap();
            retries.push(message(1), at(1)).unwrap();
            assert_eq!(names(&[retries.push(message(2), at(1)).unwrap_err()]), ["2"]);
            assert_eq!((retries.len(), retries.bytes()), (2, 2 * cost));
        }
    }

    #[test]
    fn a_retry_keeps_its_place_while_it_is_attempted() {
        let cost = message(0).cost();
        for bounds in [bounds(2, 1 << 20), bounds(10, 2 * cost)] {
            let mut retries = RetryQueue::new(bounds);
            retries.push(message(0), at(1)).unwrap();
            retries.push(message(1), at(2)).unwrap();
            let begun = retries.begin(at(1)).unwrap();
            assert_eq!((retries.len(), retries.bytes()), (1, 2 * cost));
            assert!(
                retries.push(message(2), at(1)).is_err(),
                "its place is free when it succeeds, not before"
            );
            retries.end(begun.cost());
            retries.push(begun, at(9)).unwrap();
            assert_eq!((retries.len(), retries.bytes()), (2, 2 * cost));
            let begun = retries.begin(at(2)).unwrap();
            retries.end(begun.cost());
            assert!(retries.push(message(2), at(1)).is_ok());
        }
    }

    #[test]
    fn bringing_forward_keeps_the_order_and_fits_the_window() {
        let mut retries = RetryQueue::new(bounds(10, 1 << 20));
        for (n, seconds) in [(0, 400), (1, 100), (2, 400), (3, 200)] {
            retries.push(message(n), at(seconds)).unwrap();
        }
        retries.bring_forward(at(0), Duration::from_secs(8));
        for (seconds, name) in [(0, "1"), (2, "3"), (4, "0"), (6, "2")] {
            assert_eq!(retries.next_due(), Some(at(seconds)));
            assert_eq!(names(&[retries.pop().unwrap().0]), [name]);
        }
    }

    #[test]
    fn bringing_forward_delays_nothing() {
        let mut retries = RetryQueue::new(bounds(10, 1 << 20));
        for (n, seconds) in [(0, 1), (1, 2), (2, 100), (3, 3)] {
            retries.push(message(n), at(seconds)).unwrap();
        }
        retries.bring_forward(at(0), Duration::from_secs(80));
        for (seconds, name) in [(0, "0"), (2, "1"), (3, "3"), (60, "2")] {
            assert_eq!(retries.next_due(), Some(at(seconds)));
            assert_eq!(names(&[retries.pop().unwrap().0]), [name]);
        }
    }
}
