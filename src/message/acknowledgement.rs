//! How a message from a stream is acknowledged: exactly once at its end, with heartbeats (in progress) until then.
//!
//! Nothing is published here: each acknowledgement is made as a subject and a payload, for whoever has the connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;

pub use super::origin::Origin;

/// The duty to acknowledge a message to the stream it came from. Settling takes it by value, so that nobody settles
/// twice. It travels with the message, also to the thread that publishes dead letters: so it is an [`Arc`] with an
/// atomic.
#[derive(Debug)]
pub struct AckHandle(Arc<PendingAck>);

/// Tells whether a message still needs heartbeats, without keeping anybody from settling it.
#[derive(Debug)]
pub struct Watch(Arc<PendingAck>);

#[derive(Debug)]
struct PendingAck {
    /// The reply subject of the message (`$JS.ACK.…`), to which acknowledgements are published.
    reply: Box<str>,
    /// Whether the message is settled, or gone.
    done: AtomicBool,
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

/// An acknowledgement that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The subject to publish to: the reply subject of the message.
    pub subject: String,
    /// The kind, as the protocol writes it.
    pub payload: Bytes,
}

impl AckHandle {
    /// For a message with this reply subject.
    pub fn new(reply: &str) -> Self {
        Self(Arc::new(PendingAck { reply: reply.into(), done: AtomicBool::new(false) }))
    }

    /// Settles the message, and returns what is to be published for that. Dropping the handle instead publishes
    /// nothing: the stream delivers the message again when its `ack_wait` is over.
    pub fn settle(self, kind: AckKind) -> Ack {
        self.0.ack(kind)
    }

    /// Where the message comes from; none where the reply subject does not tell.
    pub fn origin(&self) -> Option<Origin<'_>> {
        Origin::parse(&self.0.reply)
    }

    /// For whoever sends heartbeats for it.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.0))
    }
}

impl Drop for AckHandle {
    fn drop(&mut self) {
        // Settled, or lost together with its message. In both cases heartbeats must end: with them, the stream would
        // never deliver a lost message again.
        self.0.done.store(true, Relaxed);
    }
}

impl Watch {
    /// A heartbeat; none where the message is not in hand any more.
    pub fn progress(&self) -> Option<Ack> {
        (!self.0.done.load(Relaxed)).then(|| self.0.ack(AckKind::Progress))
    }

    /// Whether the message is not in hand any more.
    pub fn is_done(&self) -> bool {
        self.0.done.load(Relaxed)
    }
}

impl PendingAck {
    fn ack(&self, kind: AckKind) -> Ack {
        let payload = match kind {
            AckKind::Ack => Bytes::from_static(b"+ACK"),
            AckKind::Term => Bytes::from_static(b"+TERM"),
            AckKind::Progress => Bytes::from_static(b"+WPI"),
            AckKind::Nak(Duration::ZERO) => Bytes::from_static(b"-NAK"),
            // The protocol counts durations in nanoseconds.
            AckKind::Nak(delay) => format!("-NAK {{\"delay\": {}}}", delay.as_nanos()).into(),
        };
        Ack { subject: self.reply.to_string(), payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payloads_are_those_of_the_protocol() {
        let kinds = [
            (AckKind::Ack, "+ACK"),
            (AckKind::Term, "+TERM"),
            (AckKind::Nak(Duration::ZERO), "-NAK"),
            (AckKind::Nak(Duration::from_millis(1500)), "-NAK {\"delay\": 1500000000}"),
        ];
        for (kind, payload) in kinds {
            let ack = AckHandle::new("$JS.ACK.x").settle(kind);
            assert_eq!(ack, Ack { subject: "$JS.ACK.x".to_owned(), payload: payload.into() });
        }
    }

    #[test]
    fn there_are_heartbeats_until_it_is_settled() {
        let ack = AckHandle::new("$JS.ACK.x");
        let watch = ack.watch();
        assert_eq!(watch.progress().map(|ack| ack.payload), Some("+WPI".into()));
        ack.settle(AckKind::Ack);
        assert_eq!(watch.progress(), None);
        assert!(watch.is_done());
    }

    #[test]
    fn a_message_that_is_lost_gives_no_heartbeats() {
        let ack = AckHandle::new("$JS.ACK.x");
        let watch = ack.watch();
        drop(ack);
        assert!(watch.is_done());
    }
}
