//! The spans of a message, on a route that is traced: one of its whole way, and one of each attempt as a part of that. A
//! request that carries several messages has one more, in a trace of its own, and they point to each other.

use std::{borrow::Cow, sync::Arc};

use super::{
    Headers, Message,
    batch::Batch,
    header_names::http as names,
    outcome::{Attempt, Outcome, Reason},
};
use crate::{
    base::clock::Time,
    trace::{
        Tracer,
        context::{self, Parent, SpanId, TraceId},
        span::{Kind, Link, Span},
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
    /// The span of its request, where that carries other messages, too.
    request: Option<Link>,
}

/// No span points to more: collectors drop what is beyond, by default
/// (<https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-limits>).
const MOST_LINKS: usize = 128;

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
            request: None,
        })
    }

    /// Begins the span of another attempt, by a `request` that carries other messages, too, where there is one.
    pub fn begin_attempt(&mut self, request: Option<Link>) {
        self.attempt = SpanId::fresh();
        self.request = request;
    }

    /// The `traceparent` of the request of the attempt, which carries this message alone.
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

    #[inline]
    fn record_attempt(&self, attempt: Option<&Attempt>, begin: Time, end: Time) {
        // All that is done on a route that is not traced.
        if let Some(way) = &self.way {
            self.record(way, attempt, begin, end);
        }
    }

    fn record(&self, way: &Way, attempt: Option<&Attempt>, begin: Time, end: Time) {
        if !way.sampled {
            return;
        }
        let End { status, error, cause } = End::of(attempt);
        let resends = self.failed_attempt.as_ref().map_or(0, |failed| failed.failures);
        way.tracer.spans.record(Span {
            id: way.attempt,
            parent: Some(way.span),
            is_parent_remote: false,
            error,
            cause,
            links: way.request.into_iter().collect(),
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
            message_id: Some(self.id.to_string().into()),
            error: None,
            cause: None,
            links: Vec::new(),
            kind,
        }
    }
}

/// How an attempt has ended, as spans say it.
struct End {
    status: Option<u16>,
    error: Option<Cow<'static, str>>,
    cause: Option<Arc<str>>,
}

impl End {
    /// None is one that was broken off.
    fn of(attempt: Option<&Attempt>) -> Self {
        match attempt {
            Some(Attempt::Delivered { status, .. }) => {
                Self { status: Some(*status), error: None, cause: None }
            }
            Some(Attempt::Failed { failure, cause, content, .. }) => {
                let answered = content.as_ref().map(|content| content.status);
                let status = failure.status().or(answered);
                Self { status, error: Some(failure.label()), cause: cause.clone() }
            }
            None => Self { status: None, error: Some("aborted".into()), cause: None },
        }
    }
}

impl Batch {
    /// The `traceparent` of a request for several messages, on a route that is traced: that of a trace of its own, as they are
    /// parts of several. It is sampled where one of them is.
    pub fn traceparent(&self) -> Option<String> {
        let request = self.first().way.as_ref()?.request?;
        let sampled = self.ways().any(|way| way.sampled);
        Some(Parent { trace: request.trace, span: request.span, sampled }.to_header())
    }

    fn ways(&self) -> impl Iterator<Item = &Way> {
        self.iter().filter_map(|message| message.way.as_deref())
    }

    /// Records the attempt at all messages from `begin` to `end`. None for one that was broken off: what came of it is not
    /// known.
    #[inline]
    pub fn record_attempt(&self, attempt: Option<&Attempt>, begin: Time, end: Time) {
        self.iter().for_each(|message| message.record_attempt(attempt, begin, end));
        if let Some(way) = &self.first().way
            && let Some(request) = way.request
        {
            self.record_request(way, request, attempt, begin, end);
        }
    }

    fn record_request(&self, way: &Way, request: Link, attempt: Option<&Attempt>, begin: Time, end: Time) {
        let sampled = self.ways().filter(|way| way.sampled);
        let links: Vec<_> =
            sampled.map(|way| Link { trace: way.trace, span: way.attempt }).take(MOST_LINKS).collect();
        if links.is_empty() {
            return;
        }
        let End { status, error, cause } = End::of(attempt);
        let about = Arc::clone(&way.tracer.about);
        way.tracer.spans.record(Span {
            trace: request.trace,
            id: request.span,
            parent: None,
            is_parent_remote: false,
            state: None,
            begin,
            end,
            subject: (*about.subject).into(),
            about,
            message_id: None,
            error,
            cause,
            links,
            kind: Kind::Request { status, count: self.count() },
        });
    }
}
