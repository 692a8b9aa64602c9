//! What an answer of a webhook means: its status, the fields of its head that matter here, and the beginning of its
//! body. Plain reading of bytes, no I/O.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::message::outcome::{Attempt, Failure};

/// How much of the body of a refusal is kept, in bytes: enough for an error message, little enough for a header.
const LONGEST_EXCERPT: usize = 1024;

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long the webhook asks us to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// How long the webhook means to keep an idle connection open (`Keep-Alive`), where it says so.
    pub keep_alive: Option<Duration>,
    /// How the body of a refusal begins, made safe for a header.
    pub excerpt: Option<Arc<str>>,
}

impl Answer {
    /// An answer with this status and nothing else to say.
    pub const fn new(status: u16) -> Self {
        Self { status, retry_after: None, keep_alive: None, excerpt: None }
    }

    /// Only 200 to 299 is a delivery. A redirect is not: where messages go is the operator's decision.
    pub fn is_delivery(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What it means for the message.
    pub fn attempt(self) -> Attempt {
        if self.is_delivery() {
            Attempt::Delivered(self.status)
        } else {
            let failure = Failure::Status(self.status);
            Attempt::Failed { failure, retry_after: self.retry_after, excerpt: self.excerpt, cause: None }
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). A date in the past is no wait. `wall` tells the
/// time that a date is relative to.
pub(super) fn retry_after(value: &[u8], wall: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim();
    // As an unsigned number: nothing with a sign or a fraction is a delay in seconds.
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

/// The beginning of a body, kept for whoever looks into a dead letter.
#[derive(Debug, Default)]
pub(super) struct Excerpt(Vec<u8>);

impl Excerpt {
    /// Takes what it has room for.
    pub(super) fn keep(&mut self, body: &[u8]) {
        let room = LONGEST_EXCERPT - self.0.len();
        self.0.extend_from_slice(body.get(..room).unwrap_or(body));
    }

    /// What was kept as one line, without what can't stand in a header.
    pub(super) fn into_text(self) -> Option<Arc<str>> {
        if self.0.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(&self.0);
        let mut line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // What is not UTF-8 takes more room as text: each such byte has become a replacement character of three bytes.
        while line.len() > LONGEST_EXCERPT {
            line.pop();
        }
        (!line.is_empty()).then(|| line.into())
    }
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
            let answer = Answer::new(status);
            let delivered = matches!(answer.attempt(), Attempt::Delivered(_));
            assert_eq!(delivered, (200..=299).contains(&status), "status {status}");
        }
    }

    #[test]
    fn an_excerpt_is_one_line_of_text_and_not_long() {
        let excerpt = |body: &[u8]| {
            let mut excerpt = Excerpt::default();
            body.chunks(300).for_each(|part| excerpt.keep(part));
            excerpt.into_text()
        };
        assert_eq!(excerpt(b""), None);
        assert_eq!(excerpt(b" \r\n"), None);
        assert_eq!(excerpt(b"{\r\n\"e\": \0\xff}\n").as_deref(), Some("{  \"e\":  \u{fffd}}"));
        assert_eq!(excerpt(&[b'x'; 5000]).map(|text| text.len()), Some(1024));
        assert_eq!(excerpt(&[0xff; 5000]).map(|text| text.len()), Some(1023));
    }
}
