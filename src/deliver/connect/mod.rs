//! From the name of a webhook's host to a stream of bytes that a request can be written to: looking up the name,
//! connecting, TLS. Nothing here knows HTTP.

pub(super) mod cause;
pub(super) mod connector;
pub mod network;
mod proxy;
mod shortage;
mod socket;
pub mod stages;
mod tls;
pub mod way;
