//! What will not be delivered is published to a subject, with the reason in its headers.
//!
//! Each route with such a subject has an [`Outbox`], which its lanes reach by an [`Outlet`]. A letter counts when NATS has
//! confirmed it: where a stream keeps the subject, by that stream's acknowledgement. Only then is a message that came from
//! a stream acknowledged there. [`Store`] finds the letters again, for the command `dead-letters`.

mod destination;
mod headers;
mod letter;
mod publisher;
mod queue;
mod store;
mod stored;

use crate::config::{DeadLetter, RouteName};

pub use self::{
    letter::Letter,
    publisher::Post,
    queue::{Outbox, Outlet, outbox},
    store::{Page, Store, StoreError},
    stored::Stored,
};

/// Where the dead letters of a route go.
#[derive(Clone, Debug)]
pub struct Place {
    /// The route.
    pub route: RouteName,
    /// Its settings.
    pub to: DeadLetter,
}
