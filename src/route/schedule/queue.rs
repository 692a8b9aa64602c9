//! The queue of messages that were never tried: first in, first out, bounded in messages and in bytes. It never waits:
//! what does not fit is given away at once, so that a source is never held up.
//!
//! The bytes are those of what waits and of what is under way: a message that a webhook does not answer takes as much
//! memory as one that waits for its turn.

use std::{collections::VecDeque, num::NonZeroUsize};

use super::share::{Pool, Share};
use crate::{
    config::{Bounds, Overflow},
    message::{Charge, Message},
};

/// The capacity, in messages, that is kept when a queue has run empty: an ordinary burst then allocates nothing, and
/// the memory of a long outage is given back.
pub(super) const KEPT_CAPACITY: usize = 1024;

/// What a queue on one lane may hold.
#[derive(Debug)]
pub struct Room {
    /// How many messages may wait.
    pub messages: NonZeroUsize,
    /// What they, and those under way, take of the route's bytes.
    pub bytes: Share,
}

/// All of it on one lane.
impl From<Bounds> for Room {
    fn from(Bounds { messages, bytes }: Bounds) -> Self {
        Self { messages, bytes: Pool::new(bytes, 1).share() }
    }
}

/// A queue of messages that were never tried, with its bounds and the rule for what does not fit.
#[derive(Debug)]
pub struct Queue {
    messages: VecDeque<Message>,
    room: Room,
    /// How many bytes of those in use are those of messages under way.
    under_way: usize,
    /// How long the payloads are that wait, in bytes.
    payloads: usize,
    overflow: Overflow,
}

impl Queue {
    /// An empty queue.
    pub fn new(room: impl Into<Room>, overflow: Overflow) -> Self {
        Self { messages: VecDeque::new(), room: room.into(), under_way: 0, payloads: 0, overflow }
    }

    /// Appends `message`. What does not fit, it or the oldest ones, goes to `evict`.
    #[inline]
    pub fn push(&mut self, message: Message, mut evict: impl FnMut(Message)) {
        let cost = message.cost();
        let mut fits = self.take_room(cost);
        if !fits && self.overflow == Overflow::DropOldest && self.fits_alone(cost) {
            while !fits && let Some(oldest) = self.pop() {
                evict(oldest);
                fits = self.take_room(cost);
            }
        }
        if fits { self.append(message) } else { evict(message) }
    }

    /// Appends `message` if that turns no other out, or gives it back.
    pub fn admit(&mut self, message: Message) -> Result<(), Message> {
        if !self.take_room(message.cost()) {
            return Err(message);
        }
        self.append(message);
        Ok(())
    }

    fn take_room(&mut self, cost: usize) -> bool {
        self.messages.len() < self.room.messages.get() && self.room.bytes.take(cost)
    }

    /// Whether a message that takes so much would fit if no other waited: making room for it would empty the queue for
    /// nothing otherwise.
    fn fits_alone(&self, cost: usize) -> bool {
        let waiting = self.bytes() - self.under_way;
        cost <= waiting + self.room.bytes.left()
    }

    #[inline]
    fn append(&mut self, mut message: Message) {
        // What waits here, or for a webhook, may wait for long. It must not keep more memory alive than it is charged
        // with.
        message.detach();
        self.payloads += message.payload.len();
        self.messages.push_back(message);
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.pop_front()?;
        self.room.bytes.give_back(message.cost());
        Some(message)
    }

    /// Takes the oldest message for an attempt. It is charged as before until the attempt ends.
    #[inline]
    pub fn begin(&mut self) -> Option<Message> {
        let mut message = self.pop_front()?;
        message.charged = Some(Charge::Queue);
        self.under_way += message.cost();
        Some(message)
    }

    /// The message that [`Self::begin`] would take.
    pub(super) fn first(&self) -> Option<&Message> {
        self.messages.front()
    }

    /// All that wait, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// How long the payloads are that wait, in bytes.
    pub(super) const fn payloads(&self) -> usize {
        self.payloads
    }

    /// What was begun, and takes so much, is under way no more.
    #[inline]
    pub(super) fn end(&mut self, cost: usize) {
        self.under_way -= cost;
        self.room.bytes.give_back(cost);
    }

    #[inline]
    fn pop_front(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.payloads -= message.payload.len();
        if self.messages.is_empty() && self.messages.capacity() > KEPT_CAPACITY {
            self.messages.shrink_to(KEPT_CAPACITY);
        }
        Some(message)
    }

    /// Whether there may be room for another message.
    pub fn has_room(&self) -> bool {
        self.free_messages() > 0 && self.room.bytes.left() > 0
    }

    /// How many more messages may wait.
    pub fn free_messages(&self) -> usize {
        self.room.messages.get().saturating_sub(self.len())
    }

    /// How many more bytes there are for this lane, if the others take as many.
    pub fn free_bytes(&self) -> usize {
        self.room.bytes.left_of_even_part()
    }

    /// How many more bytes there are for this lane, if the others take none.
    pub fn free_bytes_at_most(&self) -> usize {
        self.room.bytes.left()
    }

    /// How many messages are waiting.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether no message is waiting.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The memory that the messages waiting and those under way take, in bytes.
    pub const fn bytes(&self) -> usize {
        self.room.bytes.used()
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
    fn what_is_under_way_takes_up_room_until_it_ends() {
        let cost = message(0).cost();
        let (mut queue, _) = filled(bounds(100, 2 * cost), Overflow::DropNewest, 2);
        let begun = queue.begin().unwrap();
        assert_eq!((queue.len(), queue.bytes()), (1, 2 * cost));
        assert_eq!(names(&[queue.admit(message(2)).unwrap_err()]), ["2"]);
        queue.end(begun.cost());
        assert!(queue.admit(message(2)).is_ok());
    }

    #[test]
    fn none_is_evicted_for_the_room_that_those_under_way_take() {
        let cost = message(0).cost();
        let (mut queue, _) = filled(bounds(100, 3 * cost), Overflow::DropOldest, 3);
        assert!(queue.begin().is_some() && queue.begin().is_some());
        let mut large = message(9);
        large.payload = vec![b'x'; cost].into();
        let mut evicted = Vec::new();
        queue.push(large, |message| evicted.push(message));
        assert_eq!(evicted.iter().map(|message| message.payload.len()).collect::<Vec<_>>(), [cost]);
        queue.push(message(3), |message| evicted.push(message));
        assert_eq!(names(&evicted[1..]), ["2"]);
    }

    #[test]
    fn a_message_larger_than_an_even_part_fits_where_the_route_has_room() {
        let pool = Pool::new(NonZeroUsize::new(1 << 20).unwrap(), 4);
        let room = || Room { messages: NonZeroUsize::new(10).unwrap(), bytes: pool.share() };
        let [mut one, mut other] = [(); 2].map(|()| Queue::new(room(), Overflow::DropNewest));
        let mut large = message(0);
        large.payload = vec![b'x'; 1_000_000].into();
        other.admit(message(1)).unwrap();
        one.admit(large).unwrap();
        let mut small = message(2);
        small.payload = vec![b'x'; 100_000].into();
        assert!(other.admit(small).is_err(), "the lanes together hold no more than the bound");
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
