//! Batches that are attempted again in parts, to find the message that a webhook refused them for.

use super::Schedule;
use crate::message::{Message, batch::Batch};

/// Halves of batches that wait for nothing but a worker. The last one to be halved comes first, and its first half before
/// the second: so there are never many, and a message that is refused is found before the next one is looked for.
///
/// They hold what was under way a moment ago, and are charged as that is until they have come to an end: halving takes up
/// no room that a message could be lost for.
#[derive(Debug, Default)]
pub(super) struct Halves(Vec<Batch>);

impl Halves {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes a batch that was refused, of two messages or more, as two.
    pub(super) fn push(&mut self, refused: Batch) {
        let (first, second) = refused.halves();
        self.0.extend(second);
        self.0.push(first);
    }

    pub(super) fn pop(&mut self) -> Option<Batch> {
        self.0.pop()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Schedule {
    /// Takes any message out of the halves, which is charged for nothing any more then.
    pub(super) fn pop_half(&mut self) -> Option<Message> {
        let (mut message, rest) = self.halves.pop()?.split_first();
        self.halves.0.extend(rest);
        self.end(&message);
        message.charged = None;
        Some(message)
    }
}
