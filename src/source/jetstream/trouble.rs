//! Why pulling has to begin anew.

use thiserror::Error;

use super::consumer::ConsumerError;

/// What ended the pulling of a route, worded for health and the log.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    #[error("not connected to NATS")]
    Disconnected,
    #[error("the connection to NATS was made anew")]
    Reconnected,
    #[error("the server is silent: a heartbeat is missing")]
    Silence,
    #[error("the server has ended the request: {0}")]
    Ended(String),
    #[error("nobody answers for JetStream")]
    NoResponders,
    #[error("the client failed: {0}")]
    Client(String),
}

impl Trouble {
    /// The client library does not do what it was asked for.
    pub(super) fn of_client(error: impl std::fmt::Display) -> Self {
        Self::Client(error.to_string())
    }
}
