//! Which messages go together into one request, and from when on one may go.
//!
//! New messages go with new ones, and retries with retries: those that have failed are what may be wrong with a batch.
//! Batches that were halved come first, and nothing joins them.

use std::time::Duration;

use super::Schedule;
use crate::{
    base::clock::Time,
    config,
    message::{Message, batch::Batch},
};

/// How many messages go together on a route, and how long they wait for each other.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    most: usize,
    bytes: usize,
    wait: Duration,
}

impl Batching {
    /// Each message goes alone, and at once.
    pub const OFF: Self = Self { most: 1, bytes: usize::MAX, wait: Duration::ZERO };

    /// Whether each message goes alone.
    #[inline]
    pub(super) const fn is_off(self) -> bool {
        self.most == 1
    }

    /// Whether `message` still fits to `count` others, whose payloads have so many bytes.
    fn has_room(self, count: usize, bytes: usize, message: &Message) -> bool {
        count < self.most.min(message.company()) && bytes.saturating_add(message.payload.len()) <= self.bytes
    }
}

impl From<&config::Batch> for Batching {
    fn from(batch: &config::Batch) -> Self {
        if !batch.is_on() {
            return Self::OFF;
        }
        Self { most: batch.max_messages.get(), bytes: batch.max_bytes.get(), wait: batch.max_wait }
    }
}

/// Where the messages of a batch wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Queue,
    Retries,
}

impl Schedule {
    /// The next batch, where one is ready at `now`.
    pub(super) fn take_together(&mut self, now: Time) -> Option<Batch> {
        if let Some(half) = self.halves.pop() {
            return Some(half);
        }
        let is_due = self.retries.first(now).is_some();
        let is_ready = self.queue_opens().is_some_and(|opens| opens <= now);
        let origin = match (is_ready, is_due) {
            (true, true) if !self.is_turn_of_retry() => Origin::Queue,
            (_, true) => Origin::Retries,
            (true, false) => Origin::Queue,
            (false, false) => return None,
        };
        let first = self.begin(origin, now)?;
        let (mut bytes, mut most) = (first.payload.len(), first.company());
        let mut more = Vec::new();
        while more.len() + 1 < most
            && let Some(next) = self.first(origin, now)
            && self.batching.has_room(more.len() + 1, bytes, next)
            && let Some(next) = self.begin(origin, now)
        {
            bytes += next.payload.len();
            most = most.min(next.company());
            more.push(next);
        }
        Some(Batch::new(first, more))
    }

    fn first(&self, origin: Origin, now: Time) -> Option<&Message> {
        match origin {
            Origin::Queue => self.queue.first(),
            Origin::Retries => self.retries.first(now),
        }
    }

    fn begin(&mut self, origin: Origin, now: Time) -> Option<Message> {
        match origin {
            Origin::Queue => self.queue.begin(),
            Origin::Retries => self.retries.begin(now),
        }
    }

    /// When there will be a batch to attempt, if nothing new comes in.
    pub(super) fn next_batch_due(&self) -> Option<Time> {
        if !self.halves.is_empty() {
            return Some(Time::START);
        }
        self.queue_opens().into_iter().chain(self.retries.next_due()).min()
    }

    /// From when on those in the queue wait for no others; none where there are none.
    fn queue_opens(&self) -> Option<Time> {
        let oldest = self.queue.first()?;
        let waits = self.full_batches() == 0 && !self.is_ending;
        Some(if waits { oldest.received + self.batching.wait } else { Time::START })
    }

    /// How many batches there are in the queue that nothing more fits into, at least.
    fn full_batches(&self) -> usize {
        (self.queue.len() / self.batching.most).max(self.queue.payloads() / self.batching.bytes)
    }

    /// How many batches may begin at `now`, those of retries aside.
    pub(super) fn ready_batches(&self, now: Time) -> usize {
        let full = self.full_batches();
        let rest_opens = if self.batching.wait.is_zero() { Some(Time::START) } else { self.queue_opens() };
        let has_rest = self.queue.len() > full.saturating_mul(self.batching.most);
        let rest = has_rest && (full == 0 || self.batching.wait.is_zero());
        let rest = rest && rest_opens.is_some_and(|opens| opens <= now);
        self.halves.len() + full + usize::from(rest)
    }
}
