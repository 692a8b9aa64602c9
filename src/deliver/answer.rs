//! What an answer of a webhook means: its status, the fields of its head that matter here, and the beginning of its
//! body. Plain reading of bytes, no I/O.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    kept::{Kept, Use},
    redirect,
    verdict::{NoVerdict, Verdict},
};
use crate::message::{
    answer::Content,
    outcome::{Attempt, Failure},
};

/// How much of the body of a refusal is kept, in bytes: enough for an error message, little enough for a header.
const LONGEST_EXCERPT: usize = 1024;
/// How much of a field of a refusal is kept, in bytes.
const LONGEST_FIELD: usize = 256;
/// No webhook is waited for longer, whatever it asks for: a number that can't be reckoned with any more.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long the webhook means to keep an idle connection open (`Keep-Alive`), where it says so.
    pub keep_alive: Option<Duration>,
    /// What was wrong with it, though its status was clear. Such an answer ends its connection.
    pub odd: Option<&'static str>,
    /// What more it says where it is no delivery. Apart, since nearly all are, and each is moved several times.
    pub refusal: Option<Box<Refusal>>,
    /// What there is of it for a route that looks into answers.
    pub kept: Option<Box<Kept>>,
}

/// What an answer says that is no delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// How long the webhook asks us to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// How its body begins, made safe for a header.
    pub excerpt: Option<Arc<str>>,
    /// Where a redirect leads (`Location`), as the webhook wrote it.
    pub location: Option<Arc<str>>,
    /// How the body is packed (`Content-Encoding`), where it is.
    pub encoding: Option<Arc<str>>,
}

impl Answer {
    /// An answer with this status and nothing else to say.
    pub const fn new(status: u16) -> Self {
        Self { status, keep_alive: None, odd: None, refusal: None, kept: None }
    }

    /// Only 200 to 299 is a delivery. A redirect is not: where messages go is the operator's decision.
    pub const fn is_delivery(&self) -> bool {
        is_delivery(self.status)
    }

    /// Takes note of what is wrong with it. The first that is found is said: the others often follow from it.
    pub(super) fn note(&mut self, odd: &'static str) {
        self.odd.get_or_insert(odd);
    }

    /// What more a refusal says, to be added to.
    pub(super) fn refusal(&mut self) -> &mut Refusal {
        self.refusal.get_or_insert_default()
    }

    /// Keeps the field of a refusal that helps to understand it.
    pub(super) fn describe(&mut self, name: &[u8], value: &[u8]) {
        let text = || Some(String::from_utf8_lossy(value.get(..LONGEST_FIELD).unwrap_or(value)).into());
        if name.eq_ignore_ascii_case(b"retry-after") {
            // Of several that can be read the first one counts.
            let refusal = self.refusal();
            let asked = refusal.retry_after.or_else(|| retry_after_now(value));
            refusal.retry_after = asked;
        } else if name.eq_ignore_ascii_case(b"location") && (300..400).contains(&self.status) {
            self.refusal().location = text();
        } else if name.eq_ignore_ascii_case(b"content-encoding") && !value.eq_ignore_ascii_case(b"identity") {
            self.refusal().encoding = text();
        }
    }

    /// What it means for the message, sent to `target`, the path and query of the webhook's URL, on a route that makes
    /// this `usage` of answers.
    pub fn attempt(mut self, target: &str, usage: Option<&Use>) -> Attempt {
        let Some(usage) = usage else { return self.by_status(target, None) };
        let kept = self.kept.take().map(|kept| *kept).unwrap_or_default();
        let verdict = if usage.verdict { kept.verdict() } else { Ok(None) };
        let asked = kept.retry_after;
        let content = Some(Box::new(kept.into_content(self.status, self.odd)));
        match verdict {
            Ok(Some(Verdict::Drop)) => {
                Attempt::Delivered { status: self.status, odd: self.odd, unwanted: true, content }
            }
            // A refusal has its own rules, which know when to come again.
            Ok(Some(Verdict::Retry(after))) if self.is_delivery() => Attempt::Failed {
                failure: Failure::AskedAgain,
                retry_after: after.or(asked),
                excerpt: None,
                cause: None,
                content,
            },
            Ok(_) => self.by_status(target, content),
            Err(NoVerdict) => {
                self.note("a verdict that is none");
                self.by_status(target, content)
            }
        }
    }

