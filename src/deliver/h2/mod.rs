//! HTTP/2 on the wire (RFC 9113): many requests at a time over one connection, which the workers of a pipeline share.
//!
//! What it is for is the cost of a message. The requests of all workers that are ready go out in one write, and the
//! answers that come in one read wake them together: so what a message costs the kernel is divided by their number. It
//! is our own for the same reason as HTTP/1.1, and does what webhooks need and no more: no pushes, no priorities, no
//! table for the fields of answers.
//!
//! From the bottom up: `frame` and `hpack` are bytes, `connection` is a connection without I/O, `link` what its workers
//! and its `driver` share, `pool` the few connections of a pipeline.

pub mod connection;
mod driver;
mod exchange;
mod frame;
pub mod head;
pub mod hpack;
mod link;
pub(super) mod pool;
mod response;
