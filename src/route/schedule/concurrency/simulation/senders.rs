//! Who sends: the schedule of a route, with all its gates, and what only has a window.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use super::super::{AdaptiveLimit, Window};
use crate::{
    base::clock::Time,
    config::{self, Overflow, Retry},
    message::{
        batch::Batch,
        outcome::{Attempt, Failure},
    },
    route::schedule::{
        Pick, Schedule, Verdict,
        breaker::Breaker,
        gate::Gates,
        pace::Pace,
        pause::Pause,
        policy::Policy,
        queue::Queue,
        retry_queue::RetryQueue,
        slow_start::{FIRST, SlowStart},
        testing::{bounds, message, retry},
    },
};

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Taken,
    Refused(u16),
}

pub(super) trait Sender {
    /// Takes so many more messages to send.
    fn offer(&mut self, messages: usize);

    /// How many wait to be sent.
    fn waiting(&self) -> usize;

    /// Begins one attempt, which is called `request` from here on, or says when to look again.
    fn begin(&mut self, request: u64, now: Time) -> Result<(), Option<Time>>;

    fn ended(&mut self, request: u64, answer: Answer, began: Time, now: Time);

    /// How many requests it may have under way.
    fn limit(&self) -> usize;

    /// Messages that were given up.
    fn lost(&self) -> usize {
        0
    }
}

/// A route of broadcaster on one lane: all its gates, its retries, and its limit.
pub(super) struct Route {
    schedule: Schedule,
    attempts: HashMap<u64, Batch>,
    offered: usize,
    lost: usize,
}

impl Route {
    /// With the bounds that are the default, and a clock on the wall that is `fast` by so much.
    pub(super) fn adaptive(fast: Duration) -> Self {
        let limit = AdaptiveLimit::new(NonZeroUsize::MIN, NonZeroUsize::new(500).unwrap());
        Self::with(Window::Adaptive(limit.share(1, 0, fast)))
    }

    pub(super) fn fixed(concurrency: usize) -> Self {
        Self::with(SlowStart::new(FIRST, concurrency).into())
    }

    fn with(window: Window) -> Self {
        let retry = Retry {
            attempts: NonZeroU32::new(12).unwrap(),
            bounds: bounds(1_000_000, usize::MAX),
            ..retry()
        };
        let schedule = Schedule::new(
            Queue::new(bounds(1_000_000, usize::MAX), Overflow::DeadLetter),
            RetryQueue::new(retry.bounds),
            Gates::new(
                None,
                Pause::default(),
                None,
                Pace::default(),
                Breaker::new(Some(&config::Breaker::default())),
            ),
            Policy::from(&retry),
            window,
        );
        Self { schedule, attempts: HashMap::new(), offered: 0, lost: 0 }
    }
}

impl Sender for Route {
    fn offer(&mut self, messages: usize) {
        for _ in 0..messages {
            self.schedule.offer(message(self.offered), |_| panic!("there is room"));
            self.offered += 1;
        }
    }

    fn waiting(&self) -> usize {
        self.schedule.queue().len() + self.schedule.retries().len()
    }

    fn begin(&mut self, request: u64, now: Time) -> Result<(), Option<Time>> {
        self.schedule.tick(now);
        if self.attempts.len() >= self.schedule.window() {
            let again = self.schedule.widen(now);
            if self.attempts.len() >= self.schedule.window() {
                return Err(again);
            }
        }
        match self.schedule.pick(now) {
            Pick::Attempt(batch) => drop(self.attempts.insert(request, batch)),
            Pick::Wait(until) => return Err(Some(until)),
            Pick::Idle => return Err(None),
        }
        Ok(())
    }

    fn ended(&mut self, request: u64, answer: Answer, began: Time, now: Time) {
        let attempt = match answer {
            Answer::Taken => Attempt::delivered(200),
            Answer::Refused(status) => Attempt::failed(Failure::Status(status)),
        };
        let batch = self.attempts.remove(&request).unwrap();
        let lost = &mut self.lost;
        self.schedule.resolve(batch, &attempt, began, now, |verdict| {
            *lost += usize::from(matches!(verdict, Verdict::Dead(..)));
        });
    }

    fn limit(&self) -> usize {
        self.schedule.window()
    }

    fn lost(&self) -> usize {
        self.lost
    }
}

/// What others do: so many at a time, by a rule that is told what came of each.
pub(super) struct Windowed<R> {
    rule: R,
    backlog: usize,
    /// When refused messages are sent again.
    retries: BinaryHeap<Reverse<Time>>,
    under_way: usize,
    reached: bool,
}

pub(super) trait Rule {
    /// Whether a refused message keeps its place until it is sent again.
    const KEEPS_PLACES: bool;

    fn limit(&self) -> usize;

    /// After how long a message that is refused now is sent again.
    fn retry(&self) -> Duration;

    /// Takes note of the end of a request. Whether another round begins, for which it is to be told anew whether the
    /// limit was reached.
    fn ended(&mut self, refused: bool, latency: Duration, now: Time, reached: bool) -> bool;
}

impl<R: Rule> Windowed<R> {
    pub(super) const fn new(rule: R) -> Self {
        Self { rule, backlog: 0, retries: BinaryHeap::new(), under_way: 0, reached: false }
    }

    fn places(&self) -> usize {
        self.under_way + if R::KEEPS_PLACES { self.retries.len() } else { 0 }
    }
}

impl<R: Rule> Sender for Windowed<R> {
    fn offer(&mut self, messages: usize) {
        self.backlog += messages;
    }

    fn waiting(&self) -> usize {
        self.backlog
    }

    fn begin(&mut self, _request: u64, now: Time) -> Result<(), Option<Time>> {
        let due = self.retries.peek().map(|due| due.0);
        let is_due = due.is_some_and(|due| due <= now);
        let has_place = self.places() < self.rule.limit() || (R::KEEPS_PLACES && is_due);
        if !has_place || (!is_due && self.backlog == 0) {
            return Err(due.filter(|due| *due > now));
        }
        if is_due {
            self.retries.pop();
        } else {
            self.backlog -= 1;
        }
        self.under_way += 1;
        self.reached |= self.places() >= self.rule.limit();
        Ok(())
    }

    fn ended(&mut self, _request: u64, answer: Answer, began: Time, now: Time) {
        let refused = answer != Answer::Taken;
        self.under_way -= 1;
        if self.rule.ended(refused, now.since(began), now, self.reached) {
            self.reached = false;
        }
        if refused {
            self.retries.push(Reverse(now + self.rule.retry()));
        }
    }

    fn limit(&self) -> usize {
        self.rule.limit()
    }
}
