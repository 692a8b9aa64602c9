//! What is to be done next on one route on one lane: the queue, the retry queue, the gates and the retry rule.
//!
//! Plain decisions: nothing here reads a clock, does I/O, waits or logs. The [pipeline](crate::route::pipeline) does
//! that, and tells the time; so every decision can be tested with literal times. What follows an attempt is decided in
//! one place, [`Schedule::resolve`].

pub mod batching;
pub mod breaker;
pub mod concurrency;
pub mod fault;
pub mod gate;
mod halves;
mod hold;
mod judge;
pub mod login;
pub mod pace;
pub mod pause;
pub mod policy;
pub mod queue;
pub mod rate_limit;
pub mod retry_queue;
pub mod share;
pub mod slow_start;
mod together;
mod turn;
pub mod waiting;

use std::time::Duration;

use batching::Batching;
use breaker::Change;
use concurrency::Window;
use gate::{Gate as _, Gates};
use halves::Halves;
use judge::Failing;
use policy::Policy;
use queue::Queue;
use retry_queue::RetryQueue;
use together::{Joint, Words};

use crate::{
    base::clock::Time,
    message::{
        Charge, FailedAttempt, Message,
        batch::Batch,
        outcome::{Attempt, Reason},
    },
};

/// The state of one route on one lane.
#[derive(Debug)]
pub struct Schedule {
    queue: Queue,
    retries: RetryQueue,
    /// Of batches that were refused, those to be attempted next.
    halves: Halves,
    batching: Batching,
    gates: Gates,
    policy: Policy,
    window: Window,
    /// When the latest attempt began that was delivered.
    proof: Time,
    /// Counts the attempts that were begun while both new messages and retries waited, for [`turn`].
    turns: u32,
    /// Whether the route comes to its end: what fails now would not have been attempted yet, and pays nothing.
    is_ending: bool,
}

/// What a worker should do now.
#[derive(Debug)]
pub enum Pick {
    /// Attempt this batch.
    Attempt(Batch),
    /// Ask again at this time, unless woken before.
    Wait(Time),
    /// Nothing waits, so that there is no time to ask again at either.
    Idle,
}

/// Whether a schedule has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// For so many workers.
    Work(usize),
    /// Not before this time, if nothing new comes in; none where there is nothing to look for.
    Look(Option<Time>),
}

/// What becomes of a message after an attempt.
#[derive(Debug)]
pub enum Verdict {
    /// It was delivered.
    Delivered(Message),
    /// It waits for another attempt, which is due at this time.
    Retry(Time),
    /// It goes back to its stream, to be delivered again after this time.
    Return(Message, Duration),
    /// The receiver says that it does not want it.
    Unwanted(Message),
    /// It will not be delivered.
    Dead(Message, Reason),
}

/// What an attempt has changed for the whole route.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resolved {
    /// What has become of the breaker, where it changed.
    pub change: Option<Change>,
    /// How long the route waits because the webhook wants less, where it does.
    pub wait: Option<Duration>,
    /// Whether messages were attempted together of which only some may be to blame: the webhook works, and parts of the
    /// batch are attempted again.
    pub is_halved: bool,
}

/// A message that waits, on its way out of a schedule.
#[derive(Debug)]
pub struct Waiting {
    /// The message.
    pub message: Message,
    /// When its next attempt is due; none where it was never tried.
    pub due: Option<Time>,
}

impl Schedule {
    /// A schedule with these parts, in which nothing waits yet.
    pub const fn new(
        queue: Queue,
        retries: RetryQueue,
        gates: Gates,
        policy: Policy,
        window: Window,
    ) -> Self {
        Self {
            queue,
            retries,
            halves: Halves::new(),
            batching: Batching::OFF,
            gates,
            policy,
            window,
            proof: Time::START,
            turns: 0,
            is_ending: false,
        }
    }

    /// The same, where messages go together.
    #[must_use]
    pub fn batching(self, batching: Batching) -> Self {
        Self { batching, ..self }
    }

    /// Takes `message` into the queue. What does not fit, it or older ones, goes to `evict`.
    #[inline]
    pub fn offer(&mut self, message: Message, evict: impl FnMut(Message)) {
        self.queue.push(message, evict);
    }

