//! When heartbeats are due for what is in hand. No clock: it is told the time.

use std::{collections::VecDeque, time::Duration};

use crate::base::clock::Time;

/// How many may be planned before it is worth looking for those of which nothing will come.
const FEW: usize = 1024;

#[derive(Debug)]
pub(super) struct Beats {
    /// Sequences, in the order in which they are due. What they are for may have ended since.
    planned: VecDeque<(u64, Time)>,
    /// How many there may be until the next look for those of which nothing will come.
    many: usize,
    ack_wait: Duration,
}

impl Beats {
    pub(super) const fn new(ack_wait: Duration) -> Self {
        Self { planned: VecDeque::new(), many: FEW, ack_wait }
    }

    pub(super) const fn ack_wait(&self) -> Duration {
        self.ack_wait
    }

    /// Goes by another `ack_wait`, with nothing planned. Returns whether it is another one.
    pub(super) fn adapt(&mut self, ack_wait: Duration) -> bool {
        let is_other = ack_wait != self.ack_wait;
        if is_other {
            self.ack_wait = ack_wait;
            self.planned.clear();
        }
        is_other
    }

    /// When the next one is due after one at `now`: one that is lost or late must not lead to another delivery.
    pub(super) fn after(&self, now: Time) -> Time {
        now + self.ack_wait / 3
    }

    /// Plans one that is due last of all.
    pub(super) fn plan(&mut self, sequence: u64, due: Time) {
        self.planned.push_back((sequence, due));
    }

    /// Takes out the next one that is due at `now`.
    pub(super) fn next(&mut self, now: Time) -> Option<(u64, Time)> {
        let is_due = self.next_due().is_some_and(|due| due <= now);
        if is_due { self.planned.pop_front() } else { None }
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.planned.front().map(|(_, due)| *due)
    }

    pub(super) fn count(&self) -> usize {
        self.planned.len()
    }

    /// Takes out those of which nothing will come, every now and then: one whose message is done would else stay until it is
    /// due, and with a long `ack_wait` millions of them would. To look through all of them only when they have doubled costs
    /// each message little.
    pub(super) fn tidy(&mut self, is_wanted: impl Fn(u64, Time) -> bool) {
        if self.planned.len() >= self.many {
            self.planned.retain(|(sequence, due)| is_wanted(*sequence, *due));
            self.many = FEW.max(2 * self.planned.len());
        }
    }
}
