//! Where the messages of a route come from: a core queue group, or a durable consumer of a JetStream stream. A source
//! only offers messages to a pipeline. It decides nothing about them, and never waits for the pipeline to take one.

pub mod core;
pub mod jetstream;
