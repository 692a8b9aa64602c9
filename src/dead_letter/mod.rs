//! What will not be delivered is published to a subject, with the reason in its headers.
//!
//! Each route with such a subject has a [queue](LetterQueue), which its lanes reach by a [`Sender`]. A letter counts
//! when NATS has confirmed it: where a stream keeps the subject, by that stream's acknowledgement. Only then is a
//! message that came from a stream acknowledged there: a crash in between delivers it twice, and loses nothing.
//! [`Store`] finds the letters again, and a [`Walk`] goes through those that are meant.

mod asker;
mod claim;
mod destination;
mod discard;
mod headers;
mod keeper;
mod letter;
mod outbox;
mod publisher;
mod publishing;
mod queue;
mod queued;
mod recent;
mod rounds;
mod selection;
mod store;
mod stored;
#[cfg(test)]
mod tests;
mod walk;

pub use self::{
    claim::Claim,
    destination::Destination,
    discard::discard,
    letter::Letter,
    outbox::Waiting,
    publisher::Publisher,
    publishing::Publishing,
    queue::{LetterQueue, Room, Sender, queue},
    recent::RecentLetter,
    selection::{Orphans, Selected, Selection, time_or_age},
    store::{Cursor, Store, StoreError},
    stored::Stored,
    walk::Walk,
};
