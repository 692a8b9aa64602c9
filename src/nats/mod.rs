//! A connection to NATS: how it is made, what is known of it, and whether what was sent over it has arrived.

pub mod intake;
pub mod jetstream;
pub mod library;
mod on_demand;
pub mod puback;
mod requests;
mod state;

pub use self::{
    intake::{
        Attached, Connection, Incoming, NoAnswer, Outgoing, PublishError, Replies, Sink, Subscription, Visit,
        VisitError, visit,
    },
    on_demand::OnDemand,
    requests::Requests,
    state::{ConnectionState, Connections},
};
