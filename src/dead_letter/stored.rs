//! A dead letter as a stream keeps it, read back from its headers. Anybody may publish to the subject, so every header
//! may be missing or make no sense. No I/O.

use std::{borrow::Cow, time::SystemTime};

use bytes::Bytes;

use super::headers::original;
use crate::{
    base::clock::Time,
    config::PublishSubject,
    message::{Headers, Id, Message, header_names::nats as names},
};

/// A dead letter in a stream.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream took it.
    pub at: SystemTime,
    /// How large its payload is, in bytes, also where the payload itself was not asked for.
    pub size: usize,
    /// Its payload; nothing where only the headers were asked for.
    pub payload: Bytes,
    /// Its headers, as they are.
    pub headers: Headers,
    /// The name of the stream, for the id of a letter that has none.
    stream: Box<str>,
    /// What it was published to.
    subject: Box<str>,
}

impl Stored {
    /// The letter at this place (a stream and the sequence there), published to `subject`; `block` is what NATS keeps of its
    /// headers.
    pub(super) fn new(
        (stream, sequence): (&str, u64),
        subject: &str,
        at: SystemTime,
        block: &Bytes,
        payload: Bytes,
    ) -> Self {
        // The first line has the version, and the last one is empty.
        let end = |block: &[u8]| block.windows(2).position(|window| window == b"\r\n");
        let headers = end(block).map(|end| Headers::from_lines(block.slice(end + 2..)));
        let (headers, size) = (headers.unwrap_or_default(), payload.len());
        Self { sequence, at, size, payload, headers, stream: stream.into(), subject: subject.into() }
    }

    /// The letter without its payload.
    #[must_use]
    pub fn without_payload(self) -> Self {
        Self { payload: Bytes::new(), ..self }
    }

    /// The message's id: as it was known when it died; else what its publisher gave it, where that is short enough to be an
    /// id. A letter with neither goes by the stream and its sequence there, which stay the same too.
    pub fn id(&self) -> Id {
        let known = self.headers.get(names::ID).and_then(|id| Id::known(&id));
        let given = || self.headers.get_bytes(names::MESSAGE_ID).and_then(Id::safe);
        let placed = || Id::given(format!("{}:{}", self.stream, self.sequence));
        known.or_else(given).unwrap_or_else(placed)
    }

    /// Why it died, where it says so.
    pub fn reason(&self) -> Option<Cow<'_, str>> {
        self.headers.get(names::REASON)
    }

    /// The route that gave it up, where it says so.
    pub fn route(&self) -> Option<Cow<'_, str>> {
        self.headers.get(names::ROUTE)
    }

    /// How the last attempt failed, where it says so.
    pub fn last_failure(&self) -> Option<Cow<'_, str>> {
        self.headers.get(names::LAST_FAILURE)
    }

    /// How often it was tried, as far as it says so.
    pub fn attempts(&self) -> u32 {
        self.headers.get(names::ATTEMPTS).and_then(|attempts| attempts.parse().ok()).unwrap_or_default()
    }

    /// Why the last attempt failed, in words, where it says so.
    pub fn last_cause(&self) -> Option<Cow<'_, str>> {
        self.headers.get(names::LAST_CAUSE)
    }

    /// Whether it was published to `subject`.
    pub(super) fn is_published_to(&self, subject: &PublishSubject) -> bool {
        *self.subject == *subject.as_str()
    }

    /// What the message was published to.
    pub fn original_subject(&self) -> Cow<'_, str> {
        self.headers.get(names::SUBJECT).unwrap_or(Cow::Borrowed(&self.subject))
    }

    /// The publisher's headers, under the publisher's names.
    pub fn original_headers(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.headers.iter().filter_map(|(name, value)| Some((original(name)?, value)))
    }

    /// The message as it was when it died, as if it had been received at `now`. The attempts go on from where they
    /// ended, so that the webhook sees that it is not a first one.
    pub fn to_message(&self, now: Time) -> Message {
        let headers = Headers::new(self.original_headers().map(|(name, value)| (name, value.into_owned())));
        let subject = (*self.original_subject()).into();
        let mut message = Message::new(self.id(), subject, headers, self.payload.clone(), now);
        message.attempts = self.attempts();
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::{Cut, tests::letter};

    fn stored(block: impl Into<Bytes>, payload: Bytes) -> Stored {
        Stored::new(("DEAD", 3), "dead", SystemTime::now(), &block.into(), payload)
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let mut letter = letter(&[("X-Tenant", "a"), ("X-Tenant", "b"), ("Nats-TTL", "1s")]);
        for id in ["order-7", "order 7%", "0198c0de-0000-7000-8000-000000000001", &"%".repeat(85)] {
            letter.message.id = Id::given(id);
            let block = letter.headers(Cut::Nothing).unwrap();
            let stored = stored(block.as_bytes().to_vec(), letter.message.payload.clone());
            let back = stored.to_message(Time::START);
            assert_eq!((&back.id, &back.subject), (&letter.message.id, &letter.message.subject));
            assert_eq!((&back.payload, back.attempts), (&letter.message.payload, 8));
            let headers: Vec<_> = back.headers.iter().collect();
            let expected = [("X-Tenant", "a"), ("X-Tenant", "b"), ("Nats-TTL", "1s")];
            assert_eq!(headers, expected.map(|(name, value)| (name, value.into())));
        }
    }

    #[test]
    fn without_headers_it_goes_by_its_place() {
        for block in ["", "NATS/1.0\r\n\r\n", "NATS/1.0", "\r\n", "NATS/1.0\r\nno colon\r\n\r\n"] {
            let stored = stored(block, Bytes::from_static(b"0"));
            let back = stored.to_message(Time::START);
            assert_eq!((back.id, &*back.subject, back.attempts), (Id::given("DEAD:3"), "dead", 0));
            assert_eq!((stored.reason(), stored.size), (None, 1));
        }
    }

    #[test]
    fn what_others_publish_has_the_same_id_each_time() {
        let id = |id: &str| {
            stored(format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n"), Bytes::new()).id().to_string()
        };
        assert_eq!(id("order 7"), "order%207");
        assert_eq!(id(&"x".repeat(300)), "DEAD:3");
        let odd = stored("NATS/1.0\r\nBroadcaster-Id: a\rb\r\nno colon\r\nX: \u{fffd}\r\n\r\n", Bytes::new());
        assert_eq!(odd.id(), Id::given("DEAD:3"));
    }
}
