//! The one retry rule: what happens to a message after a failed attempt. It depends on the failure, the number
//! of attempts and chance (jitter), not on the time.

use std::time::Duration;

use crate::base::backoff::Backoff;
use crate::{
    config::{Retry, Statuses},
    message::outcome::{Failure, Reason},
};

/// What happens next to a message whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again after `delay`.
    Retry {
        /// How long the message waits at least.
        delay: Duration,
        /// How long the whole route waits, because the webhook asked for it.
        pause: Option<Duration>,
    },
    /// It is not tried again.
    Dead(Reason),
}

/// The rule of one route.
#[derive(Clone, Debug)]
pub struct Policy {
    attempts: u32,
    retried: Statuses,
    longest_pause: Duration,
    backoff: Backoff,
}

impl Policy {
    /// What follows `failure`, when `attempts` attempts were made in all and the webhook asked for `retry_after`.
    pub fn next(&self, failure: Failure, attempts: u32, retry_after: Option<Duration>) -> Next {
        if !self.is_retried(failure) {
            return Next::Dead(Reason::Rejected);
        }
        if attempts >= self.attempts {
            return Next::Dead(Reason::AttemptsExhausted);
        }
        // Nobody but the operator decides how long a route may stand still.
        let pause = retry_after.map(|asked| asked.min(self.longest_pause));
        // Failures while the breaker is not closed don't count, so `attempts` may be 0, and the backoff begins with 1.
        let delay = self.backoff.delay(attempts.max(1)).max(pause.unwrap_or_default());
        Next::Retry { delay, pause }
    }

    fn is_retried(&self, failure: Failure) -> bool {
        failure.status().is_none_or(|status| self.retried.contains(status))
    }
}

impl From<&Retry> for Policy {
    fn from(retry: &Retry) -> Self {
        Self {
            attempts: retry.attempts.get(),
            retried: retry.statuses.clone(),
            longest_pause: retry.max,
            backoff: Backoff::new(retry.initial, retry.max, retry.multiplier, retry.jitter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::schedule::testing::retry;

    fn policy() -> Policy {
        Policy::from(&retry())
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn every_status_is_retried_or_rejected_as_documented() {
        for status in (100..1000).filter(|status| !(200..300).contains(status)) {
            let retried = matches!(policy().next(Failure::Status(status), 1, None), Next::Retry { .. });
            let expected = matches!(status, 408 | 425 | 429 | 500 | 502..=599);
            assert_eq!(retried, expected, "status {status}");
        }
    }

    #[test]
    fn every_transport_failure_is_retried() {
        for failure in Failure::TRANSPORT {
            assert!(matches!(policy().next(failure, 1, None), Next::Retry { .. }), "{failure:?}");
        }
    }

    #[test]
    fn the_last_attempt_ends_it() {
        assert!(matches!(policy().next(Failure::Timeout, 7, None), Next::Retry { .. }));
        assert_eq!(policy().next(Failure::Timeout, 8, None), Next::Dead(Reason::AttemptsExhausted));
        assert_eq!(policy().next(Failure::Status(400), 8, None), Next::Dead(Reason::Rejected));
    }

    #[test]
    fn retry_after_pauses_the_route_and_is_clamped() {
        let next = |asked| policy().next(Failure::Status(429), 1, Some(secs(asked)));
        let Next::Retry { delay, pause } = next(20) else { panic!("a 429 is retried") };
        assert_eq!((delay, pause), (secs(20), Some(secs(20))));
        let Next::Retry { delay, pause } = next(86_400) else { panic!("a 429 is retried") };
        assert_eq!((delay, pause), (secs(300), Some(secs(300))));
    }

    #[test]
    fn a_short_retry_after_does_not_shorten_the_backoff() {
        let policy = Policy {
            backoff: Backoff::new(secs(8), secs(300), 2.0, crate::base::backoff::Jitter::None),
            ..policy()
        };
        let next = policy.next(Failure::Status(503), 1, Some(secs(1)));
        assert_eq!(next, Next::Retry { delay: secs(8), pause: Some(secs(1)) });
    }
}
