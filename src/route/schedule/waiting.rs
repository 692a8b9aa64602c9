//! A look at what waits, message by message, in which nothing changes.

use super::Schedule;
use crate::{base::clock::Time, message::Message};

/// A message that waits, as it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'m> {
    /// The message.
    pub message: &'m Message,
    /// When its next attempt is due; none where it was never tried.
    pub due: Option<Time>,
}

impl Schedule {
    /// All that waits, in no particular order.
    pub fn waiting(&self) -> impl Iterator<Item = Seen<'_>> {
        let new = self.queue.iter().map(|message| Seen { message, due: None });
        let halves = self.halves.iter().flat_map(|batch| batch.iter());
        // Nothing but a worker is what a half waits for.
        let halves = halves.map(|message| Seen { message, due: Some(Time::START) });
        let retries = self.retries.iter().map(|(message, due)| Seen { message, due: Some(due) });
        new.chain(halves).chain(retries)
    }
}
