//! Spans under the names that OpenTelemetry has for what they say: the semantic conventions of HTTP clients
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>) and of messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>). Names of ours begin with `broadcaster.`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message as _;

use super::messages::{
    AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, SpanKind, Status, StatusCode, Value,
};
use crate::{
    base::clock::{Clock, Time},
    trace::span::{self, About, Kind},
};

/// The version of the conventions whose names these are.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
/// The flag of a span that is sampled; those that are not have no spans.
const SAMPLED: u32 = 1;
/// The flags that say whether the parent is of another process, and that this is known.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// Who the spans are of.
pub(super) struct Encoder {
    resource: Resource,
    clock: Clock,
}

impl Encoder {
    /// This process, as an instance of the service of this name.
    pub(super) fn new(service_name: &str, clock: Clock) -> Self {
        let mut attributes = Attributes::default();
        attributes.text("service.name", service_name);
        attributes.text("service.version", crate::VERSION);
        // Another one for each start, as replicas of one configuration have nothing else to be told apart by.
        attributes.text("service.instance.id", &uuid::Uuid::new_v4().to_string());
        Self { resource: Resource { attributes: attributes.0 }, clock }
    }

    /// The body of the request that exports `spans`.
    pub(super) fn encode(&self, spans: &[span::Span]) -> Bytes {
        // Reckoned once, so that what follows each other here does so there, whatever is done to the wall clock meanwhile.
        let wall = Wall::at(self.clock);
        let scope =
            InstrumentationScope { name: "broadcaster".to_owned(), version: crate::VERSION.to_owned() };
        let spans = spans.iter().map(|span| encoded(span, wall)).collect();
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        request.encode_to_vec().into()
    }
}

/// The wall clock, by a moment on both clocks.
#[derive(Clone, Copy)]
struct Wall {
    now: Time,
    since_1970: Duration,
}

impl Wall {
    fn at(clock: Clock) -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { now: clock.now(), since_1970 }
    }

    /// `time` in nanoseconds since 1970.
    fn nanos(self, time: Time) -> u64 {
        let wall = self.since_1970.saturating_sub(self.now.since(time)) + time.since(self.now);
        u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn text(&mut self, key: &str, value: &str) {
        self.add(key, Value::Text(value.to_owned()));
    }

    fn request(&mut self, about: &About, status: Option<u16>) {
        self.text("http.request.method", about.method);
        self.text("url.full", &about.url);
        self.text("server.address", &about.host);
        self.number("server.port", about.port);
        if let Some(status) = status {
            self.number("http.response.status_code", status);
        }
    }

    fn number(&mut self, key: &str, value: impl TryInto<i64>) {
        self.add(key, Value::Number(value.try_into().unwrap_or(i64::MAX)));
    }

    fn add(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) });
    }
}

fn encoded(span: &span::Span, wall: Wall) -> Span {
    let (name, kind) = match &span.kind {
        Kind::Attempt { .. } | Kind::Request { .. } => (span.about.method.to_owned(), SpanKind::Client),
        Kind::Way { .. } => (format!("process {}", span.about.subject), SpanKind::Consumer),
    };
    let status = span.error.as_ref().map(|_| Status {
        message: span.cause.as_deref().unwrap_or_default().to_owned(),
        code: StatusCode::Error.into(),
    });
    let remote = if span.is_parent_remote { PARENT_IS_REMOTE } else { 0 };
    Span {
        trace_id: span.trace.as_bytes().to_vec(),
        span_id: span.id.as_bytes().to_vec(),
        trace_state: span.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: span.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        name,
        kind: kind.into(),
        start_time_unix_nano: wall.nanos(span.begin),
        end_time_unix_nano: wall.nanos(span.end),
        attributes: attributes(span),
        links: span.links.iter().map(linked).collect(),
        status,
        flags: SAMPLED | PARENT_IS_KNOWN | remote,
    }
}

fn linked(link: &span::Link) -> Link {
    Link { trace_id: link.trace.as_bytes().to_vec(), span_id: link.span.as_bytes().to_vec() }
}

fn attributes(span: &span::Span) -> Vec<KeyValue> {
    let about = &span.about;
    let mut attributes = Attributes::default();
    attributes.text("broadcaster.route", &about.route);
    attributes.text("messaging.system", "nats");
    attributes.text("messaging.destination.name", &span.subject);
    if about.has_wildcard {
        attributes.text("messaging.destination.template", &about.subject);
    }
    if let Some(id) = &span.message_id {
        attributes.text("messaging.message.id", id);
    }
    if let Some(error) = &span.error {
        attributes.text("error.type", error);
    }
    match &span.kind {
        Kind::Attempt { status, resends } => {
            attributes.request(about, *status);
            if *resends > 0 {
                attributes.number("http.request.resend_count", *resends);
            }
        }
        Kind::Request { status, count } => {
            attributes.request(about, *status);
            attributes.number("messaging.batch.message_count", *count);
        }
        Kind::Way { outcome, attempts, size } => {
            attributes.text("messaging.operation.name", "process");
            attributes.text("messaging.operation.type", "process");
            attributes.text("messaging.consumer.group.name", &about.group);
            attributes.number("messaging.message.body.size", *size);
            attributes.text("broadcaster.outcome", outcome);
            attributes.number("broadcaster.attempts", *attempts);
        }
    }
    attributes.0
}
