//! The states of a breaker and what leads from one to the next. It is told the time and knows no locks: one caller at a
//! time is the business of [`Breaker`](super::Breaker).
//!
//! Closed → open, after too many failures → probing, when the time is over → ramp, after the first probe that succeeds
//! → closed, at the end of the ramp. From probing and ramp, failures lead back to open.

use std::{collections::VecDeque, time::Duration};

use super::{BreakerState, Change};
use crate::{base::clock::Time, config};

/// A share of failures means nothing before there were this many attempts: a first one that fails is a share of 100 %.
const LEAST_ATTEMPTS: u64 = 20;
/// The window slides in this many steps: counts of steps take little memory where times of attempts would take much,
/// and a tenth of the window is exact enough.
const STEPS: u32 = 10;
/// How long to wait for the outcome of probes before looking again. It may come in on another lane, which wakes nobody
/// here.
const RECHECK: Duration = Duration::from_millis(50);
/// A ramp begins with so many attempts a second, and doubles them in this time: by the end of a ramp
/// of ten seconds, the default, the rate has doubled twenty times, which is as good as no limit.
const RAMP_START: f64 = 20.0;
const RAMP_DOUBLING: Duration = Duration::from_millis(500);

/// The breaker of a route, as one that is used by one caller at a time.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    config: config::Breaker,
    phase: Phase,
    /// How many attempts have failed since the last one that succeeded.
    in_a_row: u32,
    window: Window,
    /// When it opened for the last time. What became of attempts that began earlier says nothing about the webhook of
    /// today: with a timeout longer than `open_for`, they would open it again and again.
    opened: Time,
    changed: Option<Change>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        until: Time,
    },
    /// So many probes were sent since `since`, and so many of them failed.
    Probing {
        since: Time,
        sent: u32,
        failed: u32,
    },
    /// So many attempts were begun since `since`.
    Ramp {
        since: Time,
        begun: f64,
    },
}

impl Machine {
    pub(super) fn new(config: config::Breaker) -> Self {
        let window = Window::new(config.window);
        Self { config, phase: Phase::Closed, in_a_row: 0, window, opened: Time::START, changed: None }
    }

    /// One that stands where this one stands, and has nothing to tell of how it came there.
    pub(super) fn successor(&self) -> Self {
        Self { changed: None, ..self.clone() }
    }

