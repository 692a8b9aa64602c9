//! A message on its way from NATS to a webhook, and what can come of it. Plain data, no I/O.

pub mod ack_queue;
pub mod acknowledgement;
pub mod batch;
pub mod header_names;
mod origin;
pub mod outcome;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use uuid::Uuid;

use self::{acknowledgement::AckHandle, outcome::Failure};
use crate::base::clock::Time;

/// One message: what the publisher sent, and what has become of it so far.
#[derive(Debug)]
pub struct Message {
    /// Stays the same over all attempts, so that a receiver can drop duplicates.
    pub id: Id,
    /// The subject it was published to, which may be more specific than the route's.
    pub subject: Arc<str>,
    /// The publisher's headers.
    pub headers: Headers,
    /// The body of the request, byte for byte.
    pub payload: Bytes,
    /// When it came out of NATS.
    pub received: Time,
    /// How many attempts were begun that count: those that told only that the webhook is down are taken back.
    pub attempts: u32,
    /// Why the last attempt failed, if one did.
    pub last_failure: Option<Failure>,
    /// What more there is to know of the last attempt, if it failed.
    pub failed_attempt: Option<Box<FailedAttempt>>,
    /// How to acknowledge it to its stream, if it came from one.
    pub ack: Option<AckHandle>,
    /// Where it takes up room while it is under way; none when it is not.
    pub charged: Option<Charge>,
}

/// Which bound the memory of a message counts against while it is attempted: that of where it waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// That of the queue.
    Queue,
    /// That of the retry queue.
    Retries,
}

/// What is kept of an attempt that failed, for whoever looks into a dead letter. Boxed in its message, so that one that
/// never failed does not carry it along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedAttempt {
    /// When the attempt ended.
    pub at: Time,
    /// When the next one is due.
    pub due: Time,
    /// How many attempts at the message have failed, whoever paid for them.
    pub failures: u32,
    /// How often the webhook asked to come later with this message although it had taken others since the last time.
    pub put_off: u32,
    /// How the webhook's answer began, made safe for a header.
    pub excerpt: Option<Arc<str>>,
    /// Why it failed, in words: see [`outcome::Attempt::Failed`].
    pub cause: Option<Arc<str>>,
}

impl Message {
    /// A message that was never tried.
    pub fn new(id: Id, subject: Arc<str>, headers: Headers, payload: Bytes, received: Time) -> Self {
        Self {
            id,
            subject,
            headers,
            payload,
            received,
            attempts: 0,
            last_failure: None,
            failed_attempt: None,
            ack: None,
            charged: None,
        }
    }

    /// The memory that keeping this message takes, in bytes: what the bounds are charged with. It has to be the same
    /// when the message goes into a queue and when it comes out.
    pub fn cost(&self) -> usize {
        /// What the allocator and the slack of a growing queue add, about.
        const OVERHEAD: usize = 64;
        size_of::<Self>()
            + OVERHEAD
            + self.payload.len()
            + self.subject.len()
            + self.headers.0.len()
            + self.id.heap_size()
            + self.failed_attempt.as_ref().map_or(0, |failed_attempt| failed_attempt.cost())
    }

    /// Lets go of the memory that the payload shares with others.
    ///
    /// A payload is a slice of the block that the NATS client read it with, 64 KiB or more: up to twice the largest
    /// message that it had to hold. Whoever keeps the slice keeps the block, and the bounds would count a hundredth of the
    /// memory that is really taken. Nothing tells how large the block is, so a large payload is copied too: reading and
    /// posting it cost far more.
    pub fn detach(&mut self) {
        self.payload = Bytes::copy_from_slice(&self.payload);
    }
}

impl FailedAttempt {
    fn cost(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + text(&self.excerpt) + text(&self.cause)
    }
}

/// The identity of a message: the publisher's `Nats-Msg-Id`, or one made on arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// The publisher's own, made safe for a header.
    Given(Box<str>),
    /// A UUID of version 7, which sorts by time (RFC 9562, section 5.7).
    Made(Uuid),
}

impl Id {
    /// The longest id that is taken over from a publisher, in bytes.
    pub const LONGEST: usize = 256;

    /// A new id for a message whose publisher gave none.
    pub fn fresh() -> Self {
        Self::Made(Uuid::now_v7())
    }

