//! Spans on their way to a collector: OTLP over HTTP, in protobuf
//! (<https://opentelemetry.io/docs/specs/otlp/>).

mod collector;
mod encode;
mod exporter;
mod messages;
mod retry;

pub use self::{
    collector::{Collector, cause},
    exporter::Exporter,
};
