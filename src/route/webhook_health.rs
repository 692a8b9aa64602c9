//! Whether a route's webhook is working, and the one line that is logged when that changes.
//!
//! For operators only: what is attempted depends on the [`breaker`], never on this.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{
    failures::RecentFailures,
    schedule::breaker,
    trouble::{SLOWED, opened, rounded},
};
use crate::{
    base::clock::Time,
    config::{RouteName, WebhookUrl},
    message::{
        batch::Batch,
        outcome::{Attempt, Failure},
    },
};

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
    state: Mutex<State>,
    /// Whether a success has to be noted. Spares the lock for as long as all goes well; a success that is missed by a
    /// moment, because another lane has just failed, is followed by the next one.
    troubled: AtomicBool,
    /// The latest failed attempts.
    pub failures: RecentFailures,
}

/// What the log was told of a webhook.
#[derive(Debug, Default)]
struct State {
    tracker: Tracker,
    /// The latest failure, in words.
    failure: Option<Told>,
    /// What a rejected message was rejected with, when that was last told.
    rejection: Option<(Failure, Time)>,
    /// Why it is left alone.
    left_alone: Option<breaker::Why>,
    slowed: bool,
    /// What was said to be odd about its answers: a handful at most, each is a text of this program.
    odd: Vec<&'static str>,
    /// The end of the longest pause that was told.
    paused_until: Time,
    /// Who lets other replicas know, where somebody does, and the address that it is known by there.
    reports: Option<(mpsc::Sender<Word>, WebhookUrl)>,
}

/// What a webhook has said that other replicas want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The route whose webhook it is.
    pub route: RouteName,
    /// The address that has said it: the route may have another one by now.
    pub webhook: WebhookUrl,
    /// Whether it says that it is gone for good. Else it was left alone, and has taken a message.
    pub is_gone: bool,
}

/// A failure as the log tells it.
#[derive(Clone, Debug)]
struct Told {
    failure: Failure,
    cause: Option<Arc<str>>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.label())?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// The same rejection is told once in this time.
const REJECTIONS: Duration = Duration::from_secs(60);
/// A pause of this length is worth a line of its own.
const LONG_PAUSE: Duration = Duration::from_secs(10);

impl WebhookHealth {
    /// The webhook of `route`, which is presumed to work.
    pub fn new(route: RouteName) -> Self {
        Self {
            route,
            state: Mutex::default(),
            troubled: AtomicBool::new(false),
            failures: RecentFailures::default(),
        }
    }

    /// The route.
    pub const fn route(&self) -> &RouteName {
        &self.route
    }

    /// Has `reports` get what other replicas want to know of this `webhook`.
    pub fn report_to(&self, reports: &mpsc::Sender<Word>, webhook: &WebhookUrl) {
        self.lock().reports = Some((reports.clone(), webhook.clone()));
    }

    /// Takes note that another replica has heard that it is gone for good: when, and which one it was.
    pub fn told_gone(&self, told: &str) {
        self.lock().failure = Some(Told { failure: Failure::Status(410), cause: Some(told.into()) });
    }

    /// How the latest failed attempt failed, in words.
    pub fn latest_failure(&self) -> Option<String> {
        self.lock().failure.as_ref().map(Told::to_string)
    }

    /// Since when its attempts fail, several in a row; none where they don't.
    pub fn failing_since(&self) -> Option<Time> {
        if !self.troubled.load(Relaxed) {
            return None;
        }
        self.lock().tracker.failing_since
    }

    /// Takes note of an attempt that succeeded, where the webhook `is_slowed` or not.
    pub fn succeeded(&self, now: Time, is_slowed: impl FnOnce() -> bool) {
        if !self.troubled.load(Relaxed) {
            return;
        }
        let mut state = self.lock();
        let change = state.tracker.succeeded(now);
        let full_rate = state.slowed && !is_slowed();
        state.slowed &= !full_rate;
        self.troubled.store(state.slowed || !state.tracker.is_quiet(), Relaxed);
        drop(state);
        if let Some(HealthChange::Recovered { after, failed }) = change {
            let after = rounded(after);
            info!(route = self.route.as_str(), %after, failed_attempts = failed, "webhook has recovered");
        }
        if full_rate {
            info!(route = self.route.as_str(), "the webhook takes everything again");
        }
    }