    /// The publisher's id, with everything that can't stand in a header percent-encoded; a fresh one where it is empty
    /// or longer than [`Id::LONGEST`].
    pub fn given(id: &str) -> Self {
        let safe = header_safe(id);
        // Measured after the encoding, which can make it three times as long.
        if safe.is_empty() || safe.len() > Self::LONGEST { Self::fresh() } else { Self::Given(safe.into()) }
    }

    /// An id that was made or made safe elsewhere, as it was written there.
    pub fn known(id: &str) -> Option<Self> {
        let safe =
            !id.is_empty() && id.len() <= Self::LONGEST && id.bytes().all(|byte| byte.is_ascii_graphic());
        safe.then(|| Self::Given(id.into()))
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Given(id) => id.len(),
            Self::Made(_) => 0,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(id) => f.write_str(id),
            Self::Made(id) => id.hyphenated().fmt(f),
        }
    }
}

/// `text` with blanks, control characters, `%` and everything beyond ASCII percent-encoded, so that it can stand in an
/// HTTP header and be decoded again. Subjects and ids come from strangers.
pub fn header_safe(text: &str) -> std::borrow::Cow<'_, str> {
    const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
    utf8_percent_encode(text, UNSAFE).into()
}

/// A message's NATS headers, in one block of memory.
///
/// Few messages have headers, and few of those headers are ever read: a map would allocate for each header, and finding
/// one faster is worth less than that.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Box<str>);

impl Headers {
    /// Keeps `headers` in their order. A line break, which no header can have on the wire, becomes a blank.
    pub fn new<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut block = String::new();
        for (name, value) in headers {
            // A colon or a line break would be taken for the end of the name or of the header when the block is read.
            block.extend(name.chars().map(|c| if c == ':' || c == '\n' { ' ' } else { c }));
            block.push(':');
            block.extend(value.chars().map(|c| if c == '\n' { ' ' } else { c }));
            block.push('\n');
        }
        Self(block.into())
    }

    /// All headers as name and value, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split_terminator('\n').filter_map(|line| line.split_once(':'))
    }

    /// The first value of `name`, in any spelling of upper and lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The block as it is kept, for the hand-over: what [`FromStr`](std::str::FromStr) reads back.
impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Headers {
    type Err = std::convert::Infallible;

    fn from_str(block: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(block.split_terminator('\n').filter_map(|line| line.split_once(':'))))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_what_a_header_can_carry_and_encodes_the_rest() {
        assert_eq!(Id::given("order-17:a.b").to_string(), "order-17:a.b");
        assert_eq!(Id::given("a b\r\nc%é").to_string(), "a%20b%0D%0Ac%25%C3%A9");
    }

    #[test]
    fn an_empty_or_endless_id_is_replaced() {
        assert!(matches!(Id::given(""), Id::Made(_)));
        assert!(matches!(Id::given(&"x".repeat(257)), Id::Made(_)));
        assert!(matches!(Id::given(&"x".repeat(256)), Id::Given(_)));
    }

    #[test]
    fn a_known_id_is_taken_as_it_is() {
        for id in ["order-17", "a%20b", "0198c0de-0000-7000-8000-000000000001"] {
            assert_eq!(Id::known(id).map(|id| id.to_string()).as_deref(), Some(id));
        }
        for id in ["", "a b", "a\nb", "é", &"x".repeat(257)] {
            assert_eq!(Id::known(id), None, "{id:?}");
        }
    }

    #[test]
    fn headers_keep_their_order_and_are_found_in_any_case() {
        let headers = Headers::new([("Content-Type", "text/plain"), ("X", ""), ("x", "a:b")].into_iter());
        assert_eq!(headers.get("content-type"), Some("text/plain"));
        assert_eq!(headers.get("X"), Some(""));
        assert_eq!(headers.get("absent"), None);
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("Content-Type", "text/plain"), ("X", ""), ("x", "a:b")]);
    }

    #[test]
    fn a_line_break_in_a_header_makes_no_second_header() {
        let headers = Headers::new([("a", "1\nb:2")].into_iter());
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "1 b:2")]);
    }

    #[test]
    fn a_detached_payload_is_a_copy() {
        for size in [100, 20_000, 1 << 20] {
            let block = Bytes::from(vec![7; 2 << 20]);
            let payload = block.slice(..size);
            let mut message =
                Message::new(Id::fresh(), "a".into(), Headers::default(), payload.clone(), Time::START);
            message.detach();
            assert_eq!(message.payload, payload);
            assert_ne!(message.payload.as_ptr(), block.as_ptr());
        }
    }
}
