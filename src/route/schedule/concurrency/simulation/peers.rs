//! Small models of how others limit themselves, as far as their source or their documents say it.

use std::time::Duration;

use super::senders::Rule;
use crate::base::clock::Time;

/// The limiter of Vector (0.50): the mean latency of a round against an exponentially weighted one, one more where it is
/// not longer, a tenth less where it is longer by 2.5 deviations, or something was refused.
pub(super) struct Vector {
    limit: usize,
    past: Option<(f64, f64)>,
    sum: f64,
    count: u32,
    refused: bool,
    next: Time,
}

impl Vector {
    pub(super) const fn new() -> Self {
        Self { limit: 1, past: None, sum: 0.0, count: 0, refused: false, next: Time::START }
    }
}

impl Rule for Vector {
    const KEEPS_PLACES: bool = true;

    fn limit(&self) -> usize {
        self.limit
    }

    fn retry(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn ended(&mut self, refused: bool, latency: Duration, now: Time, reached: bool) -> bool {
        const MAX: usize = 200;
        const ALPHA: f64 = 0.4;
        self.refused |= refused;
        if !refused {
            self.sum += latency.as_secs_f64();
            self.count += 1;
        }
        let current = (self.count > 0).then(|| self.sum / f64::from(self.count));
        match (self.past, current) {
            (None, Some(current)) => {
                self.past = Some((current, 0.0));
                self.next = now + Duration::from_secs_f64(current);
            }
            (Some((mean, variance)), _) if now >= self.next => {
                let quick = current.is_some_and(|current| current <= mean + 1e-6);
                let slow = current.unwrap_or(0.0) >= mean + 2.5 * variance.sqrt() + 1e-6;
                if self.limit < MAX && reached && !self.refused && quick {
                    self.limit += 1;
                } else if self.limit > 1 && (self.refused || slow) {
                    self.limit = (self.limit * 9 / 10).max(1);
                }
                let mut after = mean;
                if let Some(current) = current {
                    let difference = current - mean;
                    after = mean + ALPHA * difference;
                    self.past = Some((after, (1.0 - ALPHA) * (variance + difference * ALPHA * difference)));
                }
                self.next = now + Duration::from_secs_f64(after);
                (self.sum, self.count, self.refused) = (0.0, 0, false);
                return true;
            }
            _ => {}
        }
        false
    }
}

/// The push window of Google Pub/Sub, as its documents describe it: one more with each message that is taken while
/// nearly all are, within a second; less when not. Nothing is said of by how much, which is taken to be half here.
pub(super) struct Push {
    window: f64,
    /// How many of the last hundred were taken quickly, as a moving average.
    good: f64,
    cut: Time,
    refusals: u32,
}

impl Push {
    pub(super) const fn new() -> Self {
        Self { window: 3.0, good: 1.0, cut: Time::START, refusals: 0 }
    }
}

impl Rule for Push {
    const KEEPS_PLACES: bool = false;

    #[expect(clippy::cast_possible_truncation, reason = "it is from 1 to 3,000")]
    fn limit(&self) -> usize {
        self.window as usize
    }

    fn retry(&self) -> Duration {
        Duration::from_millis(100) * (1 << self.refusals.min(9))
    }

    fn ended(&mut self, refused: bool, latency: Duration, now: Time, _reached: bool) -> bool {
        const MOST: f64 = 3000.0;
        let is_good = !refused && latency < Duration::from_secs(1);
        self.good += 0.01 * (f64::from(u8::from(is_good)) - self.good);
        if is_good {
            let step = if self.good > 0.99 { 1.0 } else { 1.0 / self.window };
            self.window = (self.window + step).min(MOST);
            self.refusals = 0;
        } else if now.since(self.cut) > latency {
            (self.window, self.cut) = ((self.window / 2.0).max(1.0), now);
            self.refusals += 1;
        }
        false
    }
}
