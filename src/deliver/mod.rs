//! One attempt: a batch of messages becomes a request, and the answer an [`Attempt`]. Whether there is another one is
//! not decided here, nor is anything counted.

pub mod answer;
mod body;
mod client;
pub mod connect;
pub mod endpoint;
mod entries;
pub mod fault;
pub mod h1;
pub mod h2;
pub mod kept;
pub mod known;
pub mod login;
pub mod notices;
mod partial;
pub mod patience;
pub mod post;
mod redirect;
pub mod request;
pub mod sign;
mod spoken;
pub mod verdict;

use std::{
    future::Future,
    task::{Context, Poll},
};

pub use self::{
    body::unpack,
    client::{Client, Target},
    spoken::Spoken,
};

use crate::{
    base::clock::Time,
    message::{batch::Batch, outcome::Attempt},
};

/// Delivers batches one after the other, over a connection of its own.
///
/// The seam between a route's loops and the network: tests put a scripted receiver here.
pub trait Deliver {
    /// Attempts to deliver `batch` from `now` on, in bounded time, and returns what came of it and when it was over.
    /// Dropping the future breaks the attempt off, and the connection with it.
    fn deliver(&mut self, batch: &Batch, now: Time) -> impl Future<Output = (Attempt, Time)>;

    /// Looks after the connection while there is nothing to deliver: notices that the webhook closes it, and closes it
    /// when it was idle for too long. Ready when there is no connection to look after.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