    pub(super) const fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::Probing { .. } | Phase::Ramp { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a success would change nothing, and need not be told.
    pub(super) fn is_calm(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.in_a_row == 0 && self.window.failed == 0
    }

    /// The last change that nobody was told of yet.
    pub(super) const fn take_change(&mut self) -> Option<Change> {
        self.changed.take()
    }

    /// From when on an attempt may begin, as far as is known at `now`.
    pub(super) fn opens(&self, now: Time) -> Time {
        match self.phase {
            Phase::Closed => Time::START,
            Phase::Open { until } => until,
            Phase::Probing { .. } if self.capacity(now) > 0 => Time::START,
            // All probes are on their way. Their outcome changes the phase, so this is asked again soon.
            Phase::Probing { since, .. } => (now + RECHECK).min(since + self.config.open_for),
            Phase::Ramp { since, begun } => since + ramp_time(begun + 1.0).min(self.config.ramp),
        }
    }

    /// How many attempts may begin at `now`: some where [`Self::opens`] is not after it, else none.
    pub(super) fn capacity(&self, now: Time) -> usize {
        let probes = self.config.half_open_probes.get();
        let room = match self.phase {
            Phase::Closed => return usize::MAX,
            Phase::Open { until } if until > now => 0,
            Phase::Open { .. } => probes,
            // Probes that were not heard of for so long were broken off, or take longer than anybody waits. Without new
            // ones, a lane that gets no new messages would stand still for ever.
            Phase::Probing { since, .. } if now >= since + self.config.open_for => probes,
            Phase::Probing { sent, .. } => probes.saturating_sub(sent),
            Phase::Ramp { since, .. } if now >= since + self.config.ramp => return usize::MAX,
            Phase::Ramp { .. } => u32::from(self.opens(now) <= now),
        };
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Takes the permission for an attempt at `now`, or says when to ask again.
    pub(super) fn admit(&mut self, now: Time) -> Result<(), Time> {
        if self.capacity(now) == 0 {
            return Err(self.opens(now));
        }
        self.phase = match self.phase {
            Phase::Closed => Phase::Closed,
            Phase::Probing { since, sent, failed } if now < since + self.config.open_for => {
                Phase::Probing { since, sent: sent + 1, failed }
            }
            Phase::Open { .. } | Phase::Probing { .. } => Phase::Probing { since: now, sent: 1, failed: 0 },
            Phase::Ramp { since, begun } => Phase::Ramp { since, begun: begun + 1.0 },
        };
        Ok(())
    }

    /// When it closes by itself, without an attempt.
    pub(super) fn closes(&self) -> Option<Time> {
        match self.phase {
            Phase::Ramp { since, .. } => Some(since + self.config.ramp),
            _ => None,
        }
    }

    /// Closes at the end of the ramp.
    pub(super) fn tick(&mut self, now: Time) {
        if self.closes().is_some_and(|end| end <= now) {
            self.phase = Phase::Closed;
            self.changed = Some(Change::Closed);
        }
    }

    /// Lets probes begin at `now`, and lets a failed one cost no more than `longest`. This is never undone: the route
    /// ends.
    pub(super) fn expedite(&mut self, now: Time, longest: Duration) {
        self.config.open_for = self.config.open_for.min(longest);
        if let Phase::Open { until } = &mut self.phase {
            *until = now.min(*until);
        }
    }

    /// Takes note of the success of an attempt that began at `began`.
    pub(super) fn succeeded(&mut self, began: Time, now: Time) {
        if began < self.opened {
            return;
        }
        // The ramp may be over by now without anybody having said so: the state of `now` counts, not that of the last
        // call.
        self.tick(now);
        self.in_a_row = 0;
        match self.phase {
            Phase::Closed | Phase::Ramp { .. } => self.window.add(now, false),
            Phase::Open { .. } => {}
            // One success is enough: a ramp begins gently, and opens again where the webhook can't stand it.
            Phase::Probing { .. } => {
                self.phase = Phase::Ramp { since: now, begun: 0.0 };
                self.changed = Some(Change::Ramping);
            }
        }
    }

    /// Takes note of the failure of an attempt that began at `began`. Whether it is to be held against its message.
    pub(super) fn failed(&mut self, began: Time, now: Time) -> bool {
        if began < self.opened {
            return false;
        }
        self.tick(now);
        match self.phase {
            // In the ramp too, failures are held against their messages: what fails there is more often a message that
            // always fails than the webhook, and would otherwise open the breaker for ever without dying.
            Phase::Closed | Phase::Ramp { .. } => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.window.add(now, true);
                if self.in_a_row >= self.config.failures.get() || self.window.fails(self.config.rate) {
                    self.changed = Some(Change::Opened { wait: self.config.open_for });
                    self.open(now);
                }
                true
            }
            Phase::Open { .. } => false,
            Phase::Probing { since, sent, failed } => {
                // One of them may be a message that always fails, however well the webhook is. All have to fail.
                if failed + 1 < sent {
                    self.phase = Phase::Probing { since, sent, failed: failed + 1 };
                } else {
                    self.open(now);
                }
                false
            }
        }
    }

    fn open(&mut self, now: Time) {
        self.phase = Phase::Open { until: now + self.config.open_for };
        self.opened = now;
        self.in_a_row = 0;
        self.window.clear();
    }
}

/// How long after its beginning the ramp is at its `nth` attempt. With a rate that begins at r and doubles in the time
/// τ, the attempts up to the time t are n = r·τ/ln 2·(2^(t/τ) − 1); this is that formula solved for t.
fn ramp_time(nth: f64) -> Duration {
    let doubling = RAMP_DOUBLING.as_secs_f64();
    let scale = RAMP_START * doubling / std::f64::consts::LN_2;
    // The first one begins at once.
    Duration::from_secs_f64(((nth - 1.0) / scale + 1.0).log2() * doubling)
}

/// The attempts of the last while, in steps.
#[derive(Clone, Debug)]
struct Window {
    step: Duration,
    steps: VecDeque<Step>,
    attempts: u64,
    failed: u64,
}

#[derive(Clone, Debug)]
struct Step {
    begin: Time,
    attempts: u64,
    failed: u64,
}

impl Window {
    fn new(length: Duration) -> Self {
        Self { step: length / STEPS, steps: VecDeque::new(), attempts: 0, failed: 0 }
    }

    fn add(&mut self, now: Time, failed: bool) {
        self.forget(now);
        if self.steps.back().is_none_or(|last| now.since(last.begin) >= self.step) {
            self.steps.push_back(Step { begin: now, attempts: 0, failed: 0 });
        }
        if let Some(last) = self.steps.back_mut() {
            last.attempts += 1;
            last.failed += u64::from(failed);
        }
        self.attempts += 1;
        self.failed += u64::from(failed);
    }

    /// Drops the steps that have left the window.
    fn forget(&mut self, now: Time) {
        while let Some(first) = self.steps.front()
            && now.since(first.begin) >= self.step * STEPS
        {
            self.attempts -= first.attempts;
            self.failed -= first.failed;
            self.steps.pop_front();
        }
    }

    /// Whether this share of the attempts failed.
    fn fails(&self, share: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
        let (attempts, failed) = (self.attempts as f64, self.failed as f64);
        self.attempts >= LEAST_ATTEMPTS && failed >= share * attempts
    }

    fn clear(&mut self) {
        *self = Self::new(self.step * STEPS);
    }
}