    fn by_status(self, target: &str, content: Option<Box<Content>>) -> Attempt {
        if self.is_delivery() {
            return Attempt::Delivered { status: self.status, odd: self.odd, unwanted: false, content };
        }
        let Refusal { retry_after, excerpt, location, .. } = *self.refusal.unwrap_or_default();
        let redirect = location.map(|location| redirect::describe(&location, target));
        let cause = match (redirect, self.odd) {
            (Some(redirect), Some(odd)) => Some(format!("{redirect}; {odd}")),
            (redirect, odd) => redirect.or_else(|| odd.map(str::to_owned)),
        };
        Attempt::Failed {
            failure: Failure::Status(self.status),
            retry_after,
            excerpt,
            cause: cause.map(Into::into),
            content,
        }
    }
}

/// Whether this status is a delivery.
pub(super) const fn is_delivery(status: u16) -> bool {
    status >= 200 && status < 300
}

/// A wait in seconds, as `Retry-After` has it.
pub(super) fn wait_in_seconds(value: &str) -> Option<Duration> {
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || value.len() < 2 && seconds.is_empty() {
        return None;
    }
    // What does not fit is longer than anybody waits.
    let whole = if seconds.is_empty() { 0 } else { seconds.parse().unwrap_or(u64::MAX) };
    let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(whole.saturating_add(more)).min(LONGEST_WAIT))
}

/// `Retry-After` as a date or in seconds (RFC 9110, section 10.2.3). A date in the past is no wait. Also read is what
/// webhooks send beside the standard: a fraction, which is rounded up, quotes, and a list, of which the first counts.
/// `wall` tells the time that a date is relative to.
pub(super) fn retry_after(value: &[u8], wall: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim_matches(is_around);
    if let Ok(date) = httpdate::parse_http_date(value) {
        return Some(rounded_up(date.duration_since(wall()).unwrap_or_default()));
    }
    wait_in_seconds(value.split([',', ';']).next()?.trim_matches(is_around))
}

/// The same, reckoned from now.
pub fn retry_after_now(value: &[u8]) -> Option<Duration> {
    retry_after(value, SystemTime::now)
}

fn is_around(letter: char) -> bool {
    letter.is_whitespace() || letter == '"'
}

fn rounded_up(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).min(LONGEST_WAIT)
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

    /// What was kept as one line, without what can't stand in a header; of what is no text, what it is. `encoding` is
    /// how the body was packed, and `length` how many bytes of it were read.
    pub(super) fn into_text(self, encoding: Option<&str>, length: u64) -> Option<Arc<str>> {
        if self.0.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(&self.0);
        if encoding.is_some() || is_binary(&text) {
            let kind = encoding.unwrap_or("binary").replace(char::is_control, " ");
            return Some(format!("{kind}, {length} bytes").into());
        }
        let mut line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // What is not UTF-8 takes more room as text: each such byte has become a replacement character of three bytes.
        while line.len() > LONGEST_EXCERPT {
            line.pop();
        }
        (!line.is_empty()).then(|| line.into())
    }
}

