//! From the name of a webhook's host to a stream of bytes that a request can be written to: looking up the name,
//! connecting, TLS. Nothing here knows HTTP.

pub(super) mod connector;
mod resolver;
pub(super) mod stream;
pub mod tls;
