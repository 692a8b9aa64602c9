//! What a message from a stream owes: exactly one word about what became of it, and a sign of life until then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;

pub use super::origin::Origin;

/// The duty to settle a message with the stream it came from. Taken by value, so that nobody settles twice; it travels with
/// the message, also to another thread.
#[derive(Debug)]
pub struct AckHandle(Arc<Duty>);

/// A look at a ack from aside: whether its message still needs signs of life.
#[derive(Debug)]
pub struct Watch(Arc<Duty>);

#[derive(Debug)]
struct Duty {
    /// Where the stream wants to be told (`$JS.ACK.…`).
    reply: Box<str>,
    done: AtomicBool,
}

/// What the stream is told.
///
/// The words are those of NATS' protocol for acknowledgements (ADR-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// It is done with.
    Ack,
    /// It comes back after this time.
    Nak(Duration),
    /// It never comes back, and was not delivered.
    Term,
    /// It is being worked on.
    Progress,
}

/// A word on its way: the subject and the payload to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Where to.
    pub subject: String,
    /// What.
    pub payload: Bytes,
}

impl AckHandle {
    /// The duty to answer to `reply`.
    pub fn new(reply: &str) -> Self {
        Self(Arc::new(Duty { reply: reply.into(), done: AtomicBool::new(false) }))
    }

    /// Settles it: what is to be published for that.
    pub fn settle(self, word: AckKind) -> Ack {
        self.0.notice(word)
    }

    /// Where the message comes from, if the reply subject tells.
    pub fn origin(&self) -> Option<Origin<'_>> {
        Origin::parse(&self.0.reply)
    }

    /// For whoever gives signs of life.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.0))
    }
}

impl Drop for AckHandle {
    fn drop(&mut self) {
        // Settled, or lost together with its message: in both cases there is no more to say.
        self.0.done.store(true, Relaxed);
    }
}

impl Watch {
    /// The sign of life, while the message is in hand.
    pub fn progress(&self) -> Option<Ack> {
        (!self.0.done.load(Relaxed)).then(|| self.0.notice(AckKind::Progress))
    }

    /// Whether the message is not in hand any more.
    pub fn is_done(&self) -> bool {
        self.0.done.load(Relaxed)
    }
}

impl Duty {
    fn notice(&self, word: AckKind) -> Ack {
        let payload = match word {
            AckKind::Ack => Bytes::from_static(b"+ACK"),
            AckKind::Term => Bytes::from_static(b"+TERM"),
            AckKind::Progress => Bytes::from_static(b"+WPI"),
            AckKind::Nak(Duration::ZERO) => Bytes::from_static(b"-NAK"),
            AckKind::Nak(delay) => format!("-NAK {{\"delay\": {}}}", delay.as_nanos()).into(),
        };
        Ack { subject: self.reply.to_string(), payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_protocol() {
        let words = [
            (AckKind::Ack, "+ACK"),
            (AckKind::Term, "+TERM"),
            (AckKind::Nak(Duration::ZERO), "-NAK"),
            (AckKind::Nak(Duration::from_millis(1500)), "-NAK {\"delay\": 1500000000}"),
        ];
        for (word, payload) in words {
            let notice = AckHandle::new("$JS.ACK.x").settle(word);
            assert_eq!(notice, Ack { subject: "$JS.ACK.x".to_owned(), payload: payload.into() });
        }
    }

    #[test]
    fn there_are_signs_of_life_until_it_is_settled() {
        let ack = AckHandle::new("$JS.ACK.x");
        let watch = ack.watch();
        assert_eq!(watch.progress().map(|notice| notice.payload), Some("+WPI".into()));
        ack.settle(AckKind::Ack);
        assert_eq!(watch.progress(), None);
        assert!(watch.is_done());
    }

    #[test]
    fn a_message_that_is_lost_gives_no_signs_of_life() {
        let ack = AckHandle::new("$JS.ACK.x");
        let watch = ack.watch();
        drop(ack);
        assert!(watch.is_done());
    }
}
