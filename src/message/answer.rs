//! What a webhook answered, as far as a route makes use of it.

use std::{sync::Arc, time::Duration};

use super::outcome::Failure;

/// The answer to an attempt, of a route that looks into answers. Boxed in its attempt, so that others don't carry it
/// along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The status.
    pub status: u16,
    /// What the body is (`Content-Type`).
    pub content_type: Option<Box<[u8]>>,
    /// The whole body; empty where it was left out.
    pub body: Vec<u8>,
    /// Why the body was left out, if it was: half a body could be taken for a whole one.
    pub left_out: Option<&'static str>,
    /// What it says of each message of a batch, in their order; empty where it says nothing of any.
    pub verdicts: Vec<Option<EntryVerdict>>,
}

/// What the receiver of a batch says of one message in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryVerdict {
    /// It has taken it.
    Taken,
    /// It does not want it.
    Unwanted,
    /// It has not taken it.
    Failed {
        /// How it would have failed alone.
        failure: Failure,
        /// How long the receiver wants to wait for it.
        after: Option<Duration>,
        /// Why, in the receiver's words, made safe for a header.
        cause: Option<Arc<str>>,
    },
}
