//! The HTTP/1.1 wire: the bytes of a request, the reader of a response, and the connection that carries both.

pub mod connection;
pub mod head;
pub mod response;
