//! The publisher's headers that go with a request.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::Field;
use crate::{
    config::Webhook,
    message::{Headers, header_names::http as names, way::Way},
};

/// Which of them go with the requests of a route.
#[derive(Debug)]
pub struct Forward {
    allowed: crate::config::Forward,
    /// The names that the operator gives a value to, which wins.
    taken: Box<[Box<str>]>,
}

/// Which headers go that make a message an event in binary mode (CloudEvents).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventHeaders {
    /// As all others: where the operator allows them.
    Allowed,
    /// All: it is the publisher's event that is delivered.
    All,
    /// None: another event is made of the message.
    None,
}

/// Why a header of a publisher that is allowed does not go with a request as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Its name is none in HTTP, or too long: it is left out.
    Name,
    /// Its value has bytes that a header of HTTP can't carry: they are percent-encoded.
    Value,
    /// Those before it are all that a request may have of them: it is left out.
    Size,
}

impl Oddity {
    /// What the log says behind "a header of a publisher is ".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Name => "left out: its name can't be one in HTTP",
            Self::Value => "percent-encoded: its value has what a header of HTTP can't carry",
            Self::Size => "left out: those before it are 8 KiB or 64 fields",
        }
    }
}

/// No longer name is passed on, in bytes.
const LONGEST_NAME: usize = 256;
/// How much goes with one request at most, in bytes, as many servers take heads of no more than 8 KiB by default; and how
/// many fields, as some take no more than 100.
const MOST_BYTES: usize = 8 << 10;
const MOST_FIELDS: usize = 64;

/// What is percent-encoded in values: what could end the field, or a receiver may take for any other letter. A `%` stays as
/// it is: values of CloudEvents are encoded in this way already.
const UNSAFE: &AsciiSet = &CONTROLS.remove(b'\t');

impl Forward {
    /// Which of them the settings of `webhook` let through.
    pub fn to(webhook: &Webhook) -> Self {
        Self { allowed: webhook.forward.clone(), taken: webhook.sets_headers().map(Into::into).collect() }
    }

    /// Adds the headers about a trace to `fields`, where those of a publisher would be allowed: those of an attempt, of which
    /// the publisher's span is only the forebear.
    pub fn add_trace<'b>(&self, way: &'b Way, fields: &mut Vec<Field<'b>>) {
        self.add_traceparent(way.traceparent(), fields);
        if let Some(state) = way.state().filter(|_| self.allowed.allows(names::TRACESTATE)) {
            fields.push((names::TRACESTATE.into(), state.as_bytes().into()));
        }
    }

    /// Adds this `traceparent`, where one may be.
    pub fn add_traceparent(&self, traceparent: String, fields: &mut Vec<Field<'_>>) {
        if self.allowed.allows(names::TRACEPARENT) {
            fields.push((names::TRACEPARENT.into(), traceparent.into_bytes().into()));
        }
    }

    /// Adds those of `headers` that are allowed to `fields`, in their order, those of the same name too; without those about
    /// a trace where the request `has_trace` of its own. Returns the name of the first that is odd, and why.
    pub fn add<'b>(
        &self,
        headers: &'b Headers,
        events: EventHeaders,
        has_trace: bool,
        fields: &mut Vec<Field<'b>>,
    ) -> Option<(&'b str, Oddity)> {
        let (mut bytes, mut count) = (0, 0);
        let mut odd = None;
        for (name, value) in headers.lines() {
            let is_allowed = self.allows(name, events) && !self.is_kept_back(name);
            if !is_allowed || has_trace && names::is_of_trace(name) {
                continue;
            }
            if name.len() > LONGEST_NAME || !names::is_token(name) {
                odd = odd.or(Some((name, Oddity::Name)));
                continue;
            }
            let safe = safe(value);
            bytes += name.len() + safe.bytes.len() + b": \r\n".len();
            count += 1;
            if bytes > MOST_BYTES || count > MOST_FIELDS {
                return odd.or(Some((name, Oddity::Size)));
            }
            if safe.is_encoded {
                odd = odd.or(Some((name, Oddity::Value)));
            }
            fields.push((name.into(), safe.bytes));
        }
        odd
    }

    fn allows(&self, name: &str, events: EventHeaders) -> bool {
        match events {
            EventHeaders::All if names::is_of_event(name) => true,
            EventHeaders::None if names::is_of_event(name) => false,
            _ => self.allowed.allows(name),
        }
    }

    fn is_kept_back(&self, name: &str) -> bool {
        names::is_never_forwarded(name) || self.taken.iter().any(|taken| names::is_same(taken, name))
    }
}

struct Safe<'b> {
    bytes: Cow<'b, [u8]>,
    is_encoded: bool,
}

