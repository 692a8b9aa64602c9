//! A dead letter before it is published: the message, and what its headers will say. No I/O.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::HeaderMap;

use super::headers::{put, put_original};
use crate::{
    base::clock::Clock,
    config::RouteName,
    message::{
        Message,
        header_names::nats as names,
        outcome::{Failure, Reason},
    },
    stats::RouteStats,
};

/// A dead message and what there is to say about it.
#[derive(Debug)]
pub struct Letter {
    /// The message.
    pub message: Message,
    pub(super) reason: Reason,
    pub(super) route: RouteName,
    pub(super) stats: Arc<RouteStats>,
    received: SystemTime,
    last_attempt: Option<SystemTime>,
    died: SystemTime,
}

/// How much of a letter's headers is left out, because the letter is too large with them. The payload is always whole:
/// only with that can the message be delivered after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing.
    Nothing,
    /// The publisher's headers and the webhook's answer.
    Details,
    /// All headers.
    Headers,
}

impl Cut {
    /// The next larger cut, if there is one.
    pub(super) const fn more(self) -> Option<Self> {
        match self {
            Self::Nothing => Some(Self::Details),
            Self::Details => Some(Self::Headers),
            Self::Headers => None,
        }
    }
}

impl Letter {
    /// A letter about `message` of `route`, which died just now. Its times are turned into those of the wall clock
    /// here, since it may be published much later.
    pub fn new(
        message: Message,
        reason: Reason,
        route: &RouteName,
        stats: Arc<RouteStats>,
        clock: &Clock,
    ) -> Self {
        let received = clock.wall(message.received);
        let last_attempt =
            message.failed_attempt.as_ref().map(|failed_attempt| clock.wall(failed_attempt.at));
        let route = route.clone();
        Self { message, reason, route, stats, received, last_attempt, died: SystemTime::now() }
    }

    /// The headers that say why it died, and the publisher's own; none where all are left out.
    pub(super) fn headers(&self, cut: Cut) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        match cut {
            Cut::Headers => return None,
            Cut::Details => {}
            Cut::Nothing => self.put_details(&mut headers),
        }
        self.put_facts(&mut headers);
        Some(headers)
    }

    fn put_details(&self, headers: &mut HeaderMap) {
        for (name, value) in self.message.headers.iter() {
            put_original(headers, name, &value);
        }
        let failed_attempt = self.message.failed_attempt.as_ref();
        if let Some(excerpt) = failed_attempt.and_then(|failed_attempt| failed_attempt.excerpt.as_deref()) {
            put(headers, names::LAST_ANSWER, excerpt);
        }
        if let Some(cause) = failed_attempt.and_then(|failed_attempt| failed_attempt.cause.as_deref()) {
            put(headers, names::LAST_CAUSE, cause);
        }
    }

    fn put_facts(&self, headers: &mut HeaderMap) {
        let message = &self.message;
        let id = message.id.to_string();
        // Two routes may keep their letters about one message in one stream, which drops what it takes for a duplicate.
        headers.insert(names::MESSAGE_ID, format!("{}:{id}", self.route));
        put(headers, names::ID, &id);
        put(headers, names::REASON, self.reason.label());
        put(headers, names::ROUTE, self.route.as_str());
        put(headers, names::SUBJECT, &message.subject);
        put(headers, names::ATTEMPTS, &message.attempts.to_string());
        put(headers, names::RECEIVED, &rfc3339(self.received));
        put(headers, names::DIED, &rfc3339(self.died));
        if let Some(at) = self.last_attempt {
            put(headers, names::LAST_ATTEMPT, &rfc3339(at));
        }
        if let Some(failure) = message.last_failure {
            put(headers, names::LAST_FAILURE, &failure.label());
            if let Failure::Status(status) = failure {
                put(headers, names::LAST_STATUS, &status.to_string());
            }
        }
        if let Some(origin) = message.ack.as_ref().and_then(|ack| ack.origin()) {
            put(headers, names::STREAM, origin.stream);
            put(headers, names::SEQUENCE, &origin.sequence.to_string());
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    // The library panics for times before 1970 and after the year 9999.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        message::{FailedAttempt, Headers, Id, acknowledgement::AckHandle},
        route::schedule::testing::message,
    };

    pub(crate) fn letter(headers: &[(&str, &str)]) -> Letter {
        let mut message = message(7);
        message.id = Id::given("order-7");
        message.attempts = 8;
        message.last_failure = Some(Failure::Status(503));
        message.failed_attempt =
            Some(Box::new(FailedAttempt { excerpt: Some("no room".into()), ..FailedAttempt::default() }));
        message.headers = Headers::new(headers.iter().copied());
        message.ack = Some(AckHandle::new("$JS.ACK.TODOS.worker.1.17.18.1700000000000000000.5"));
        let route = "todos".parse().unwrap();
        Letter::new(message, Reason::AttemptsExhausted, &route, Arc::default(), &Clock::start())
    }

    fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(async_nats::HeaderValue::as_str)
    }

    #[test]
    fn the_headers_say_why_it_died() {
        let headers = letter(&[]).headers(Cut::Nothing).unwrap();
        for (name, expected) in [
            ("Nats-Msg-Id", "todos:order-7"),
            ("Broadcaster-Id", "order-7"),
            ("Broadcaster-Reason", "attempts_exhausted"),
            ("Broadcaster-Last-Failure", "503"),
            ("Broadcaster-Last-Status", "503"),
            ("Broadcaster-Last-Answer", "no room"),
            ("Broadcaster-Attempts", "8"),
            ("Broadcaster-Route", "todos"),
            ("Broadcaster-Subject", "todos.events"),
            ("Broadcaster-Stream", "TODOS"),
            ("Broadcaster-Sequence", "17"),
        ] {
            assert_eq!(value(&headers, name), Some(expected), "{name}");
        }
        assert!(value(&headers, "Broadcaster-Last-Attempt").is_some());
    }

    #[test]
    fn the_publishers_headers_go_along_but_not_as_commands() {
        let headers = letter(&[("X-Tenant", "a"), ("Nats-Expected-Stream", "b"), ("broadcaster-route", "c")]);
        let headers = headers.headers(Cut::Nothing).unwrap();
        assert_eq!(value(&headers, "X-Tenant"), Some("a"));
        assert_eq!(value(&headers, "Nats-Expected-Stream"), None);
        assert_eq!(value(&headers, "Broadcaster-Original-Nats-Expected-Stream"), Some("b"));
        assert_eq!(value(&headers, "Broadcaster-Route"), Some("todos"));
    }

    #[test]
    fn details_are_cut_before_facts() {
        let letter = letter(&[("X-Tenant", "a")]);
        let headers = letter.headers(Cut::Details).unwrap();
        assert_eq!(value(&headers, "X-Tenant"), None);
        assert_eq!(value(&headers, "Broadcaster-Last-Answer"), None);
        assert_eq!(value(&headers, "Broadcaster-Reason"), Some("attempts_exhausted"));
        assert!(letter.headers(Cut::Headers).is_none());
    }
}
