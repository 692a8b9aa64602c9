//! A message on its way from NATS to a webhook, and what can come of it. Plain data, no I/O.

pub mod acknowledgement;
pub mod answer;
pub mod batch;
pub mod fresh_ids;
mod header_block;
pub mod header_names;
mod headers;
pub mod ledger;
mod origin;
pub mod outcome;
pub mod reply;
pub mod way;

use std::{
    borrow::Cow,
    fmt,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use uuid::Uuid;

use self::{acknowledgement::AckHandle, outcome::Failure, way::Way};
pub use self::{header_block::HeaderBlock, headers::Headers};
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
    /// Where its publisher waits for an answer, on a route that replies; none once it is answered.
    pub reply: Option<Box<str>>,
    /// Where it takes up room while it is under way; none when it is not.
    pub charged: Option<Charge>,
    /// Its spans, on a route that is traced.
    pub way: Option<Box<Way>>,
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
    /// With how many it may be in one request at the most, as those failed together of which it was one; none where all
    /// may be.
    pub together: Option<NonZeroUsize>,
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
            reply: None,
            charged: None,
            way: None,
        }
    }

    /// When the stream took it, or else when it came out of NATS, reckoned at `now`.
    pub fn taken(&self, now: Time) -> SystemTime {
        let taken = match &self.ack {
            Some(ack) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(ack.published())),
            None => SystemTime::now().checked_sub(now.since(self.received)),
        };
        taken.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The memory that keeping this message takes, in bytes: what the bounds are charged with. It has to be the same
    /// when the message goes into a queue and when it comes out.
    #[inline]
    pub fn cost(&self) -> usize {
        /// What the allocator and the slack of a growing queue add, about.
        const OVERHEAD: usize = 64;
        size_of::<Self>()
            + OVERHEAD
            + self.payload.len()
            + self.subject.len()
            + self.headers.as_bytes().len()
            + self.id.heap_size()
            + self.reply.as_ref().map_or(0, |reply| reply.len())
            + self.failed_attempt.as_ref().map_or(0, |failed_attempt| failed_attempt.cost())
            + self.way.as_ref().map_or(0, |way| way.cost())
    }

    /// With how many it may be in one request at the most, itself counted.
    pub fn company(&self) -> usize {
        let failed = self.failed_attempt.as_ref();
        failed.and_then(|failed| failed.together).map_or(usize::MAX, NonZeroUsize::get)
    }

    /// Lets go of the memory that the payload shares with others.
    ///
    /// A payload is a slice of the block that the NATS client read it with, 64 KiB or more: up to twice the largest
    /// message that it had to hold. Whoever keeps the slice keeps the block, and the bounds would count a hundredth of the
    /// memory that is really taken. Nothing tells how large the block is, so a large payload is copied too: reading and
    /// posting it cost far more.
    #[inline]
    pub fn detach(&mut self) {
        self.payload = Bytes::copy_from_slice(&self.payload);
        self.headers.detach();
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
    pub fn given(id: impl AsRef<[u8]>) -> Self {
        Self::safe(id.as_ref()).unwrap_or_else(Self::fresh)
    }

    /// As [`Id::given`], or none where it would be a fresh one.
    pub fn safe(id: &[u8]) -> Option<Self> {
        let safe = header_safe_bytes(id);
        // Measured after the encoding, which can make it three times as long.
        (!safe.is_empty() && safe.len() <= Self::LONGEST).then(|| Self::Given(safe.into()))
    }

    /// The id of a message that has none of its publisher's: its place in `stream`, and when the stream took it, in
    /// nanoseconds since 1970. It is the same for every delivery and every replica, and another one where the stream is
    /// made anew. Without dots, which separate the signed parts of a request in Standard Webhooks.
    pub fn of_stream(stream: &str, sequence: u64, published: u64) -> Self {
        let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
        // Only the name may have what a header can't.
        let parts = [&*header_safe(stream), ":", first.format(sequence), ":", second.format(published)];
        // As long as it gets: it is made of each message, and moved no more.
        let mut id = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| id.push_str(part));
        if id.len() > Self::LONGEST { Self::fresh() } else { Self::Given(id.into()) }
    }

    /// An id that was made or made safe elsewhere, as it was written there.
    pub fn known(id: &str) -> Option<Self> {
        let safe =
            !id.is_empty() && id.len() <= Self::LONGEST && id.bytes().all(|byte| byte.is_ascii_graphic());
        safe.then(|| Self::Given(id.into()))
    }

    /// Whether it is written so.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Given(id) => **id == *text,
            Self::Made(id) => id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text,
        }
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

