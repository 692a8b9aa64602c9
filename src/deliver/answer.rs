//! What there is to read in the head of an answer.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName,
    header::{HeaderValue, RETRY_AFTER},
};

use crate::outcome::{Attempt, Failure};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// How long the webhook means to keep an idle connection open, where it says so.
    pub(super) keep_alive: Option<Duration>,
}

impl Answer {
    /// Reads `headers` at `wall`, to which a `Retry-After` in the form of a date is relative.
    pub(super) fn new(status: u16, headers: &HeaderMap, wall: impl FnOnce() -> SystemTime) -> Self {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| retry_after(value, wall()));
        let keep_alive = headers.get(KEEP_ALIVE).and_then(keep_alive);
        Self { status, retry_after, keep_alive }
    }

    /// Only 200 to 299 is a delivery. A redirect is not: where messages go is the operator's decision.
    pub(super) fn attempt(self) -> Attempt {
        if (200..300).contains(&self.status) {
            Attempt::Delivered(self.status)
        } else {
            Attempt::Failed { failure: Failure::Status(self.status), retry_after: self.retry_after }
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). A date in the past is no wait.
fn retry_after(value: &HeaderValue, wall: SystemTime) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(wall).unwrap_or_default())
}

/// The `timeout` of `Keep-Alive`, which servers send that close idle connections early
/// (<https://datatracker.ietf.org/doc/html/draft-thomson-hybi-http-timeout-03>, section 2.1).
fn keep_alive(value: &HeaderValue) -> Option<Duration> {
    let parameters = value.to_str().ok()?.split(',');
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

    fn retry_after_of(value: &'static str) -> Option<Duration> {
        let wall = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        retry_after(&HeaderValue::from_static(value), wall)
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
        let read = |value| keep_alive(&HeaderValue::from_static(value));
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
