//! Keeps a repeated event from flooding the log. It is told the time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::clock::Time;

/// Lets a few events through in each period and counts the rest.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    period: Duration,
    allowed: u32,
    began: Time,
    seen: u32,
    held_back: u64,
}

impl Throttle {
    /// Lets `allowed` events through in each `period`.
    pub const fn new(allowed: u32, period: Duration) -> Self {
        Self { period, allowed, began: Time::START, seen: 0, held_back: 0 }
    }

    /// Whether an event at `now` may be reported. If so, returns how many were held back since the last one that was:
    /// none is left out without a trace.
    pub fn pass(&mut self, now: Time) -> Option<u64> {
        if now.since(self.began) >= self.period {
            self.began = now;
            self.seen = 0;
        }
        if self.seen < self.allowed {
            self.seen += 1;
            Some(std::mem::take(&mut self.held_back))
        } else {
            self.held_back += 1;
            None
        }
    }
}

/// One that many places share, on any thread.
#[derive(Clone, Debug)]
pub struct SharedThrottle(Arc<Mutex<Throttle>>);

impl SharedThrottle {
    /// As [`Throttle::new`], for all clones together.
    pub fn new(allowed: u32, period: Duration) -> Self {
        Self(Arc::new(Mutex::new(Throttle::new(allowed, period))))
    }

    /// As [`Throttle::pass`].
    pub fn pass(&self, now: Time) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pass(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::schedule::testing::at;

    #[test]
    fn lets_a_few_through_in_each_period_and_counts_the_rest() {
        let mut throttle = Throttle::new(2, Duration::from_secs(10));
        let passed: Vec<_> = (100..125).map(|second| throttle.pass(at(second))).collect();
        let reported: Vec<_> =
            (100..).zip(&passed).filter_map(|(s, pass)| pass.map(|held| (s, held))).collect();
        assert_eq!(reported, [(100, 0), (101, 0), (110, 8), (111, 0), (120, 8), (121, 0)]);
    }
}
