//! From the name of a host to a stream of bytes: what the connections to NATS and to webhooks have in common.

pub mod cause;
mod order;
mod questions;
pub mod racing;
pub mod resolver;
pub mod special;
pub mod stream;
pub mod trust;
mod verifier;
