//! A dead letter before it is published: the message, and what its headers will say. No I/O.

use std::{sync::Arc, time::SystemTime};

use super::headers::put_original;
use crate::{
    base::clock::{Clock, rfc3339},
    config::RouteName,
    message::{
        HeaderBlock, Message,
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
    pub(super) died: SystemTime,
}

/// How much of a letter's headers is left out, because the letter is too large with them. The payload is always whole:
/// only with that can the message be delivered after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing.
    Nothing,
    /// The publisher's headers and the webhook's answer.
    Details,
    /// All but what it is: the id and the route.
    Facts,
    /// All headers.
    Headers,
}

impl Cut {
    /// The next larger cut, if there is one.
    pub(super) const fn more(self) -> Option<Self> {
        match self {
            Self::Nothing => Some(Self::Details),
            Self::Details => Some(Self::Facts),
            Self::Facts => Some(Self::Headers),
            Self::Headers => None,
        }
    }
}

/// How many bytes the headers may have, about, when one of the publisher's is added. A stream takes 64 KiB of them, and those
/// that are added for NATS when it is published need some of it.
const LARGEST: usize = 62 * 1024;

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
    pub(super) fn headers(&self, cut: Cut) -> Option<HeaderBlock> {
        if cut == Cut::Headers {
            return None;
        }
        let mut headers = HeaderBlock::new();
        headers.put(names::ID, self.message.id.to_string());
        headers.put(names::ROUTE, self.route.as_str());
        if cut != Cut::Facts {
            self.put_facts(&mut headers);
        }
        if cut == Cut::Nothing {
            self.put_details(&mut headers);
        }
        Some(headers)
    }

    fn put_details(&self, headers: &mut HeaderBlock) {
        let failed_attempt = self.message.failed_attempt.as_ref();
        if let Some(excerpt) = failed_attempt.and_then(|failed_attempt| failed_attempt.excerpt.as_deref()) {
            headers.put(names::LAST_ANSWER, excerpt);
        }
        if let Some(cause) = failed_attempt.and_then(|failed_attempt| failed_attempt.cause.as_deref()) {
            headers.put(names::LAST_CAUSE, cause);
        }
        let mut left_out = self.message.headers.left_out();
        for (name, value) in self.message.headers.iter() {
            // A smaller one behind one that is left out may still have room: it may be the one that tells what the payload
            // is.
            let has_room = headers.as_bytes().len() + name.len() + value.len() <= LARGEST;
            left_out += usize::from(!(has_room && put_original(headers, name, &value)));
        }
        if left_out > 0 {
            headers.put(names::LEFT_OUT, left_out.to_string());
        }
    }

    fn put_facts(&self, headers: &mut HeaderBlock) {
        let message = &self.message;
        headers.put(names::REASON, self.reason.label());
        headers.put(names::SUBJECT, &*message.subject);
        headers.put(names::ATTEMPTS, message.attempts.to_string());
        headers.put(names::RECEIVED, rfc3339(self.received));
        headers.put(names::DIED, rfc3339(self.died));
        if let Some(at) = self.last_attempt {
            headers.put(names::LAST_ATTEMPT, rfc3339(at));
        }
        if let Some(failure) = message.last_failure {
            headers.put(names::LAST_FAILURE, &*failure.label());
            if let Failure::Status(status) = failure {
                headers.put(names::LAST_STATUS, status.to_string());
            }
        }
        if let Some(ack) = &message.ack {
            headers.put(names::STREAM, ack.stream());
            headers.put(names::SEQUENCE, ack.sequence().to_string());
        }
    }
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
        message.ack = Some(AckHandle::of("$JS.ACK.TODOS.worker.1.17.18.1700000000000000000.5"));
        let route = "todos".parse().unwrap();
        Letter::new(message, Reason::AttemptsExhausted, &route, Arc::default(), &Clock::start())
    }

    fn read(block: &HeaderBlock) -> Headers {
        Headers::from_lines(bytes::Bytes::copy_from_slice(block.lines()))
    }

    fn value(headers: &HeaderBlock, name: &str) -> Option<String> {
        read(headers).get(name).map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn the_headers_say_why_it_died() {
        let headers = letter(&[]).headers(Cut::Nothing).unwrap();
        for (name, expected) in [
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
            assert_eq!(value(&headers, name).as_deref(), Some(expected), "{name}");
        }
        assert!(value(&headers, "Broadcaster-Last-Attempt").is_some());
    }

    #[test]
    fn the_publishers_headers_go_along_but_not_as_commands() {
        let headers = letter(&[("X-Tenant", "a"), ("Nats-Expected-Stream", "b"), ("broadcaster-route", "c")]);
        let headers = headers.headers(Cut::Nothing).unwrap();
        assert_eq!(value(&headers, "X-Tenant").as_deref(), Some("a"));
        assert_eq!(value(&headers, "Nats-Expected-Stream"), None);
        assert_eq!(value(&headers, "Broadcaster-Original-Nats-Expected-Stream").as_deref(), Some("b"));
        assert_eq!(value(&headers, "Broadcaster-Route").as_deref(), Some("todos"));
    }

    #[test]
    fn details_are_cut_before_facts() {
        let letter = letter(&[("X-Tenant", "a")]);
        let headers = letter.headers(Cut::Details).unwrap();
        assert_eq!(value(&headers, "X-Tenant"), None);
        assert_eq!(value(&headers, "Broadcaster-Last-Answer"), None);
        assert_eq!(value(&headers, "Broadcaster-Reason").as_deref(), Some("attempts_exhausted"));
        assert!(letter.headers(Cut::Headers).is_none());
    }
}
