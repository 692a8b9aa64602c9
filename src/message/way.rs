//! The spans of a message, on a route that is traced: one of its whole way, and one of each attempt as a part of that.

use std::sync::Arc;

use super::{
    Headers, Message,
    header_names::http as names,
    outcome::{Attempt, Outcome, Reason},
};
use crate::{
    base::clock::Time,
    trace::{
        Tracer,
        context::{self, Parent, SpanId, TraceId},
        span::{Kind, Span},
    },
};

/// The trace that a message belongs to, and its place there.
#[derive(Debug)]
pub struct Way {
    tracer: Arc<Tracer>,
    trace: TraceId,
    /// The publisher's span.
    parent: Option<SpanId>,
    /// The publisher's `tracestate`, where that counts.
    state: Option<Arc<str>>,
    /// Whether there are spans of it at all. Without them the webhook still hears of the trace, and that it is not sampled.
    sampled: bool,
    /// The span of the whole way.
    span: SpanId,
    /// The span of the attempt that is under way, or was the last.
    attempt: SpanId,
}

impl Way {
    /// The way of a message with these `headers`, as a part of what its publisher says it is of; of a new trace, where it
    /// says that not exactly once, or wrong.
    pub fn begin(tracer: &Arc<Tracer>, headers: &Headers) -> Box<Self> {
        let mut parents = headers.all(names::TRACEPARENT);
        let parent = match (parents.next(), parents.next()) {
            (Some(only), None) => Parent::parse(&only),
            _ => None,
        };
        let trace = parent.map_or_else(TraceId::fresh, |parent| parent.trace);
        let span = SpanId::fresh();
        Box::new(Self {
            tracer: Arc::clone(tracer),
            trace,
            parent: parent.map(|parent| parent.span),
            state: parent.and_then(|_| state(headers)),
            sampled: tracer.sampler.samples(parent.as_ref(), &trace),
            span,
            attempt: span,
        })
    }

    /// Begins the span of another attempt.
    pub fn begin_attempt(&mut self) {
        self.attempt = SpanId::fresh();
    }

    /// The `traceparent` of the request of the attempt.
    pub fn traceparent(&self) -> String {
        Parent { trace: self.trace, span: self.attempt, sampled: self.sampled }.to_header()
    }

    /// The `tracestate` of that request.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The id of the trace.
    pub const fn trace(&self) -> &TraceId {
        &self.trace
    }

    /// The memory that it takes, in bytes.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.state.as_ref().map_or(0, |state| state.len())
    }
}

/// The entries of all `tracestate`s in one, as they may be spread over several (W3C Trace Context, section 3.3).
fn state(headers: &Headers) -> Option<Arc<str>> {
    let all: Vec<_> = headers.all(names::TRACESTATE).collect();
    context::state(&all.join(&b","[..])).map(Arc::from)
}

impl Message {
    /// The id of the trace that it belongs to, on a route that is traced.
    pub fn trace(&self) -> Option<&TraceId> {
        self.way.as_deref().map(Way::trace)
    }

    /// Records the attempt from `begin` to `end`. None for one that was broken off: what came of it is not known.
    #[inline]
    pub fn record_attempt(&self, attempt: Option<&Attempt>, begin: Time, end: Time) {
        // All that is done on a route that is not traced.
        if let Some(way) = &self.way {
            self.record(way, attempt, begin, end);
        }
    }

    fn record(&self, way: &Way, attempt: Option<&Attempt>, begin: Time, end: Time) {
        if !way.sampled {
            return;
        }
        let (status, error, cause) = match attempt {
            Some(Attempt::Delivered { status, .. }) => (Some(*status), None, None),
            Some(Attempt::Failed { failure, cause, content, .. }) => {
                let answered = content.as_ref().map(|content| content.status);
                (failure.status().or(answered), Some(failure.label()), cause.clone())
            }
            None => (None, Some("aborted".into()), None),
        };
        let resends = self.failed_attempt.as_ref().map_or(0, |failed| failed.failures);
        way.tracer.spans.record(Span {
            id: way.attempt,
            parent: Some(way.span),
            is_parent_remote: false,
            error,
            cause,
            ..self.span(way, Kind::Attempt { status, resends }, begin, end)
        });
    }

    /// Ends its span, at `end`, and with it all that is recorded of it.
    #[inline]
    pub fn end_way(&mut self, outcome: Outcome, reason: Option<Reason>, end: impl FnOnce() -> Time) {
        if let Some(way) = self.way.take() {
            self.record_way(&way, outcome, reason, end());
        }
    }

    fn record_way(&self, way: &Way, outcome: Outcome, reason: Option<Reason>, end: Time) {
        if !way.sampled {
            return;
        }
        let kind = Kind::Way { outcome: outcome.label(), attempts: self.attempts, size: self.payload.len() };
        let cause = self.failed_attempt.as_ref().and_then(|failed| failed.cause.clone());
        way.tracer.spans.record(Span {
            error: reason.map(|reason| reason.label().into()),
            cause: cause.filter(|_| reason.is_some()),
            ..self.span(way, kind, self.received, end)
        });
    }

    /// A span of the whole way, without an error.
    fn span(&self, way: &Way, kind: Kind, begin: Time, end: Time) -> Span {
        Span {
            trace: way.trace,
            id: way.span,
            parent: way.parent,
            is_parent_remote: way.parent.is_some(),
            state: way.state.clone(),
            begin,
            end,
            about: Arc::clone(&way.tracer.about),
            subject: Arc::clone(&self.subject),
            message_id: self.id.to_string().into(),
            error: None,
            cause: None,
            kind,
        }
    }
}
