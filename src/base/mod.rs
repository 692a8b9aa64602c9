//! What every part of the program may use. It knows nothing of messages, routes or NATS, and uses no other module.

pub mod backoff;
pub mod blocking;
pub mod clock;
pub mod descriptors;
pub mod error_chain;
pub mod json;
pub mod network;
pub mod runtime;
pub mod throttle;
pub(crate) mod timer;
pub mod watched_file;