/// Whether so much of `text` can't be shown that the rest would say nothing.
fn is_binary(text: &str) -> bool {
    let is_odd = |letter: &char| {
        *letter == char::REPLACEMENT_CHARACTER || letter.is_control() && !letter.is_whitespace()
    };
    let odd = text.chars().filter(is_odd).count();
    odd * 4 > text.chars().count()
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
        assert_eq!(retry_after_of("Monday, 23-Nov-26 12:01:30 GMT"), Some(secs(90)));
        assert_eq!(retry_after_of("Mon Nov 23 12:01:30 2026"), Some(secs(90)));
    }

    #[test]
    fn retry_after_beside_the_standard_is_read_too() {
        let table = [
            ("1.9", 2),
            ("3.0", 3),
            ("0.2", 1),
            (".5", 1),
            ("7.", 7),
            ("120, 120", 120),
            ("120,240", 120),
            ("1.5, 9", 2),
            (" 5 ", 5),
            ("\"5\"", 5),
            ("5;comment", 5),
            ("99999999999999999999999", 365 * 24 * 3600),
            ("99999999999.9", 365 * 24 * 3600),
        ];
        for (value, expected) in table {
            assert_eq!(retry_after_of(value), Some(secs(expected)), "{value:?}");
        }
    }

    #[test]
    fn a_date_is_waited_for_to_its_end() {
        let wall = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        let wait = retry_after(b"Mon, 23 Nov 2026 12:00:05 GMT", || wall + Duration::from_millis(100));
        assert_eq!(wait, Some(secs(5)));
    }

    #[test]
    fn a_retry_after_that_makes_no_sense_is_ignored() {
        for value in [
            "",
            ".",
            ",",
            "soon",
            "-5",
            "+5",
            "-1.5",
            "1e3",
            "inf",
            "NaN",
            "1.x",
            "5 s",
            "Mon, 99 Nov 2026 12:00:00 GMT",
        ] {
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
            let delivered = matches!(answer.attempt("/", None), Attempt::Delivered { .. });
            assert_eq!(delivered, (200..=299).contains(&status), "status {status}");
        }
    }

    #[test]
    fn an_excerpt_is_one_line_of_text_and_not_long() {
        let excerpt = |body: &[u8]| {
            let mut excerpt = Excerpt::default();
            body.chunks(300).for_each(|part| excerpt.keep(part));
            excerpt.into_text(None, body.len() as u64)
        };
        assert_eq!(excerpt(b""), None);
        assert_eq!(excerpt(b" \r\n"), None);
        assert_eq!(excerpt(b"{\r\n\"e\": \0\xff}\n").as_deref(), Some("{  \"e\":  \u{fffd}}"));
        assert_eq!(excerpt(&[b'x'; 5000]).map(|text| text.len()), Some(1024));
        let latin = b"caf\xe9 ".repeat(1000);
        assert_eq!(excerpt(&latin).map(|text| text.len()), Some(1024));
    }

    #[test]
    fn what_is_no_text_is_described() {
        let excerpt = |body: &[u8], encoding: Option<&str>| {
            let mut excerpt = Excerpt::default();
            excerpt.keep(body);
            excerpt.into_text(encoding, body.len() as u64)
        };
        assert_eq!(excerpt(&[0xff; 5000], None).as_deref(), Some("binary, 5000 bytes"));
        assert_eq!(
            excerpt(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x90", None).as_deref(),
            Some("binary, 20 bytes")
        );
        assert_eq!(excerpt(&[0x1f; 512], Some("gzip")).as_deref(), Some("gzip, 512 bytes"));
        assert_eq!(excerpt(b"", Some("gzip")), None);
    }

    #[test]
    fn a_refusal_says_where_it_leads_and_what_was_odd() {
        let cause = |answer: Answer| match answer.attempt("/hook", None) {
            Attempt::Failed { cause, .. } => cause,
            Attempt::Delivered { .. } => None,
        };
        let location = Some("/login?to=x".into());
        let refusal = Some(Box::new(Refusal { location, ..Refusal::default() }));
        let redirect = Answer { refusal, ..Answer::new(302) };
        assert_eq!(cause(redirect.clone()).as_deref(), Some("redirect to /login"));
        let odd = Answer { odd: Some("odd"), ..redirect };
        assert_eq!(cause(odd).as_deref(), Some("redirect to /login; odd"));
        assert_eq!(cause(Answer::new(500)), None);
    }
}
