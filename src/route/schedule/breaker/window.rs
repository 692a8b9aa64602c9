//! The share of attempts that failed within a while, which slides in steps.

use std::{collections::VecDeque, time::Duration};

use crate::base::clock::Time;

/// A share of failures means nothing before there were this many attempts: a first one that fails is a share of 100 %.
const LEAST_ATTEMPTS: u64 = 20;
/// The window slides in this many steps: counts of steps take little memory where times of attempts would take much,
/// and a tenth of the window is exact enough.
const STEPS: u32 = 10;

/// The attempts of the last while, in steps.
#[derive(Clone, Debug)]
pub(super) struct Window {
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
    pub(super) fn new(length: Duration) -> Self {
        Self { step: length / STEPS, steps: VecDeque::new(), attempts: 0, failed: 0 }
    }

    pub(super) fn add(&mut self, now: Time, failed: bool) {
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

    /// Whether no attempt failed lately, as far as was noted.
    pub(super) const fn is_clean(&self) -> bool {
        self.failed == 0
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
    pub(super) fn fails(&self, share: f64) -> bool {
        self.attempts >= LEAST_ATTEMPTS && self.is_share(share)
    }

    /// The same, as a first impression of a few attempts.
    pub(super) fn mostly_fails(&self, share: f64) -> bool {
        self.attempts >= 5 && self.is_share(share)
    }

    fn is_share(&self, share: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
        let (attempts, failed) = (self.attempts as f64, self.failed as f64);
        failed >= share * attempts
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.step * STEPS);
    }
}