    /// Tells of `attempt` at `batch`, which failed: whatever that says of the webhook.
    pub fn attempt_failed(&self, batch: &Batch, attempt: &Attempt, now: Time) {
        let Attempt::Failed { failure, cause, .. } = attempt else { return };
        self.failures.note(batch, *failure, cause.as_ref(), now);
        for message in batch.iter() {
            debug!(
                route = self.route.as_str(),
                id = %message.id,
                attempt = message.attempts,
                reason = %failure.label(),
                trace_id = message.trace().map(tracing::field::display),
                "attempt failed"
            );
        }
    }

    /// Takes note of an attempt that failed and is made again.
    pub fn failed(&self, failure: Failure, cause: Option<&Arc<str>>, now: Time) {
        let mut state = self.lock();
        state.failure = Some(Told { failure, cause: cause.cloned() });
        let change = state.tracker.failed(failure, now);
        self.troubled.store(true, Relaxed);
        drop(state);
        if change.is_some() {
            let (route, reason) = (self.route.as_str(), failure.label());
            warn!(route, %reason, cause = cause.map(|cause| &**cause), "webhook is failing, its messages are retried");
        }
    }

    /// Takes note of a message that was rejected and is not tried again.
    pub fn rejected(&self, failure: Failure, cause: Option<&Arc<str>>, now: Time) {
        let mut state = self.lock();
        let known = state.rejection.is_some_and(|(told, at)| told == failure && now.since(at) < REJECTIONS);
        if !known {
            state.rejection = Some((failure, now));
        }
        drop(state);
        if !known {
            let (route, reason) = (self.route.as_str(), failure.label());
            let cause = cause.map(|cause| &**cause);
            if failure == Failure::Unsendable {
                warn!(route, cause, "no request can be made of a message, which is not retried");
            } else {
                info!(route, %reason, cause, "webhook rejects a message, which is not retried");
            }
        }
    }

    /// Takes note that the webhook wants less, and that the route waits for `wait` from `now`.
    pub fn throttled(&self, failure: Failure, wait: Duration, now: Time) {
        let mut state = self.lock();
        let until = now + wait;
        let is_new = !state.slowed;
        let is_long = wait >= LONG_PAUSE && until > state.paused_until + LONG_PAUSE;
        state.slowed = true;
        if is_new || is_long {
            state.paused_until = until;
        }
        self.troubled.store(true, Relaxed);
        drop(state);
        let (route, reason, wait) = (self.route.as_str(), failure.label(), rounded(wait));
        if is_long {
            warn!(route, %reason, %wait, "the webhook asked for a pause");
        } else if is_new {
            info!(route, %reason, %wait, "{SLOWED}");
        }
    }

    /// Says, once for each kind, that answers which count as deliveries are malformed.
    pub fn odd_answer(&self, odd: &'static str) {
        let mut state = self.lock();
        let known = state.odd.contains(&odd);
        if !known {
            state.odd.push(odd);
        }
        drop(state);
        if !known {
            let route = self.route.as_str();
            warn!(route, odd, "webhook answers oddly: its status counts");
        }
    }

    /// Logs what has become of the breaker. That it opened again after probes that failed is no news.
    pub fn breaker_changed(&self, change: breaker::Change) {
        let route = self.route.as_str();
        let mut state = self.lock();
        let known = state.left_alone;
        state.left_alone = match change {
            breaker::Change::Opened { why, .. } => Some(why),
            breaker::Change::Ramping | breaker::Change::Closed => None,
        };
        let failure = state.failure.as_ref().map(Told::to_string);
        let reports = state.reports.clone();
        drop(state);
        if let (Some((reports, webhook)), Some(is_gone)) = (reports, is_gone(change)) {
            // Where it has no room, the other replicas find out by themselves.
            drop(reports.try_send(Word { route: self.route.clone(), webhook, is_gone }));
        }
        match change {
            breaker::Change::Opened { why, .. } if known == Some(why) => {}
            breaker::Change::Opened { why, wait } => {
                let (wait, line) = (rounded(wait), opened(why));
                warn!(route, %wait, reason = failure, "{line}");
            }
            breaker::Change::Ramping => {
                info!(route, "breaker half-open: a probe was delivered, ramping up");
            }
            breaker::Change::Closed => info!(route, "breaker closed"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What other replicas want to know of a `change`: whether the webhook is gone for good, or works again.
const fn is_gone(change: breaker::Change) -> Option<bool> {
    match change {
        breaker::Change::Opened { why: breaker::Why::Gone, .. } => Some(true),
        breaker::Change::Ramping => Some(false),
        breaker::Change::Opened { .. } | breaker::Change::Closed => None,
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
