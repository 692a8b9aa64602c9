//! What is to be done next on one route in one lane: the queue, the retry queue, the limits and the retry rule.
//!
//! Plain decisions. They are told the time, do no I/O and wait for nothing; [`pipeline`](crate::route::pipeline) does that.

pub mod breaker;
pub mod pause;
pub mod policy;
pub mod queue;
pub mod rate_limit;
pub mod retry_queue;

use std::time::Duration;

use super::schedule::breaker::{Breaker, State};
use super::schedule::pause::Hold;
use super::schedule::policy::{Next, Policy};
use super::schedule::queue::Queue;
use super::schedule::rate_limit::Limiter;
use super::schedule::retry_queue::RetryQueue;

use crate::{
    base::clock::Time,
    message::{
        Message, Setback,
        outcome::{Attempt, Reason},
    },
};

/// See the module.
#[derive(Debug)]
pub struct Dispatch {
    queue: Queue,
    retries: RetryQueue,
    limiter: Option<Limiter>,
    hold: Hold,
    breaker: Breaker,
    policy: Policy,
    /// Counts the attempts that were begun while the breaker was not closed.
    trials: u32,
}

/// A message from a stream that has to wait longer than this is given back to it: it would only take up room here.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// While the breaker is not closed, one attempt of so many is that of a retry.
const RETRY_EVERY: u32 = 4;

/// What a worker should do now.
#[derive(Debug)]
pub enum Pick {
    /// Try this message.
    Attempt(Message),
    /// Ask again at this time, unless called before.
    Wait(Time),
    /// Nothing is in hand.
    Idle,
}

/// What has become of a message after an attempt.
#[derive(Debug)]
pub enum Verdict {
    /// It was delivered.
    Delivered(Message),
    /// It waits for another attempt, which is due at this time.
    Retry(Time),
    /// It goes back to its stream, to be delivered again after this time.
    Return(Message, Duration),
    /// It will not be delivered.
    Dead(Message, Reason),
}

impl Dispatch {
    /// Nothing in hand.
    pub const fn new(
        queue: Queue,
        retries: RetryQueue,
        limiter: Option<Limiter>,
        hold: Hold,
        breaker: Breaker,
        policy: Policy,
    ) -> Self {
        Self { queue, retries, limiter, hold, breaker, policy, trials: 0 }
    }

    /// Takes `message` into the queue. What does not fit, it or older ones, goes to `evict`.
    pub fn offer(&mut self, message: Message, evict: impl FnMut(Message)) {
        self.queue.push(message, evict);
    }

    /// Takes `message` into the queue where it turns no other out, or gives it back.
    pub fn admit(&mut self, message: Message) -> Result<(), Message> {
        self.queue.admit(message)
    }

    /// What a free worker should do at `now`. Every attempt passes the hold, the rate limit and the breaker here, retries
    /// too.
    pub fn pick(&mut self, now: Time) -> Pick {
        let due = match self.next_due(now) {
            None => return Pick::Idle,
            Some(due) if due > now => return Pick::Wait(due),
            Some(due) => due,
        };
        debug_assert!(due <= now, "something is due");
        if let Some(limiter) = &self.limiter
            && let Err(free_at) = limiter.take(now)
        {
            return Pick::Wait(free_at);
        }
        if let Err(ask_again) = self.breaker.admit(now) {
            return Pick::Wait(ask_again);
        }
        match self.take(now) {
            Some(message) => Pick::Attempt(message),
            None => Pick::Idle,
        }
    }

    fn take(&mut self, now: Time) -> Option<Message> {
        if self.breaker.state() != State::Closed {
            // Among those that have failed before are those that always do: they must not be the ones to tell how the
            // webhook is. But they get their turn.
            self.trials = self.trials.wrapping_add(1);
            if !self.trials.is_multiple_of(RETRY_EVERY) {
                return self.queue.pop().or_else(|| self.retries.pop_due(now));
            }
        }
        // A due retry is older than anything in the queue.
        self.retries.pop_due(now).or_else(|| self.queue.pop())
    }

    /// When there will be something to attempt, if nothing new comes in, as far as is known at `now`: in the past when
    /// there is now. The rate limit is not looked at.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        let due = if self.queue.is_empty() { self.retries.next_due()? } else { Time::START };
        Some(due.max(self.hold.until()).max(self.breaker.next(now)))
    }

    /// Whether the webhook is left alone at `now`, by its own wish or by the breaker.
    pub fn is_paused(&self, now: Time) -> bool {
        // When the time has come for probes, there must be something to probe with.
        let left_alone = self.breaker.state() == State::Open && self.breaker.next(now) > now;
        left_alone || self.hold.until() > now
    }

    /// How many workers could do with being called at `now`. Under a rate limit they are called one by one, as most
    /// would only find that there is no permit.
    pub fn wanted(&self, now: Time) -> usize {
        if self.next_due(now).is_none_or(|due| due > now) {
            0
        } else if self.limiter.is_some() {
            1
        } else {
            let retry_is_due = self.retries.next_due().is_some_and(|due| due <= now);
            (self.queue.len() + usize::from(retry_is_due)).min(self.breaker.room(now))
        }
    }

    /// Decides what follows an attempt at `message` that ended at `now`.
    pub fn resolve(&mut self, mut message: Message, attempt: &Attempt, now: Time) -> Verdict {
        let Attempt::Failed { failure, retry_after, excerpt } = attempt else {
            return Verdict::Delivered(message);
        };
        message.last_failure = Some(*failure);
        message.setback = Some(Box::new(Setback { at: now, excerpt: excerpt.clone() }));
        match self.policy.next(*failure, message.attempts, *retry_after) {
            Next::Dead(reason) => Verdict::Dead(message, reason),
            Next::Retry { delay, hold } => {
                if let Some(hold) = hold {
                    self.hold.extend(now + hold);
                }
                if message.receipt.is_some() && delay > LONGEST_WAIT {
                    return Verdict::Return(message, delay);
                }
                let due = now + delay;
                match self.retries.push(message, due) {
                    Ok(()) => Verdict::Retry(due),
                    Err(message) => Verdict::Dead(message, Reason::RetryQueueFull),
                }
            }
        }
    }

    /// Brings retries forward so that each still gets an attempt within `window` from `now`, and has a webhook that is left
    /// alone tried at once: there is no time to wait for either.
    pub fn hurry(&mut self, now: Time, window: Duration) {
        self.retries.compress(now, window);
        self.breaker.hurry(now, window);
    }

    /// Takes a message out without a look at limits or due times, when there is no time left to attempt it.
    pub fn give_up(&mut self) -> Option<Message> {
        self.retries.pop().or_else(|| self.queue.pop())
    }

    /// The queue of messages that were never tried.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The messages that wait for another attempt.
    pub const fn retries(&self) -> &RetryQueue {
        &self.retries
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
