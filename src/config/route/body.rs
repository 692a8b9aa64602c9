//! `format`, `template`, `template_file` and `content_type` of `[routes.NAME.webhook]`: what the bodies of requests are.

use std::path::{Path, PathBuf};

use http::HeaderValue;

use super::{CloudEvents, cloud_events};
use crate::{
    config::{
        files,
        parse::{self, Choice},
        reader::{Reported, Section},
        tree::Value,
    },
    template::{Place, Secrets, Source},
};

/// `format`: what the bodies of requests are. Default `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `raw`: the payload, byte for byte.
    Raw,
    /// `envelope`: a JSON object with subject, id, time, headers and payload.
    Envelope,
    /// `template`: what a template makes of each message.
    Template(BodyTemplate),
    /// `cloudevents`: an event is made of each message that is none yet.
    CloudEvents(CloudEvents),
}

/// `template` or `template_file`, and what its bodies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyTemplate {
    /// `template`, or what stands in `template_file`.
    pub source: Source,
    /// `template_file`: where it stands, if it is in a file of its own.
    pub file: Option<PathBuf>,
    /// `content_type`: what it makes. It decides how values are written into the template. Default `application/json`.
    pub content_type: HeaderValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Raw,
    Envelope,
    Template,
    CloudEvents,
}

impl Choice for Format {
    const ALL: &'static [(&'static str, Self)] = &[
        ("raw", Self::Raw),
        ("envelope", Self::Envelope),
        ("template", Self::Template),
        ("cloudevents", Self::CloudEvents),
    ];
}

impl Body {
    /// The value of `format` that stands for it.
    pub fn word(&self) -> &'static str {
        let format = match self {
            Self::Raw => Format::Raw,
            Self::Envelope => Format::Envelope,
            Self::Template(_) => Format::Template,
            Self::CloudEvents(_) => Format::CloudEvents,
        };
        format.word()
    }
}

/// Reads the keys of the webhook that is `at`, whose template may use `secrets`; none where something is wrong with those.
pub(super) fn read(at: &Section<'_>, secrets: Option<&Secrets>) -> Result<Body, Reported> {
    let format = at.or("format", Format::Raw, parse::choice);
    let content_type = at.or("content_type", HeaderValue::from_static("application/json"), content_type);
    // What is wrong with the content type is reported there; the template is read all the same.
    let place = match &content_type {
        Ok(content_type) => Place::of_body(content_type.to_str().unwrap_or_default()),
        Err(_) => Place::Plain,
    };
    let inline = at.optional("template", |value| with_secrets(&text(value)?, place, secrets));
    let in_file =
        at.optional("template_file", |value| files::named_by(value, |path| from_file(path, place, secrets)));
    let events = at.section("cloudevents", cloud_events::read);
    if format.is_ok_and(|format| format != Format::Template) {
        for key in ["template", "template_file", "content_type"] {
            if at.place(key).is_some() {
                return Err(at.report(key, "expected format = \"template\" with it"));
            }
        }
    }
    if format.is_ok_and(|format| format != Format::CloudEvents) && at.place("cloudevents").is_some() {
        return Err(at.report("cloudevents", "expected format = \"cloudevents\" with it"));
    }
    match format? {
        Format::Raw => Ok(Body::Raw),
        Format::Envelope => Ok(Body::Envelope),
        Format::CloudEvents => Ok(Body::CloudEvents(events?)),
        Format::Template => {
            let (source, file) = match (inline?, in_file?) {
                (Some(source), None) => (source, None),
                (None, Some((path, source))) => (source, Some(path)),
                (None, None) => return Err(at.missing("template")),
                (Some(_), Some(_)) => {
                    return Err(at.report("template_file", "expected only one of template_file and template"));
                }
            };
            Ok(Body::Template(BodyTemplate { source, file, content_type: content_type? }))
        }
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(other.unexpected_kind("a template such as \"{{ data.title }}\"")),
    }
}

fn from_file(path: &Path, place: Place, secrets: Option<&Secrets>) -> Result<Source, String> {
    let (file, text) = files::lines(path)?;
    with_secrets(&text, place, secrets).map_err(|problem| format!("{problem} of {file}"))
}

/// A template that knows `secrets`; where those are wrong, that is reported, and what uses them is not.
fn with_secrets(text: &str, place: Place, secrets: Option<&Secrets>) -> Result<Source, String> {
    let source = compiled(text, place)?;
    match secrets {
        Some(secrets) => source.with_secrets(secrets).map_err(|mistake| mistake.to_string()),
        None => Ok(source),
    }
}

pub(super) fn compiled(text: &str, place: Place) -> Result<Source, String> {
    Source::new(text, place).map_err(|mistake| mistake.to_string())
}

fn content_type(value: &Value) -> Result<HeaderValue, String> {
    let text = parse::text(value)?;
    let is_type = text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    let header = HeaderValue::from_str(&text).ok().filter(|header| is_type && header.to_str().is_ok());
    header.ok_or_else(|| value.unexpected("a content type such as \"text/plain\""))
}
