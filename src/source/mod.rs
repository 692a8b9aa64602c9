//! Where the messages of a route come from: a core queue group, or a durable consumer of a JetStream stream.

pub mod core;
pub mod jetstream;