/// What is percent-encoded in headers.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// `text` with blanks, control characters, `%` and everything beyond ASCII percent-encoded, so that it can stand in an
/// HTTP header and be decoded again. Subjects and ids come from strangers: two that differ must not become one.
pub fn header_safe(text: &str) -> Cow<'_, str> {
    // Most of them are, and looking is cheaper than the encoder.
    let is_safe = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%');
    if is_safe { text.into() } else { percent_encode(text.as_bytes(), UNSAFE).into() }
}

/// The same for what need not be text.
pub fn header_safe_bytes(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| percent_encode(bytes, UNSAFE).into(), header_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_what_a_header_can_carry_and_encodes_the_rest() {
        assert_eq!(Id::given("order-17:a.b").to_string(), "order-17:a.b");
        assert_eq!(Id::given("a b\r\nc%é").to_string(), "a%20b%0D%0Ac%25%C3%A9");
        assert_ne!(Id::given(b"a\xff"), Id::given(b"a\xfe"));
    }

    #[test]
    fn an_empty_or_endless_id_is_replaced() {
        assert!(matches!(Id::given(""), Id::Made(_)));
        assert!(matches!(Id::given("x".repeat(257)), Id::Made(_)));
        assert!(matches!(Id::given("x".repeat(256)), Id::Given(_)));
    }

    #[test]
    fn the_id_of_a_stream_s_message_says_which_it_is() {
        let id = Id::of_stream("TODOS", 17, u64::MAX);
        assert_eq!(id.to_string(), "TODOS:17:18446744073709551615");
        assert_eq!(Id::of_stream("a b%é", 0, 1).to_string(), "a%20b%25%C3%A9:0:1");
        assert!(matches!(Id::of_stream(&"x".repeat(252), 1, 1), Id::Given(_)));
        assert!(matches!(Id::of_stream(&"x".repeat(253), 1, 1), Id::Made(_)));
    }

    #[test]
    fn a_known_id_is_taken_as_it_is() {
        for id in ["order-17", "a%20b", "0198c0de-0000-7000-8000-000000000001"] {
            assert_eq!(Id::known(id).map(|id| id.to_string()).as_deref(), Some(id));
        }
        let made = Id::fresh();
        assert!(made.is(&made.to_string()) && Id::given("a b").is("a%20b") && !made.is("a%20b"));
        for id in ["", "a b", "a\nb", "é", &"x".repeat(257)] {
            assert_eq!(Id::known(id), None, "{id:?}");
        }
    }

    #[test]
    fn a_detached_message_shares_no_memory() {
        for size in [100, 20_000, 1 << 20] {
            let block = Bytes::from(vec![7; 2 << 20]);
            let payload = block.slice(..size);
            let headers = Headers::from_lines(block.slice(..10));
            let mut message =
                Message::new(Id::fresh(), "a".into(), headers.clone(), payload.clone(), Time::START);
            message.detach();
            assert_eq!((&message.payload, &message.headers), (&payload, &headers));
            assert_ne!(message.payload.as_ptr(), block.as_ptr());
            assert_ne!(message.headers.as_bytes().as_ptr(), block.as_ptr());
        }
    }
}
