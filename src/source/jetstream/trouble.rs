//! Why pulling has to begin anew.

use thiserror::Error;

use super::{acks::AckTrouble, api::ApiError};

/// What ended the pulling of a route, worded for health and the log.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error("there is no stream {0}")]
    NoStream(String),
    #[error("there is no consumer {consumer} of stream {stream}: make it, or set jetstream.create")]
    NoConsumer { stream: String, consumer: String },
    /// What makes it so, in words.
    #[error("{}", .0.join("; "))]
    Unusable(Vec<String>),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("cannot make the consumer: {0}")]
    Create(#[source] ApiError),
    #[error(transparent)]
    Acks(#[from] AckTrouble),
    #[error("not connected to NATS")]
    Disconnected,
    #[error("the connection to NATS was made anew")]
    Reconnected,
    #[error("NATS refuses the inbox for messages: {0}")]
    Inbox(String),
    #[error("NATS refuses to be asked for messages: the user needs the permission to publish to {0}")]
    Refused(String),
    #[error("the server is silent: a heartbeat is missing")]
    Silence,
    #[error("the server has ended the request: {0}")]
    Ended(String),
    #[error("nobody answers for JetStream")]
    NoResponders,
    #[error("the consumer has changed: looking at it anew")]
    Changed,
}
