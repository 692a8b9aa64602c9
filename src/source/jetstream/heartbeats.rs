//! Heartbeats for the messages in hand, so that their stream does not deliver them again meanwhile. No I/O: this is
//! told the time, and returns what is to be published.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use crate::{
    base::clock::Time,
    message::acknowledgement::{Ack, AckHandle, Watch},
};

/// For how long there are heartbeats for a message. What takes longer than this is stuck: its stream may try it elsewhere.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How many entries there may be before it is worth looking for those that are done.
const FEW: usize = 1024;

/// The messages of a route on one lane that are in hand. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Heartbeats(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    /// In the order in which they are due.
    held: VecDeque<Held>,
    /// A third of `ack_wait`: one heartbeat that is lost or late must not lead to another delivery.
    every: Duration,
    /// How many there may be until the next look for those that are done.
    many: usize,
}

#[derive(Debug)]
struct Held {
    due: Time,
    end: Time,
    watch: Watch,
}

impl Heartbeats {
    /// Heartbeats that come often enough for an `ack_wait`.
    pub(super) fn new(ack_wait: Duration) -> Self {
        let inner = Inner { held: VecDeque::new(), every: ack_wait / 3, many: FEW };
        Self(Rc::new(RefCell::new(inner)))
    }

    /// How often to ask for [`Self::due`]: often enough that a heartbeat is late by no more than a quarter of the time
    /// between two.
    pub(super) fn pace(&self) -> Duration {
        (self.0.borrow().every / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// Goes by the `ack_wait` that the consumer turned out to have.
    pub(super) fn adapt(&self, ack_wait: Duration) {
        self.0.borrow_mut().every = ack_wait / 3;
    }

    /// Looks after the message with this ack from `now` on.
    pub(super) fn keep(&self, ack: &AckHandle, now: Time) {
        let inner = &mut *self.0.borrow_mut();
        // An entry whose message is done would else stay until it is due, and with a long ack_wait millions of them
        // would. To look through all of them only when they have doubled costs each message little.
        if inner.held.len() >= inner.many {
            inner.held.retain(|held| !held.watch.is_done());
            inner.many = FEW.max(2 * inner.held.len());
        }
        inner.held.push_back(Held { due: now + inner.every, end: now + LONGEST, watch: ack.watch() });
    }

    /// Whether no message is in hand.
    pub(super) fn is_idle(&self) -> bool {
        let held = &mut self.0.borrow_mut().held;
        held.retain(|held| !held.watch.is_done());
        held.is_empty()
    }

    /// The heartbeats that are due at `now`.
    pub(super) fn due(&self, now: Time) -> Vec<Ack> {
        let inner = &mut *self.0.borrow_mut();
        let mut notices = Vec::new();
        while inner.held.front().is_some_and(|first| first.due <= now)
            && let Some(first) = inner.held.pop_front()
        {
            if let Some(notice) = first.watch.progress()
                && now < first.end
            {
                notices.push(notice);
                inner.held.push_back(Held { due: now + inner.every, ..first });
            }
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::acknowledgement::AckKind, route::schedule::testing::at};

    #[test]
    fn heartbeats_come_three_times_within_the_wait_and_end_with_the_message() {
        let heartbeats = Heartbeats::new(Duration::from_secs(30));
        let ack = AckHandle::new("a");
        heartbeats.keep(&ack, at(0));
        let given: Vec<_> = (0..=30).filter(|second| !heartbeats.due(at(*second)).is_empty()).collect();
        assert_eq!(given, [10, 20, 30]);
        ack.settle(AckKind::Ack);
        assert!((31..100).all(|second| heartbeats.due(at(second)).is_empty()));
        assert!(heartbeats.0.borrow().held.is_empty());
    }

    #[test]
    fn a_message_that_is_stuck_gets_no_more_of_them_one_day() {
        let heartbeats = Heartbeats::new(Duration::from_secs(30));
        let ack = AckHandle::new("a");
        heartbeats.keep(&ack, at(0));
        let given: Vec<_> = (0..10_000).filter(|second| !heartbeats.due(at(*second)).is_empty()).collect();
        assert_eq!(given.last(), Some(&3590));
    }

    #[test]
    fn those_that_are_done_take_no_memory_for_long() {
        let heartbeats = Heartbeats::new(Duration::from_secs(30));
        let stuck = AckHandle::new("stuck");
        heartbeats.keep(&stuck, at(0));
        for _ in 0..100_000 {
            heartbeats.keep(&AckHandle::new("done"), at(0));
        }
        assert!(heartbeats.0.borrow().held.len() <= FEW);
    }
}
