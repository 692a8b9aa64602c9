//! What there is to read in the head of an answer.

use std::time::{Duration, SystemTime};

use crate::outcome::{Attempt, Failure};

/// A complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long the webhook asks us to wait.
    pub retry_after: Option<Duration>,
    /// How long the webhook means to keep an idle connection open, where it says so.
    pub keep_alive: Option<Duration>,
}

impl Answer {
    /// Only 200 to 299 is a delivery. A redirect is not: where messages go is the operator's decision.
    pub fn attempt(self) -> Attempt {
        if (200..300).contains(&self.status) {
            Attempt::Delivered(self.status)
        } else {
            Attempt::Failed { failure: Failure::Status(self.status), retry_after: self.retry_after }
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). A date in the past is no wait. `wall` tells the time
/// that a date is relative to.
pub(super) fn retry_after(value: &[u8], wall: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(wall()).unwrap_or_default())
}

/// The `timeout` of `Keep-Alive`, which servers send that close idle connections early
/// (<https://datatracker.ietf.org/doc/html/draft-thomson-hybi-http-timeout-03>, section 2.1).
pub(super) fn keep_alive(value: &[u8]) -> Option<Duration> {
    let parameters = std::str::from_utf8(value).ok()?.split(',');
    let mut timeouts = parameters.filter_map(|parameter| {
        let (name, seconds) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse().ok())?
    });
    timeouts.next().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn retry_after_of(value: &str) -> Option<Duration> {
        let wall = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        retry_after(value.as_bytes(), || wall)
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        assert_eq!(retry_after_of("120"), Some(secs(120)));
        assert_eq!(retry_after_of("Mon, 23 Nov 2026 12:01:30 GMT"), Some(secs(90)));
        assert_eq!(retry_after_of("Mon, 23 Nov 2026 11:00:00 GMT"), Some(secs(0)));
    }

    #[test]
    fn a_retry_after_that_makes_no_sense_is_ignored() {
        for value in ["", "soon", "-5", "1.5", "99999999999999999999999", "Mon, 99 Nov 2026 12:00:00 GMT"] {
            assert_eq!(retry_after_of(value), None, "{value:?}");
        }
    }

    #[test]
    fn keep_alive_is_read_among_other_parameters() {
        let read = |value: &str| keep_alive(value.as_bytes());
        assert_eq!(read("timeout=5"), Some(secs(5)));
        assert_eq!(read("max=100, Timeout = 72"), Some(secs(72)));
        assert_eq!(read("max=100"), None);
        assert_eq!(read("timeout=soon"), None);
    }

    #[test]
    fn only_2xx_is_a_delivery() {
        for status in 100..1000 {
            let answer = Answer { status, retry_after: None, keep_alive: None };
            let delivered = matches!(answer.attempt(), Attempt::Delivered(_));
            assert_eq!(delivered, (200..=299).contains(&status), "status {status}");
        }
    }
}