    /// Takes `message` into the queue where it turns no other out, or gives it back.
    pub fn admit(&mut self, message: Message, now: Time) -> Result<(), Message> {
        // Another replica may have had it wait for its next attempt.
        match message.failed_attempt.as_ref().map(|failed| failed.due).filter(|due| *due > now) {
            Some(due) => self.retries.push(message, due),
            None => self.queue.admit(message),
        }
    }

    /// Takes over what waited in another schedule, as it waited there, or gives it back where there is no room.
    #[expect(clippy::result_large_err, reason = "the message is moved either way")]
    pub fn take_over(&mut self, waiting: Waiting) -> Result<(), Waiting> {
        let Waiting { message, due } = waiting;
        let taken = match due {
            None => self.queue.admit(message),
            Some(due) => self.retries.push(message, due),
        };
        taken.map_err(|message| Waiting { message, due })
    }

    /// What a free worker should do at `now`. Every attempt passes the gates here, that of a retry too.
    #[inline]
    pub fn pick(&mut self, now: Time) -> Pick {
        // First whether there is a message at all: passing the gates takes a permit of the rate limit or a probe of the
        // breaker, which can't be given back.
        match self.next_due(now) {
            None => return Pick::Idle,
            Some(due) if due > now => return Pick::Wait(due),
            Some(_) => {}
        }
        if let Err(ask_again) = self.gates.admit(now) {
            return Pick::Wait(ask_again);
        }
        let mut pick = self.take(now);
        if let Pick::Attempt(batch) = &mut pick {
            // Counted when it begins and not when it ends: one that is broken off may have reached the webhook.
            batch.begin_attempt();
            self.window.begun();
        }
        pick
    }

    #[inline]
    fn take(&mut self, now: Time) -> Pick {
        if !self.batching.is_off() {
            return self.take_together(now).map_or(Pick::Idle, Pick::Attempt);
        }
        match self.take_one(now) {
            Some(message) => Pick::Attempt(Batch::from(message)),
            None => Pick::Idle,
        }
    }

    /// Takes note that `message`, in which nothing was changed since, is under way no more. A retry that has failed again
    /// is [pushed](RetryQueue::push) before anything else is: it gets its place back.
    #[inline]
    pub fn end(&mut self, message: &Message) {
        match message.charged {
            Some(Charge::Queue) => self.queue.end(message.cost()),
            Some(Charge::Retries) => self.retries.end(message.cost()),
            None => {}
        }
    }

