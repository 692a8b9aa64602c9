//! A span that is over, as plain data. The names of its attributes are given where it is written for the collector.

use std::{borrow::Cow, sync::Arc};

use super::context::{SpanId, TraceId};
use crate::base::clock::Time;

/// A span that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// The span that it is a part of; none for the first one of a trace.
    pub parent: Option<SpanId>,
    /// Whether that one is of another process.
    pub is_parent_remote: bool,
    /// The publisher's `tracestate`.
    pub state: Option<Arc<str>>,
    /// When it began.
    pub begin: Time,
    /// When it ended.
    pub end: Time,
    /// What all spans of its route say.
    pub about: Arc<About>,
    /// What the message was published to.
    pub subject: Arc<str>,
    /// The message's id; none of a request with several.
    pub message_id: Option<Box<str>>,
    /// Why it failed, if it did: a word of a closed set, or a status.
    pub error: Option<Cow<'static, str>>,
    /// The same for people.
    pub cause: Option<Arc<str>>,
    /// Spans of other traces that belong to it.
    pub links: Vec<Link>,
    /// What it is about.
    pub kind: Kind,
}

/// A span of another trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// That trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
}

impl Link {
    /// To a new span, the first one of a new trace.
    pub fn fresh() -> Self {
        Self { trace: TraceId::fresh(), span: SpanId::fresh() }
    }
}

/// What a span is about.
#[derive(Clone, Debug)]
pub enum Kind {
    /// One request to the webhook, as it is a part of the way of a message.
    Attempt {
        /// The status that the webhook has answered with.
        status: Option<u16>,
        /// How many requests with this message were before.
        resends: u32,
    },
    /// One request that carries several messages.
    Request {
        /// The status that the webhook has answered with.
        status: Option<u16>,
        /// How many messages.
        count: usize,
    },
    /// The whole way of a message, from NATS to its end.
    Way {
        /// What has become of it.
        outcome: &'static str,
        /// How many attempts counted.
        attempts: u32,
        /// How long its payload is, in bytes.
        size: usize,
    },
}

/// What all spans of a route say.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub route: Box<str>,
    /// What it subscribes to.
    pub subject: Box<str>,
    /// Whether that has wildcards.
    pub has_wildcard: bool,
    /// The queue group, or the consumer of a stream.
    pub group: Box<str>,
    /// The method of its requests.
    pub method: &'static str,
    /// Where those go, without anything in it that is secret.
    pub url: Box<str>,
    /// The host in it.
    pub host: Box<str>,
    /// The port in it.
    pub port: u16,
}
