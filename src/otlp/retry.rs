//! What follows an attempt to export. Told the time, like all decisions.

use std::time::Duration;

use http::StatusCode;

use crate::base::{
    backoff::{Backoff, Jitter},
    clock::Time,
};

/// For how long a batch is tried. Then it is given up, so that there is room for those that tell of now.
const PATIENCE: Duration = Duration::from_secs(60);
/// No collector is waited for longer, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How the collector does, over all batches: the next one does not begin anew with it.
#[derive(Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    failures: u32,
    /// When it may be asked again.
    opens: Time,
}

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has the batch.
    Exported,
    /// It can't take it now, and may after this time.
    Later(Duration),
    /// It never takes it.
    Refused,
}

impl Retry {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10), 2.0, Jitter::Full);
        Self { backoff, failures: 0, opens: Time::START }
    }

    /// When the collector may be asked again.
    pub(super) const fn opens(&self) -> Time {
        self.opens
    }

    /// It has answered, whatever that was about this batch.
    pub(super) const fn answered(&mut self) {
        self.failures = 0;
        self.opens = Time::START;
    }

    /// An attempt at a batch has failed at `now`, the first of which began at `begin`; the collector has asked to `wait`.
    /// Whether there is another one.
    pub(super) fn failed(&mut self, wait: Duration, begin: Time, now: Time) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.opens = now + self.backoff.delay(self.failures).max(wait.min(LONGEST_WAIT));
        self.opens.since(begin) < PATIENCE
    }
}

impl Verdict {
    /// That of an answer with this status, which asks to wait so long (OTLP 1.9, "OTLP/HTTP Response").
    pub(super) fn of(status: StatusCode, wait: Option<Duration>) -> Self {
        match status.as_u16() {
            200..=299 => Self::Exported,
            429 | 502 | 503 | 504 => Self::Later(wait.unwrap_or_default()),
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(second: u64) -> Time {
        Time::from_start(Duration::from_secs(second))
    }

    #[test]
    fn only_what_may_be_over_is_tried_again() {
        let wait = Some(Duration::from_secs(7));
        for (status, expected) in [
            (200, Verdict::Exported),
            (202, Verdict::Exported),
            (302, Verdict::Refused),
            (400, Verdict::Refused),
            (401, Verdict::Refused),
            (404, Verdict::Refused),
            (429, Verdict::Later(Duration::from_secs(7))),
            (500, Verdict::Refused),
            (502, Verdict::Later(Duration::from_secs(7))),
            (503, Verdict::Later(Duration::from_secs(7))),
            (504, Verdict::Later(Duration::from_secs(7))),
        ] {
            assert_eq!(Verdict::of(StatusCode::from_u16(status).unwrap(), wait), expected, "{status}");
        }
    }

    #[test]
    fn a_wait_is_kept_to_and_a_batch_is_given_up_in_time() {
        let mut retry = Retry::new();
        assert!(retry.failed(Duration::from_secs(5), at(100), at(100)));
        assert!((at(105)..at(106)).contains(&retry.opens()), "{:?}", retry.opens());
        for second in 101..150 {
            assert!(retry.failed(Duration::ZERO, at(100), at(second)), "{second}");
            assert!(retry.opens() <= at(second + 10), "{:?}", retry.opens());
        }
        assert!(!retry.failed(Duration::ZERO, at(100), at(160)));
        assert!(!retry.failed(Duration::from_secs(3600), at(160), at(160)), "longer than a batch is kept");
        assert_eq!(retry.opens(), at(220));
        retry.answered();
        assert!(retry.opens() <= at(160));
    }
}
