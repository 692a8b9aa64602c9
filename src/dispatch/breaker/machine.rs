//! The states of a breaker and the ways between them.

use std::{collections::VecDeque, time::Duration};

use super::{Change, State};
use crate::{clock::Time, config};

/// A share of failures means nothing before there were this many attempts.
const LEAST_ATTEMPTS: u64 = 20;
/// The window slides in this many steps.
const STEPS: u32 = 10;
/// How long to wait for the outcome of probes before looking again.
const RECHECK: Duration = Duration::from_millis(50);
/// A ramp begins with so many attempts a second, and doubles them in this time.
const RAMP_START: f64 = 20.0;
const RAMP_DOUBLING: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Machine {
    config: config::Breaker,
    phase: Phase,
    in_a_row: u32,
    window: Window,
    changed: Option<Change>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        until: Time,
    },
    /// So many probes were sent since `since`.
    Probing {
        since: Time,
        probes: u32,
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
        Self { config, phase: Phase::Closed, in_a_row: 0, window, changed: None }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::Probing { .. } | Phase::Ramp { .. } => State::HalfOpen,
        }
    }

    /// Whether a success would change nothing.
    pub(super) fn is_calm(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.in_a_row == 0 && self.window.failed == 0
    }

    /// The last change that nobody was told of yet.
    pub(super) const fn take_change(&mut self) -> Option<Change> {
        self.changed.take()
    }

    /// From when on an attempt may begin, as far as is known at `now`.
    pub(super) fn next(&self, now: Time) -> Time {
        match self.phase {
            Phase::Closed => Time::START,
            Phase::Open { until } => until,
            Phase::Probing { since, probes } if probes >= self.config.half_open_probes.get() => {
                // Their outcome changes the phase. What was never heard of again was broken off.
                (now + RECHECK).min((since + self.config.open_for).max(now))
            }
            Phase::Probing { .. } => Time::START,
            Phase::Ramp { since, begun } => since + ramp_time(begun + 1.0),
        }
    }

    /// How many attempts may begin at `now`.
    pub(super) fn room(&self, now: Time) -> usize {
        match self.phase {
            Phase::Closed => usize::MAX,
            Phase::Open { until } => usize::from(until <= now),
            Phase::Probing { probes, .. } => {
                usize::try_from(self.config.half_open_probes.get().saturating_sub(probes))
                    .unwrap_or(usize::MAX)
            }
            Phase::Ramp { .. } => usize::from(self.next(now) <= now),
        }
    }

    /// Takes the permission for an attempt at `now`, or says when to ask again.
    pub(super) fn admit(&mut self, now: Time) -> Result<(), Time> {
        match self.phase {
            Phase::Closed => Ok(()),
            Phase::Open { until } if now < until => Err(until),
            Phase::Open { .. } => {
                self.phase = Phase::Probing { since: now, probes: 1 };
                Ok(())
            }
            Phase::Probing { since, probes } => {
                if probes < self.config.half_open_probes.get() {
                    self.phase = Phase::Probing { since, probes: probes + 1 };
                    Ok(())
                } else if now >= since + self.config.open_for {
                    // The probes were broken off, or take longer than anybody waits: try others.
                    self.phase = Phase::Probing { since: now, probes: 1 };
                    Ok(())
                } else {
                    Err(self.next(now).max(now + RECHECK))
                }
            }
            Phase::Ramp { since, begun } => {
                if now.since(since) >= self.config.ramp {
                    self.close();
                    return Ok(());
                }
                let next = self.next(now);
                if next > now {
                    return Err(next);
                }
                self.phase = Phase::Ramp { since, begun: begun + 1.0 };
                Ok(())
            }
        }
    }

    /// Time is short: lets probes begin at `now`, and lets no failed one cost more than `longest` any more.
    pub(super) fn hurry(&mut self, now: Time, longest: Duration) {
        self.config.open_for = self.config.open_for.min(longest);
        if let Phase::Open { until } = &mut self.phase {
            *until = now.min(*until);
        }
    }

    pub(super) fn succeeded(&mut self, now: Time) {
        self.in_a_row = 0;
        match self.phase {
            Phase::Closed => self.window.add(now, false),
            // An attempt from before, which ends late. The probes will tell.
            Phase::Open { .. } => {}
            Phase::Probing { .. } => {
                self.phase = Phase::Ramp { since: now, begun: 0.0 };
                self.window.clear();
                self.changed = Some(Change::Ramping);
            }
            Phase::Ramp { since, .. } => {
                self.window.add(now, false);
                if now.since(since) >= self.config.ramp {
                    self.close();
                }
            }
        }
    }

    /// Whether the failure is to be held against its message.
    pub(super) fn failed(&mut self, now: Time) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        match self.phase {
            Phase::Closed | Phase::Ramp { .. } => {
                self.window.add(now, true);
                if self.in_a_row >= self.config.failures.get() || self.window.fails(now, self.config.rate) {
                    self.open(now);
                }
                true
            }
            Phase::Open { .. } => false,
            Phase::Probing { .. } => {
                self.open(now);
                false
            }
        }
    }

    fn open(&mut self, now: Time) {
        let again = !matches!(self.phase, Phase::Closed | Phase::Ramp { .. });
        self.phase = Phase::Open { until: now + self.config.open_for };
        self.window.clear();
        if !again {
            self.changed = Some(Change::Opened { wait: self.config.open_for });
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.changed = Some(Change::Closed);
    }
}

/// When the ramp is at its `nth` attempt, after its beginning. With a rate that doubles in the time τ, the attempts up to
/// the time t are r·τ/ln 2·(2^(t/τ) − 1).
fn ramp_time(nth: f64) -> Duration {
    let doubling = RAMP_DOUBLING.as_secs_f64();
    let scale = RAMP_START * doubling / std::f64::consts::LN_2;
    // The first one begins at once.
    Duration::from_secs_f64(((nth - 1.0) / scale + 1.0).log2() * doubling)
}

/// The attempts of the last while, in steps.
#[derive(Debug)]
struct Window {
    step: Duration,
    steps: VecDeque<Step>,
    attempts: u64,
    failed: u64,
}

#[derive(Debug)]
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
    fn fails(&self, _now: Time, share: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
        let (attempts, failed) = (self.attempts as f64, self.failed as f64);
        self.attempts >= LEAST_ATTEMPTS && failed >= share * attempts
    }

    fn clear(&mut self) {
        *self = Self::new(self.step * STEPS);
    }
}
