//! What every part of the program may use, and what knows nothing of messages, routes or NATS.

pub mod backoff;
pub mod clock;
pub mod error_chain;
pub mod runtime;
pub mod throttle;
pub(crate) mod timer;
