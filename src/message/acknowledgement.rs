//! How a message from a stream is settled: exactly once at its end.
//!
//! Nothing is published here: the [ledger](super::ledger) of its lane takes note, and sees to it that the stream hears of
//! it.

use std::{borrow::Cow, time::Duration};

use super::ledger::{Ledger, Returned};
pub use super::origin::Origin;
use crate::base::clock::Time;

/// The duty to settle a message of a stream. Settling takes it by value, so that nobody settles twice. It travels with
/// the message, also to the thread that publishes dead letters. Dropping it instead says nothing: the stream delivers
/// the message again when its `ack_wait` is over.
#[derive(Debug)]
pub struct AckHandle {
    /// None once it is settled.
    ledger: Option<Ledger>,
    sequence: u64,
    published: u64,
}

/// The kinds of acknowledgements, by the names that the protocol of JetStream gives them (NATS ADR-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// The message is done with.
    Ack,
    /// The stream delivers it again after this time.
    Nak(Duration),
    /// The stream never delivers it again, though it was not processed.
    Term,
    /// It is still being worked on: the time that the stream waits for an acknowledgement (`ack_wait`) begins anew.
    Progress,
}

impl AckHandle {
    pub(super) const fn new(ledger: Ledger, sequence: u64, published: u64) -> Self {
        Self { ledger: Some(ledger), sequence, published }
    }

    /// Settles the message.
    pub fn settle(mut self, kind: AckKind) {
        if let Some(ledger) = self.ledger.take() {
            ledger.settle(self.sequence, self.published, kind);
        }
    }

    /// Gives the message back, which was attempted so often: the stream delivers it again after `delay`.
    pub fn give_back(self, delay: Duration, attempts: u32) {
        if attempts > 0
            && let Some(ledger) = &self.ledger
        {
            ledger.remember(Returned { sequence: self.sequence, published: self.published, attempts });
        }
        self.settle(AckKind::Nak(delay));
    }

    /// Whether the stream would deliver the message again at `then`, were it given back.
    pub fn comes_back(&self, then: Time) -> bool {
        self.ledger.as_ref().is_none_or(|ledger| ledger.comes_back(self.sequence, self.published, then))
    }

    /// The stream that it comes from.
    pub fn stream(&self) -> &str {
        self.ledger.as_ref().map_or("", Ledger::stream)
    }

    /// Its sequence in the stream.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the stream took it, in nanoseconds since 1970.
    pub const fn published(&self) -> u64 {
        self.published
    }
}

impl Drop for AckHandle {
    fn drop(&mut self) {
        // Lost together with its message. Heartbeats must end: with them, the stream would never deliver it again.
        if let Some(ledger) = &self.ledger {
            ledger.forget(self.sequence, self.published);
        }
    }
}

impl AckKind {
    /// As the protocol writes it.
    pub fn payload(self) -> Cow<'static, [u8]> {
        match self {
            Self::Ack => b"+ACK".into(),
            Self::Term => b"+TERM".into(),
            Self::Progress => b"+WPI".into(),
            Self::Nak(Duration::ZERO) => b"-NAK".into(),
            // The protocol counts durations in nanoseconds.
            Self::Nak(delay) => format!("-NAK {{\"delay\": {}}}", delay.as_nanos()).into_bytes().into(),
        }
    }
}

#[cfg(test)]
impl AckHandle {
    /// That of a message with this reply subject, which nobody else looks after.
    pub(crate) fn of(reply: &str) -> Self {
        let origin = Origin::parse(reply).expect("the reply subject is that of a stream");
        let ledger = super::ledger::Ledgers::default().open(origin.stream, Duration::from_secs(30));
        ledger.arrived(&origin, reply, Time::START).expect("it is the first").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payloads_are_those_of_the_protocol() {
        for (kind, payload) in [
            (AckKind::Ack, "+ACK"),
            (AckKind::Term, "+TERM"),
            (AckKind::Progress, "+WPI"),
            (AckKind::Nak(Duration::ZERO), "-NAK"),
            (AckKind::Nak(Duration::from_millis(1500)), "-NAK {\"delay\": 1500000000}"),
        ] {
            assert_eq!(&*kind.payload(), payload.as_bytes());
        }
    }
}
