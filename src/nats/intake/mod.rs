//! The client's side of the NATS protocol, as far as it is needed to take messages, to answer for them, and to ask.
//!
//! Messages come straight from the block that they were read into, whatever bytes they consist of. Nothing that a server
//! or a publisher sends can end more than one connection, which is then made again.

mod connection;
mod crossing;
mod dial;
mod handshake;
mod incoming;
mod info;
mod keeper;
mod line;
mod link;
mod login;
mod reader;
mod replies;
mod servers;
mod subscription;
mod subscriptions;
mod tls;
mod visit;
mod wire;

pub use self::{
    connection::{Attached, Connection, NoAnswer},
    incoming::Incoming,
    reader::{Operation, ProtocolError, Reader},
    replies::Replies,
    subscription::Subscription,
    subscriptions::Sink,
    visit::{Visit, VisitError, visit},
    wire::{Outgoing, PublishError},
};
