//! The one retry rule: what happens to a message after a failed attempt. It depends on the failure, the number
//! of attempts and chance (jitter), not on the time.

use std::time::Duration;

use super::fault::Fault;
use crate::{
    base::backoff::Backoff,
    config::{Retry, Statuses},
    message::outcome::{Failure, Reason},
};

/// The rule of one route.
#[derive(Clone, Debug)]
pub struct Policy {
    attempts: u32,
    retried: Statuses,
    longest_pause: Duration,
    backoff: Backoff,
}

impl Policy {
    /// Whose fault `failure` looks like, where the webhook asked for `retry_after`.
    pub fn fault(&self, failure: Failure, retry_after: Option<Duration>) -> Fault {
        Fault::of(failure, self.is_retried(failure), retry_after)
    }

    /// Why a message ends with `failure`, after `paid` failures that it paid for, of which there have to be `required`
    /// before any says something about it; none where it is tried again.
    pub fn ends(&self, failure: Failure, paid: u32, required: u32) -> Option<Reason> {
        let (limit, reason) = match failure {
            Failure::Unsendable => (1, Reason::Unsendable),
            _ if self.is_retried(failure) => (self.attempts, Reason::AttemptsExhausted),
            _ => (1, Reason::Rejected),
        };
        (paid >= limit.max(required)).then_some(reason)
    }

    /// How long the webhook may have the route wait that asks for `asked`: nobody but the operator decides how long a
    /// route may stand still.
    pub fn pause(&self, asked: Duration) -> Duration {
        asked.min(self.longest_pause)
    }

    /// How long a message waits after its `nth` failure.
    pub fn delay(&self, nth: u32) -> Duration {
        self.backoff.delay(nth.max(1))
    }

    /// How long a message waits after its `nth` failure, where the webhook pays for it: not so long that the webhook
    /// has been back for minutes. For one that is left alone it is the breaker that says when.
    pub fn short_delay(&self, nth: u32) -> Duration {
        const LONGEST: Duration = Duration::from_secs(5);
        self.delay(nth).min(LONGEST.max(self.delay(1)))
    }

    /// Whether the operator has `failure` retried.
    pub fn is_retried(&self, failure: Failure) -> bool {
        match failure {
            Failure::Status(status) => self.retried.contains(status),
            // The next request of the same message would be none either.
            Failure::Unsendable => false,
            _ => true,
        }
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

    #[test]
    fn every_status_is_retried_or_rejected_as_documented() {
        for status in (100..1000).filter(|status| !(200..300).contains(status)) {
            let retried = policy().ends(Failure::Status(status), 1, 1).is_none();
            let expected = matches!(status, 408 | 425 | 429 | 500 | 502..=599);
            assert_eq!(retried, expected, "status {status}");
        }
    }

    #[test]
    fn every_transport_failure_is_retried() {
        for failure in Failure::TRANSPORT.into_iter().filter(|failure| *failure != Failure::Unsendable) {
            assert_eq!(policy().ends(failure, 1, 1), None, "{failure:?}");
        }
        assert_eq!(policy().ends(Failure::Unsendable, 1, 1), Some(Reason::Unsendable));
    }

    #[test]
    fn the_last_attempt_ends_it() {
        assert_eq!(policy().ends(Failure::Timeout, 7, 1), None);
        assert_eq!(policy().ends(Failure::Timeout, 8, 1), Some(Reason::AttemptsExhausted));
        assert_eq!(policy().ends(Failure::Status(400), 8, 1), Some(Reason::Rejected));
    }

    #[test]
    fn what_may_be_chance_ends_nothing() {
        assert_eq!(policy().ends(Failure::Timeout, 8, 9), None);
        assert_eq!(policy().ends(Failure::Status(404), 1, 2), None);
        assert_eq!(policy().ends(Failure::Status(404), 2, 2), Some(Reason::Rejected));
    }

    #[test]
    fn nobody_but_the_operator_decides_how_long_a_route_may_stand_still() {
        assert_eq!(policy().pause(Duration::from_secs(86_400)), Duration::from_secs(300));
        assert_eq!(policy().pause(Duration::from_secs(20)), Duration::from_secs(20));
    }
}