fn safe(value: Cow<'_, [u8]>) -> Safe<'_> {
    let is_safe = |byte: u8| byte == b'\t' || (b' '..0x7f).contains(&byte);
    if value.iter().copied().all(is_safe) {
        return Safe { bytes: value, is_encoded: false };
    }
    let encoded = percent_encode(&value, UNSAFE).to_string();
    Safe { bytes: encoded.into_bytes().into(), is_encoded: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    type Fields = Vec<(String, String)>;

    fn forward(settings: &[(&str, &str)]) -> Forward {
        let url = ("url", "http://a/");
        let flags = [url]
            .into_iter()
            .chain(settings.iter().copied())
            .map(|(key, value)| (format!("routes.a.webhook.{key}"), value.to_owned(), "--set".to_owned()));
        let config = load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
        Forward::to(&config.routes[0].webhook)
    }

    fn added(forward: &Forward, lines: &[u8]) -> (Fields, Option<(String, Oddity)>) {
        let headers = Headers::from_lines(lines.to_vec().into());
        let mut fields = Vec::new();
        let odd = forward
            .add(&headers, EventHeaders::Allowed, false, &mut fields)
            .map(|(name, why)| (name.to_owned(), why));
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        (fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect(), odd)
    }

    fn pairs(fields: &[(String, String)]) -> Vec<(&str, &str)> {
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn events_and_traces_go_with_a_request_and_nothing_else_by_default() {
        let lines = b"ce-type: a\r\nX-A: 1\r\ntraceparent: 00-1\r\nCe-Id: b%20c\r\ntracestate: x=1\r\n\
                      tracestate: y=2\r\nNats-Msg-Id: 7\r\nContent-Type: a/b\r\nwebhook-id: 1\r\n";
        let (fields, odd) = added(&forward(&[]), lines);
        let expected = [
            ("ce-type", "a"),
            ("traceparent", "00-1"),
            ("Ce-Id", "b%20c"),
            ("tracestate", "x=1"),
            ("tracestate", "y=2"),
        ];
        assert_eq!((pairs(&fields), odd), (expected.to_vec(), None));
    }

    #[test]
    fn what_a_request_has_of_its_own_is_nobodys_to_change() {
        let lines = b"Host: x\r\nContent-Length: 1\r\nContent_Length: 1\r\nTRANSFER-ENCODING: chunked\r\n\
                      Connection: close\r\nTE: x\r\nExpect: 100-continue\r\nUser-Agent: x\r\nContent-Type: x\r\n\
                      webhook-id: x\r\nWebhook_Id: x\r\nwebhook-signature: x\r\nbroadcaster-attempt: 9\r\n\
                      Broadcaster_Subject: x\r\nNats-Rollup: all\r\nX_Key: x\r\nx-key: x\r\nX-Other: fine\r\n";
        let (fields, odd) = added(&forward(&[("forward", "*"), ("headers.x-key", "k")]), lines);
        assert_eq!((pairs(&fields), odd), (vec![("X-Other", "fine")], None));
    }

    #[test]
    fn what_is_odd_is_encoded_or_left_out_and_told() {
        let all = forward(&[("forward", "*")]);
        for (line, field, why) in [
            (&b"X: a\rb"[..], Some("a b"), None),
            (b"X: a\nHost: b", Some("a Host: b"), None),
            (b"X: a\r\n b", Some("a b"), None),
            (b"X: a\tb%", Some("a\tb%"), None),
            (b"X: a\0b\x7f", Some("a%00b%7F"), Some(Oddity::Value)),
            ("X: é \u{2028}".as_bytes(), Some("%C3%A9 %E2%80%A8"), Some(Oddity::Value)),
            (b"X: \xff", Some("%FF"), Some(Oddity::Value)),
            (b"X:", Some(""), None),
            (b"X(y): a", None, Some(Oddity::Name)),
            (b"X/Y: a", None, Some(Oddity::Name)),
        ] {
            let shown = String::from_utf8_lossy(line);
            let (fields, odd) = added(&all, line);
            assert_eq!(fields.first().map(|(_, value)| value.as_str()), field, "{shown:?}");
            assert_eq!(odd.map(|(_, why)| why), why, "{shown:?}");
        }
    }

    #[test]
    fn no_more_goes_with_a_request_than_a_server_takes() {
        let all = forward(&[("forward", "*")]);
        let many: String = (0..1_000).map(|number| format!("x-{number}: a\r\n")).collect();
        let (fields, odd) = added(&all, many.as_bytes());
        assert_eq!((fields.len(), odd), (MOST_FIELDS, Some(("x-64".to_owned(), Oddity::Size))));
        let large: String = (0..10).map(|number| format!("x-{number}: {}\r\n", "a".repeat(1_000))).collect();
        let (fields, odd) = added(&all, large.as_bytes());
        assert_eq!((fields.len(), odd.map(|(_, why)| why)), (8, Some(Oddity::Size)));
        let long = format!("{}: a\r\n", "x".repeat(257));
        assert_eq!(added(&all, long.as_bytes()).1.map(|(_, why)| why), Some(Oddity::Name));
    }
}
