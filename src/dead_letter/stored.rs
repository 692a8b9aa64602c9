//! A dead letter as a stream keeps it, read back from its headers. Anybody may publish to the subject, so every header
//! may be missing or make no sense. No I/O.

use std::{borrow::Cow, time::SystemTime};

use async_nats::HeaderMap;
use bytes::Bytes;

use super::headers::original;
use crate::{
    base::clock::Time,
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
    pub(super) fn new(
        (stream, sequence): (&str, u64),
        subject: &str,
        at: SystemTime,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Self {
        let size = headers.and_then(|headers| headers.get(names::MESSAGE_SIZE));
        let size = size.and_then(|size| size.as_str().parse().ok()).unwrap_or(payload.len());
        let headers = headers.map_or_else(Headers::default, |headers| {
            // The client keeps them in a hash map, so their order is another one each time: sorted, the output of two
            // calls can be compared.
            let mut all: Vec<_> = headers
                .iter()
                .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
                .filter(|(name, _): &(&str, &str)| !name.eq_ignore_ascii_case(names::MESSAGE_SIZE))
                .collect();
            all.sort_by_key(|(name, _)| *name);
            Headers::new(all)
        });
        Self { sequence, at, size, payload, headers, stream: stream.into(), subject: subject.into() }
    }

    /// The message's id. A letter without headers goes by the stream and its sequence there, which stay the same too.
    pub fn id(&self) -> String {
        let given = self.headers.get(names::ID).or_else(|| self.headers.get(names::MESSAGE_ID));
        given.map_or_else(|| format!("{}:{}", self.stream, self.sequence), Cow::into_owned)
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
        let mut message = Message::new(Id::given(self.id()), subject, headers, self.payload.clone(), now);
        message.attempts = self.attempts();
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::{Cut, tests::letter};

    #[test]
    fn a_message_comes_back_as_it_was() {
        let letter = letter(&[("X-Tenant", "a"), ("X-Tenant", "b"), ("Nats-TTL", "1s")]);
        let headers = letter.headers(Cut::Nothing);
        let payload = letter.message.payload.clone();
        let stored = Stored::new(("DEAD", 3), "dead", SystemTime::now(), headers.as_ref(), payload);
        let back = stored.to_message(Time::START);
        assert_eq!((&back.id, &back.subject), (&letter.message.id, &letter.message.subject));
        assert_eq!((&back.payload, back.attempts), (&letter.message.payload, 8));
        let mut headers: Vec<_> = back.headers.iter().collect();
        headers.sort_unstable();
        let expected = [("Nats-TTL", "1s"), ("X-Tenant", "a"), ("X-Tenant", "b")];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.into())));
    }

    #[test]
    fn without_headers_it_goes_by_its_place() {
        let stored = Stored::new(("DEAD", 3), "dead", SystemTime::now(), None, Bytes::from_static(b"0"));
        let back = stored.to_message(Time::START);
        assert_eq!((back.id, &*back.subject, back.attempts), (Id::given("DEAD:3"), "dead", 0));
        assert_eq!((stored.reason(), stored.size), (None, 1));
    }
}
