//! `[routes.NAME.batch]`: how many messages go together into one request.

use std::{num::NonZeroUsize, time::Duration};

use super::{Answer, Body, CloudEventMode, Jetstream, Webhook};
use crate::{
    config::{
        parse::{self, Choice},
        reader::{Reported, Section},
        tree::Value,
    },
    template::Around,
};

const MAX_MESSAGES: NonZeroUsize = NonZeroUsize::MIN;
const MAX_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 20).expect("1 MiB is not 0");

/// `[routes.NAME.batch]`: how many messages go together into one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `max_messages`: how many at the most, 1 to 10,000. Default 1: each message has a request of its own.
    pub max_messages: NonZeroUsize,
    /// `max_bytes`: how large their payloads are together at the most, in bytes, at least 64 KiB; a larger one goes alone.
    /// Default `1MiB`.
    pub max_bytes: NonZeroUsize,
    /// `max_wait`: how long a message waits for others, at most one minute. Default `0s`: what waits already goes together.
    pub max_wait: Duration,
    /// `format`: how messages stand together in a body. Default `json`.
    pub format: BatchFormat,
}

/// How messages stand together in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchFormat {
    /// `json`: a JSON array of them.
    Json,
    /// `ndjson`: a line of JSON for each.
    NdJson,
    /// `cloudevents`: a JSON array of events, as CloudEvents 1.0 has it.
    CloudEvents,
    /// `template`: what a template makes of a JSON array of them.
    Template(Around),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    NdJson,
    CloudEvents,
    Template,
}

impl Batch {
    /// Whether there are batches at all.
    pub fn is_on(&self) -> bool {
        self.max_messages > NonZeroUsize::MIN
    }
}

impl BatchFormat {
    /// The value of `format` that stands for it.
    pub fn word(&self) -> &'static str {
        let format = match self {
            Self::Json => Format::Json,
            Self::NdJson => Format::NdJson,
            Self::CloudEvents => Format::CloudEvents,
            Self::Template(_) => Format::Template,
        };
        format.word()
    }
}

impl Choice for Format {
    const ALL: &'static [(&'static str, Self)] = &[
        ("json", Self::Json),
        ("ndjson", Self::NdJson),
        ("cloudevents", Self::CloudEvents),
        ("template", Self::Template),
    ];
}

pub(super) fn read(at: &Section<'_>) -> Result<Batch, Reported> {
    let max_messages = at.or("max_messages", MAX_MESSAGES, parse::count(10_000));
    let max_bytes = at.or("max_bytes", MAX_BYTES, parse::size);
    let max_wait = at.or("max_wait", Duration::ZERO, wait);
    let format = format(at);
    Ok(Batch { max_messages: max_messages?, max_bytes: max_bytes?, max_wait: max_wait?, format: format? })
}

fn format(at: &Section<'_>) -> Result<BatchFormat, Reported> {
    let format = at.or("format", Format::Json, parse::choice);
    let template = at.optional("template", around);
    if format.is_ok_and(|format| format != Format::Template) && at.place("template").is_some() {
        return Err(at.report("template", "expected format = \"template\" with it"));
    }
    Ok(match format? {
        Format::Json => BatchFormat::Json,
        Format::NdJson => BatchFormat::NdJson,
        Format::CloudEvents => BatchFormat::CloudEvents,
        Format::Template => BatchFormat::Template(template?.ok_or_else(|| at.missing("template"))?),
    })
}

fn around(value: &Value) -> Result<Around, String> {
    match value {
        Value::Text(text) => Around::new(text).map_err(|mistake| mistake.to_string()),
        other => Err(other.unexpected_kind("a template such as '{\"records\": {{ messages }}}'")),
    }
}

fn wait(value: &Value) -> Result<Duration, String> {
    const MINUTE: Duration = Duration::from_secs(60);
    let wrong = || value.unexpected("a duration from 0s to 1m such as \"100ms\"");
    parse::length(value).filter(|length| *length <= MINUTE).ok_or_else(wrong)
}

/// Says so where the other settings of the route that is `at` are about one message for each request.
pub(super) fn check(
    at: &Section<'_>,
    batch: &Batch,
    webhook: Option<&Webhook>,
    answer: Option<&Answer>,
    jetstream: Option<&Jetstream>,
) {
    if !batch.is_on() {
        return;
    }
    if let Some(webhook) = webhook {
        check_webhook(at, batch, webhook);
    }
    if let Some(answer) = answer {
        let one = "one answer is about many messages";
        if answer.reply {
            at.report("answer.reply", format!("expected false beside batch.max_messages: {one}"));
        }
        if answer.publish.is_some() {
            at.report("answer.publish", format!("expected none beside batch.max_messages: {one}"));
        }
    }
    if let Some(jetstream) = jetstream {
        let pending = usize::try_from(jetstream.max_ack_pending.get()).unwrap_or(usize::MAX);
        if pending < batch.max_messages.get() {
            at.report(
                "batch.max_messages",
                format!("expected no more than jetstream.max_ack_pending, which is {pending}"),
            );
        }
    }
}

fn check_webhook(at: &Section<'_>, batch: &Batch, webhook: &Webhook) {
    if webhook.url.template().is_some() {
        at.report(
            "webhook.url",
            "expected no {{ }} beside batch.max_messages: the messages of a request have one address",
        );
    }
    for (name, _) in &webhook.header_templates {
        at.report(
            &format!("webhook.header_templates.{name}"),
            "expected none beside batch.max_messages: a request has one such header, and many messages",
        );
    }
    if !webhook.forward.is_usual() && webhook.forward.patterns().next().is_some() {
        at.report(
            "webhook.forward",
            "expected [] beside batch.max_messages: no publisher's headers go with a request of many; \
             webhook.format = \"envelope\" has them in the body",
        );
    }
    match &webhook.body {
        Body::CloudEvents(events) if events.mode == CloudEventMode::Binary => {
            at.report(
                "webhook.cloudevents.mode",
                "expected \"structured\" beside batch.max_messages: headers have room for one event",
            );
        }
        Body::Template(template) if !is_json(template.content_type.as_bytes()) => {
            at.report(
                "webhook.content_type",
                "expected a type of JSON beside batch.max_messages: bodies are put together as JSON",
            );
        }
        Body::Raw | Body::Envelope | Body::Template(_) if batch.format == BatchFormat::CloudEvents => {
            at.report(
                "batch.format",
                "expected webhook.format = \"cloudevents\" beside \"cloudevents\": it makes the events",
            );
        }
        _ => {}
    }
}

fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    essence.ends_with(b"/json") || essence.ends_with(b"+json")
}
