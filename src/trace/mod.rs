//! Traces: the spans of a message's way and of its attempts, as OpenTelemetry has them, up to where they are given away.
//! What becomes of them is the business of `otlp`.
//!
//! There is a [`Tracer`] for each route where tracing is on, and none where it is off: then no message has a span, and
//! nothing here is ever called.

pub mod context;
pub mod sampler;
pub mod span;
pub mod spans;

use std::sync::Arc;

use self::{sampler::Sampler, span::About, spans::Spans};

/// What makes the spans of one route.
#[derive(Debug)]
pub struct Tracer {
    /// What all its spans say.
    pub about: Arc<About>,
    /// Which messages get spans.
    pub sampler: Sampler,
    /// Where finished spans go.
    pub spans: Spans,
}
