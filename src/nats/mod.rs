//! A connection to NATS: how it is made, what is known of it, and whether what was sent over it has arrived.

mod auth;
mod barrier;
mod connection;
pub mod intake;
mod on_demand;
mod replies;
mod state;

pub use self::{
    barrier::{Barrier, BarrierError, SharedBarrier},
    connection::{NatsConnection, SetUpError, end_subscription, next},
    intake::{
        Attached, Connection, Incoming, NoAnswer, Outgoing, PublishError, Sink, Subscription, Visit,
        VisitError, visit,
    },
    on_demand::OnDemand,
    replies::Replies,
    state::{ConnectionState, Connections},
};
