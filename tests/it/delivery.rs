//! How a message reaches its webhook: the request, the retries, the limits, the connections.

mod answers;
mod connections;
mod limits;
mod request;
mod retry;
