//! `[routes.NAME.webhook.cloudevents]`: the events that messages become with `format = "cloudevents"`.

use super::body;
use crate::{
    config::{
        parse::{self, Choice},
        reader::{Reported, Section},
    },
    template::{Place, Source},
};

/// `[routes.NAME.webhook.cloudevents]`: the events that messages become (CloudEvents 1.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvents {
    /// `mode`: where in the request an event stands. Default `binary`.
    pub mode: CloudEventMode,
    /// The attributes, each with what makes it of a message.
    pub attributes: Vec<(Attribute, Source)>,
}

/// Where in a request an event stands (HTTP Protocol Binding for CloudEvents 1.0, section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudEventMode {
    /// The attributes are headers, and the body is the payload.
    Binary,
    /// The body is a JSON object with all of it.
    Structured,
}

/// An attribute of an event (CloudEvents 1.0, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// Which event it is: the message's id by default.
    Id,
    /// Where it comes from: `nats:` and the subject by default.
    Source,
    /// What has happened: the subject by default.
    Type,
    /// What it has happened to: the subject by default.
    Subject,
    /// When it has happened: when the stream took it, or it came out of NATS, by default.
    Time,
    /// What its data are: as the publisher says by default.
    DataContentType,
    /// What the data conform to. None by default.
    DataSchema,
}

impl Attribute {
    /// All of them, with the keys that make them and the default of those.
    const ALL: [(Self, &'static str, Option<&'static str>); 7] = [
        (Self::Id, "id", Some("{{ id }}")),
        (Self::Source, "source", Some("nats:{{ subject | urlencode }}")),
        (Self::Type, "type", Some("{{ subject }}")),
        (Self::Subject, "subject", Some("{{ subject }}")),
        (Self::Time, "time", Some("{{ time }}")),
        (Self::DataContentType, "datacontenttype", None),
        (Self::DataSchema, "dataschema", None),
    ];

    /// The name of the attribute, and of the key that sets it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(attribute, ..)| *attribute == self).map_or("", |(_, name, _)| name)
    }

    /// Whether the specification requires it (CloudEvents 1.0, "Required attributes").
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Id | Self::Source | Self::Type)
    }
}

impl Choice for CloudEventMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("binary", Self::Binary), ("structured", Self::Structured)];
}

pub(super) fn read(at: &Section<'_>) -> Result<CloudEvents, Reported> {
    let mode = at.or("mode", CloudEventMode::Binary, parse::choice);
    let attributes = Attribute::ALL.map(|(attribute, key, default)| {
        let written = at.optional(key, |value| body::compiled(&parse::text(value)?, Place::Attribute));
        let usual = || default.map(|text| Source::built_in(text, Place::Attribute));
        written.map(|written| written.or_else(usual).map(|source| (attribute, source)))
    });
    let attributes = attributes.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>();
    Ok(CloudEvents { mode: mode?, attributes: attributes? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_default_is_a_template() {
        for text in Attribute::ALL.into_iter().filter_map(|(_, _, default)| default) {
            let usual = Source::built_in(text, Place::Attribute);
            assert_eq!(Source::new(text, Place::Attribute), Ok(usual), "{text}");
        }
    }
}
