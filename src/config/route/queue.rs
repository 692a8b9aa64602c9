//! `[routes.NAME.queue]`: how much may wait for its first attempt, and what happens to the rest.

use std::num::NonZeroUsize;

use crate::config::{
    parse::{self, Choice},
    reader::{Reported, Section},
};

/// `[routes.NAME.queue]`: how much may wait for its first attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// `messages` and `bytes`: how much may wait.
    pub bounds: Bounds,
    /// `overflow`: what happens to a message that does not fit. Default `dead_letter`.
    pub overflow: Overflow,
}

/// How much a queue may hold; both bounds hold at the same time. A route's threads divide them between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `messages`: how many, 1 to 100,000,000. Default 65,536.
    pub messages: NonZeroUsize,
    /// `bytes`: how much memory, in bytes, at least 64 KiB. Default `32MiB`.
    pub bytes: NonZeroUsize,
}

/// What happens when a message does not fit into the queue. Whatever it is, it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The new message goes to the dead-letter subject; as [`Self::DropNewest`] when the route has none.
    DeadLetter,
    /// The new message is dropped.
    DropNewest,
    /// The message that has waited longest is dropped.
    DropOldest,
}

impl Bounds {
    /// What holds where nothing is set.
    pub const DEFAULT: Self = Self {
        messages: NonZeroUsize::new(65_536).expect("it is not 0"),
        bytes: NonZeroUsize::new(32 << 20).expect("it is not 0"),
    };
}

pub(super) fn read(at: &Section<'_>) -> Result<Queue, Reported> {
    let bounds = bounds(at);
    let overflow = at.or("overflow", Overflow::DeadLetter, parse::choice);
    Ok(Queue { bounds: bounds?, overflow: overflow? })
}

/// The bounds of a queue, which stand among the other keys of its section.
pub(super) fn bounds(at: &Section<'_>) -> Result<Bounds, Reported> {
    let messages = at.or("messages", Bounds::DEFAULT.messages, parse::count(100_000_000));
    let bytes = at.or("bytes", Bounds::DEFAULT.bytes, parse::size);
    Ok(Bounds { messages: messages?, bytes: bytes? })
}

impl Choice for Overflow {
    const ALL: &'static [(&'static str, Self)] = &[
        ("dead_letter", Self::DeadLetter),
        ("drop_newest", Self::DropNewest),
        ("drop_oldest", Self::DropOldest),
    ];
}
