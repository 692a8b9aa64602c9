//! Whether a route's webhook is working, and the one line that is logged when that changes.
//!
//! For operators only: what is attempted depends on the [`breaker`], never on this.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tracing::{info, warn};

use super::schedule::breaker;
use crate::{base::clock::Time, config::RouteName, message::outcome::Failure};

/// A single failure is everyday life; this many in a row are news.
const FAILURES: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");

/// A webhook that comes and goes is reported as failing no more often than this.
const DWELL: Duration = Duration::from_secs(1);

/// A change that is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// Several attempts in a row failed, the last of them for this reason.
    Failing(Failure),
    /// An attempt succeeded again.
    Recovered {
        /// How long the failures had gone on.
        after: Duration,
        /// How many attempts failed meanwhile.
        failed: u64,
    },
}

/// Decides when a route has begun to fail and when it has recovered. Plain code that is told the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracker {
    in_a_row: u32,
    /// While it is failing: when the first of those failures was.
    failing_since: Option<Time>,
    /// When the present row of failures began.
    first_failure: Time,
    failed: u64,
    /// When the log was last told of a change.
    changed: Option<Time>,
}

impl Tracker {
    /// Takes note of an attempt that succeeded.
    pub fn succeeded(&mut self, now: Time) -> Option<HealthChange> {
        self.in_a_row = 0;
        let since = self.failing_since?;
        self.failing_since = None;
        self.changed = Some(now);
        Some(HealthChange::Recovered { after: now.since(since), failed: self.failed })
    }

    /// Takes note of an attempt that failed.
    pub fn failed(&mut self, failure: Failure, now: Time) -> Option<HealthChange> {
        if self.in_a_row == 0 {
            self.first_failure = now;
        }
        self.in_a_row += 1;
        self.failed += 1;
        let reported_lately = self.changed.is_some_and(|changed| now.since(changed) < DWELL);
        if self.failing_since.is_some() || self.in_a_row < FAILURES.get() || reported_lately {
            return None;
        }
        self.failing_since = Some(self.first_failure);
        self.failed = u64::from(self.in_a_row);
        self.changed = Some(now);
        Some(HealthChange::Failing(failure))
    }

    /// Whether a success would change nothing.
    const fn is_quiet(&self) -> bool {
        self.in_a_row == 0 && self.failing_since.is_none()
    }
}

/// Whether the webhook of a route works, as all its lanes see it.
#[derive(Debug)]
pub struct WebhookHealth {
    route: RouteName,
    tracker: Mutex<Tracker>,
    /// Whether a success has to be noted. Spares the lock for as long as all goes well; a success that is missed by a
    /// moment, because another lane has just failed, is followed by the next one.
    troubled: AtomicBool,
    /// What was said to be odd about its answers: a handful at most, each is a text of this program.
    odd: Mutex<Vec<&'static str>>,
}

impl WebhookHealth {
    /// The webhook of `route`, which is presumed to work.
    pub fn new(route: RouteName) -> Self {
        Self { route, tracker: Mutex::default(), troubled: AtomicBool::new(false), odd: Mutex::default() }
    }

    /// The route.
    pub const fn route(&self) -> &RouteName {
        &self.route
    }

    /// Takes note of an attempt that succeeded.
    pub fn succeeded(&self, now: Time) {
        if self.troubled.load(Relaxed) {
            self.note(|tracker| tracker.succeeded(now));
        }
    }

    /// Takes note of an attempt that failed.
    pub fn failed(&self, failure: Failure, now: Time) {
        self.note(|tracker| tracker.failed(failure, now));
    }

    /// Says, once for each kind, that answers which count as deliveries are malformed.
    pub fn odd_answer(&self, odd: &'static str) {
        let mut said = self.odd.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.contains(&odd) {
            said.push(odd);
            let route = self.route.as_str();
            warn!(
                route,
                odd, "webhook answers oddly: its status counts, and each such answer ends its connection"
            );
        }
    }

    /// Logs what has become of the breaker.
    pub fn breaker_changed(&self, change: breaker::Change) {
        let route = self.route.as_str();
        match change {
            breaker::Change::Opened { wait } => {
                let wait = humantime::format_duration(wait);
                warn!(route, %wait, "breaker open: the webhook is left alone");
            }
            breaker::Change::Ramping => {
                info!(route, "breaker half-open: a probe was delivered, ramping up");
            }
            breaker::Change::Closed => info!(route, "breaker closed"),
        }
    }

    fn note(&self, event: impl FnOnce(&mut Tracker) -> Option<HealthChange>) {
        let change = {
            let mut tracker = self.tracker.lock().unwrap_or_else(PoisonError::into_inner);
            let change = event(&mut tracker);
            self.troubled.store(!tracker.is_quiet(), Relaxed);
            change
        };
        let route = self.route.as_str();
        match change {
            None => {}
            Some(HealthChange::Failing(failure)) => {
                warn!(route, reason = %failure.label(), "webhook is failing, its messages are retried");
            }
            Some(HealthChange::Recovered { after, failed }) => {
                let after = humantime::format_duration(Duration::from_millis(
                    u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                ));
                info!(route, %after, failed_attempts = failed, "webhook has recovered");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn three_failures_in_a_row_are_reported_once() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.failed(Failure::Reset, ms(0)), None);
        assert_eq!(tracker.failed(Failure::Reset, ms(1)), None);
        assert_eq!(tracker.failed(Failure::Timeout, ms(2)), Some(HealthChange::Failing(Failure::Timeout)));
        assert_eq!(tracker.failed(Failure::Timeout, ms(9000)), None);
    }

    #[test]
    fn failures_between_successes_are_not() {
        let mut tracker = Tracker::default();
        for now in 0..100 {
            assert_eq!(tracker.failed(Failure::Reset, ms(now)), None);
            assert_eq!(tracker.failed(Failure::Reset, ms(now)), None);
            assert_eq!(tracker.succeeded(ms(now)), None);
        }
    }

    #[test]
    fn recovery_says_how_long_it_took_and_how_many_failed() {
        let mut tracker = Tracker::default();
        for now in [100, 200, 300, 400] {
            tracker.failed(Failure::Status(503), ms(now));
        }
        let change = tracker.succeeded(ms(5100));
        assert_eq!(change, Some(HealthChange::Recovered { after: Duration::from_secs(5), failed: 4 }));
        assert!(tracker.is_quiet());
    }

    #[test]
    fn flapping_is_reported_once_a_second() {
        let mut tracker = Tracker::default();
        let mut changes = 0;
        for now in 0..10_000 {
            let change = if now % 5 == 4 {
                tracker.succeeded(ms(now))
            } else {
                tracker.failed(Failure::Reset, ms(now))
            };
            changes += u32::from(change.is_some());
        }
        assert!((18..=20).contains(&changes), "{changes} lines in ten seconds");
    }
}
