//! HTTP/1.1 on the wire: the bytes of a request, the reader of a response, and the connection that carries both.
//!
//! It is our own, because a general client's share was the largest part of a message's cost that was not the kernel's.
//! It does what webhooks need and no more: one request at a time, no upgrade, no redirect, no pipelining.

pub mod connection;
pub mod head;
pub mod response;
