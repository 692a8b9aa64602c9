//! The queue of messages that were never tried: first in, first out, bounded in messages and in bytes. It never waits:
//! what does not fit is given away at once, so that a source is never held up.

use std::collections::VecDeque;

use crate::{
    config::{Bounds, Overflow},
    message::Message,
};

/// The capacity, in messages, that is kept when a queue has run empty: an ordinary burst then allocates nothing, and
/// the memory of a long outage is given back.
pub(super) const KEPT_CAPACITY: usize = 1024;

/// What waits at the moment, against what may wait.
#[derive(Debug)]
pub(super) struct Occupancy {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    bounds: Bounds,
}

impl Occupancy {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { messages: 0, bytes: 0, bounds }
    }

    pub(super) const fn fits(&self, cost: usize) -> bool {
        self.messages < self.bounds.messages.get()
            && self.bytes.saturating_add(cost) <= self.bounds.bytes.get()
    }

    pub(super) const fn has_room(&self) -> bool {
        self.fits(0)
    }

    pub(super) const fn add(&mut self, cost: usize) {
        self.messages += 1;
        self.bytes += cost;
    }

    pub(super) const fn remove(&mut self, cost: usize) {
        self.messages -= 1;
        self.bytes -= cost;
    }
}

/// A queue of messages that were never tried, with its bounds and the rule for what does not fit.
#[derive(Debug)]
pub struct Queue {
    messages: VecDeque<Message>,
    load: Occupancy,
    overflow: Overflow,
}

impl Queue {
    /// An empty queue.
    pub const fn new(bounds: Bounds, overflow: Overflow) -> Self {
        Self { messages: VecDeque::new(), load: Occupancy::new(bounds), overflow }
    }

    /// Appends `message`. What does not fit, it or the oldest ones, goes to `evict`.
    pub fn push(&mut self, message: Message, mut evict: impl FnMut(Message)) {
        let cost = message.cost();
        if !self.load.fits(cost) {
            // Making room for a message that could not fit even alone would empty the queue for nothing.
            let fits_alone = cost <= self.load.bounds.bytes.get();
            if self.overflow != Overflow::DropOldest || !fits_alone {
                return evict(message);
            }
            while !self.load.fits(cost) {
                let Some(oldest) = self.pop() else { break };
                evict(oldest);
            }
        }
        self.append(message, cost);
    }

    /// Appends `message` if that turns no other out, or gives it back.
    pub fn admit(&mut self, message: Message) -> Result<(), Message> {
        let cost = message.cost();
        if !self.load.fits(cost) {
            return Err(message);
        }
        self.append(message, cost);
        Ok(())
    }

    fn append(&mut self, mut message: Message, cost: usize) {
        // What waits here may wait for long, and must not keep more memory alive than it is charged with.
        message.detach();
        self.load.add(cost);
        self.messages.push_back(message);
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.load.remove(message.cost());
        if self.messages.is_empty() && self.messages.capacity() > KEPT_CAPACITY {
            self.messages.shrink_to(KEPT_CAPACITY);
        }
        Some(message)
    }

    /// Whether there may be room for another message.
    pub const fn has_room(&self) -> bool {
        self.load.has_room()
    }

    /// How many messages, and how many bytes, there is room for.
    pub const fn free(&self) -> (usize, usize) {
        let Occupancy { messages, bytes, bounds } = &self.load;
        (bounds.messages.get().saturating_sub(*messages), bounds.bytes.get().saturating_sub(*bytes))
    }

    /// How many messages are waiting.
    pub const fn len(&self) -> usize {
        self.load.messages
    }

    /// Whether no message is waiting.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that the waiting messages take, in bytes.
    pub const fn bytes(&self) -> usize {
        self.load.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::schedule::testing::{bounds, message, names};

    fn filled(bounds: Bounds, overflow: Overflow, count: usize) -> (Queue, Vec<Message>) {
        let mut queue = Queue::new(bounds, overflow);
        let mut evicted = Vec::new();
        for n in 0..count {
            queue.push(message(n), |message| evicted.push(message));
        }
        (queue, evicted)
    }

    #[test]
    fn comes_out_in_the_order_it_went_in() {
        let (mut queue, evicted) = filled(bounds(10, 1 << 20), Overflow::DeadLetter, 3);
        assert!(evicted.is_empty());
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(names(&order), ["0", "1", "2"]);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn full_turns_the_newest_away() {
        for overflow in [Overflow::DeadLetter, Overflow::DropNewest] {
            let (queue, evicted) = filled(bounds(3, 1 << 20), overflow, 5);
            assert_eq!(names(&evicted), ["3", "4"]);
            assert_eq!(queue.len(), 3);
        }
    }

    #[test]
    fn full_gives_up_the_oldest_when_told_to() {
        let (mut queue, evicted) = filled(bounds(3, 1 << 20), Overflow::DropOldest, 5);
        assert_eq!(names(&evicted), ["0", "1"]);
        assert_eq!(queue.pop().map(|m| m.payload), Some("2".into()));
    }

    #[test]
    fn what_may_turn_nobody_out_is_given_back() {
        for bounds in [bounds(3, 1 << 20), bounds(100, 3 * message(0).cost())] {
            let (mut queue, _) = filled(bounds, Overflow::DropOldest, 2);
            assert!(queue.admit(message(2)).is_ok());
            assert_eq!(names(&[queue.admit(message(3)).unwrap_err()]), ["3"]);
            assert_eq!(queue.len(), 3);
        }
    }

    #[test]
    fn bytes_bound_it_as_messages_do() {
        let cost = message(0).cost();
        let (queue, evicted) = filled(bounds(100, 2 * cost), Overflow::DropNewest, 3);
        assert_eq!(names(&evicted), ["2"]);
        assert_eq!(queue.bytes(), 2 * cost);
    }

    #[test]
    fn a_message_larger_than_the_bound_evicts_only_itself() {
        let (mut queue, _) = filled(bounds(10, 10 * message(0).cost()), Overflow::DropOldest, 3);
        let mut giant = message(9);
        giant.payload = vec![b'x'; 1 << 20].into();
        let mut evicted = Vec::new();
        queue.push(giant, |message| evicted.push(message));
        assert_eq!(evicted.len(), 1);
        assert_eq!(queue.len(), 3);
    }
}