    /// When there will be something to attempt, if nothing new comes in, as far as is known at `now`: not after it when
    /// there is now.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        let due = if !self.batching.is_off() {
            self.next_batch_due()?
        } else if self.queue.is_empty() {
            self.retries.next_due()?
        } else {
            Time::START
        };
        Some(due.max(self.gates.opens(now)))
    }

    /// What there is to do at `now`, or when to look again.
    pub fn outlook(&self, now: Time) -> Outlook {
        match self.next_due(now) {
            Some(due) if due <= now => {
                // How many retries are due could only be told by going through them. One worker is enough to begin with:
                // each attempt that begins asks this again.
                let retry_is_due = self.retries.next_due().is_some_and(|due| due <= now);
                let batches = if self.batching.is_off() { self.queue.len() } else { self.ready_batches(now) };
                match (batches + usize::from(retry_is_due)).min(self.gates.capacity(now)) {
                    // Another lane has just taken what the gates had for this one. Nobody else sets the alarm.
                    0 => Outlook::Look(self.next_due(now)),
                    workers => Outlook::Work(workers),
                }
            }
            // The end of a ramp is to be told, whatever waits.
            due => Outlook::Look(due.into_iter().chain(self.gates.breaker.closes()).min()),
        }
    }

    /// Until when the webhook is left alone, where it is at `now`.
    pub fn paused_until(&self, now: Time) -> Option<Time> {
        self.gates.paused_until(now)
    }

    /// Whether the webhook has said lately that it wants less.
    pub fn is_slowed(&self) -> bool {
        self.gates.pace.is_limited()
    }

    /// How many attempts may be under way.
    pub fn window(&self) -> usize {
        self.window.size()
    }

    /// How many attempts may be under way, as far as is known now, once there is no slow start any more.
    pub fn concurrency(&self) -> usize {
        self.window.full()
    }

    /// Takes note that more attempts could begin at `now` than the window allows. When that is to be looked at again.
    pub fn widen(&mut self, now: Time) -> Option<Time> {
        self.window.wanted(now)
    }

    /// Decides what follows an attempt at `batch` that began at `began` and ended at `now`, and tells `settle` what
    /// becomes of each of its messages.
    #[inline]
    pub fn resolve(
        &mut self,
        batch: Batch,
        attempt: &Attempt,
        began: Time,
        now: Time,
        mut settle: impl FnMut(Verdict),
    ) -> Resolved {
        self.window.ended();
        if attempt.verdicts().is_empty() {
            self.resolve_all(batch, attempt, began, now, &mut settle)
        } else {
            self.resolve_each(batch, attempt, began, now, &mut settle)
        }
    }

    /// The same where all messages of `batch` have the same outcome.
    #[inline]
    fn resolve_all(
        &mut self,
        batch: Batch,
        attempt: &Attempt,
        began: Time,
        now: Time,
        settle: &mut impl FnMut(Verdict),
    ) -> Resolved {
        let Attempt::Failed { failure, retry_after, ref excerpt, ref cause, .. } = *attempt else {
            let before = batch.first().failed_attempt.as_ref().map(|failed| failed.at);
            batch.for_each(|message| {
                self.end(&message);
                settle(Verdict::Delivered(message));
            });
            self.window.delivered(began, now);
            self.proof = self.proof.max(began);
            self.gates.pace.delivered(began, now);
            let change = self.gates.breaker.succeeded(began, now, before);
            return Resolved { change, ..Resolved::default() };
        };
        if batch.count() > 1 {
            let words = Words { excerpt: excerpt.as_ref(), cause: cause.as_ref() };
            let joint = Joint { failure, asked: retry_after, words, began, now };
            return self.failed_together(batch, &joint, settle);
        }
        let mut resolved = Resolved::default();
        batch.for_each(|mut message| {
            self.end(&message);
            let before = message.failed_attempt.take().map(|before| *before).unwrap_or_default();
            let failures = before.failures.saturating_add(1);
            let failed =
                Failing { failure, asked: retry_after, began, now, before, last: message.last_failure };
            let (ruling, breaker) = self.judge(&message, &failed);
            resolved.change = breaker.or(resolved.change);
            resolved.wait = ruling.wait.or(resolved.wait);
            message.last_failure = Some(failure);
            let (excerpt, cause) = (excerpt.clone(), cause.clone());
            let (put_off, due) = (ruling.put_off, now + ruling.delay);
            let together = failed.before.together;
            let attempt = FailedAttempt { at: now, due, failures, put_off, together, excerpt, cause };
            message.failed_attempt = Some(Box::new(attempt));
            settle(self.follow(message, &ruling, failure, now));
        });
        resolved
    }

    /// Takes note that time has passed, though nothing was attempted. The change is that of the breaker, where there is
    /// one.
    pub fn tick(&self, now: Time) -> Option<Change> {
        self.gates.breaker.tick(now)
    }

    /// Brings retries forward so that each still gets an attempt within `window` from `now`, and has a webhook that is
    /// left alone tried at once: there is no time to wait for either.
    pub fn expedite(&mut self, now: Time, window: Duration) {
        self.is_ending = true;
        // A webhook that asked for less would be asked for more.
        if !self.is_slowed() {
            self.retries.bring_forward(now, window);
        }
        self.gates.breaker.expedite(now, window);
    }

    /// Takes any message out without a look at gates or due times, when none of them will be attempted here.
    pub fn pop_any(&mut self) -> Option<Waiting> {
        if let Some(message) = self.pop_half() {
            return Some(Waiting { message, due: None });
        }
        // Retries first, as they are older: where not everything finds room elsewhere, the oldest should.
        let retry = self.retries.pop().map(|(message, due)| Waiting { message, due: Some(due) });
        retry.or_else(|| Some(Waiting { message: self.queue.pop()?, due: None }))
    }

    /// Takes any message out that there may be room for in `successor`.
    pub fn pop_for(&mut self, successor: &Self) -> Option<Waiting> {
        if successor.queue.has_room()
            && let Some(message) = self.pop_half()
        {
            return Some(Waiting { message, due: None });
        }
        if successor.retries.has_room()
            && let Some((message, due)) = self.retries.pop()
        {
            return Some(Waiting { message, due: Some(due) });
        }
        let message = if successor.queue.has_room() { self.queue.pop()? } else { return None };
        Some(Waiting { message, due: None })
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.retries.is_empty() && self.halves.is_empty()
    }

    /// Whether nothing waits that may be attempted as soon as there is a worker.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.halves.is_empty()
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
mod simulation;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
