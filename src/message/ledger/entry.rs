//! What a book has of a message, and what it says of it.

use crate::{base::clock::Time, message::acknowledgement::AckKind};

/// A message that is in hand, or of which the stream is not known to know the end.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) published: u64,
    /// The reply subject of its latest delivery (`$JS.ACK.…`), to which acks are published.
    pub(super) reply: Box<str>,
    /// When its next heartbeat is due.
    pub(super) due: Time,
    /// From when on its stream would not deliver it again; none where it always would.
    pub(super) gone: Option<Time>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    InHand,
    Unsaid(AckKind),
    /// Said in the batch with this number.
    Said(AckKind, u64),
}

/// What was said in one go. The answer to the last of it confirms all of it: it went one way, in one order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) at: Time,
    pub(super) sequences: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Beat {
    pub(super) due: Time,
    pub(super) sequence: u64,
}

/// What a delivery is to a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Not known: it is in hand from now on. Whether it is the only one for which heartbeats are planned.
    New { is_only: bool },
    /// Another copy of what is in hand, or done with: there is nothing to do for it.
    Repeat,
}

/// An acknowledgement that is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying<'a> {
    /// The subject: the reply subject of the message.
    pub subject: &'a str,
    /// What became of it.
    pub kind: AckKind,
    /// Whether it is to be answered.
    pub is_last: bool,
}

/// Whether a heartbeat that was planned is one for `entry`.
pub(super) fn is_of(beat: &Beat, entry: &Entry) -> bool {
    entry.state == State::InHand && entry.due == beat.due
}
