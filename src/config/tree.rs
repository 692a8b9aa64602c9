//! The layers after merging: one tree of values, each with the place where it was set.

use std::collections::BTreeMap;

use super::Place;

/// A table of the configuration, by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// One value and where it was set. For a table, the place is where the file opens it, if it does.
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value as it was written. What comes from the environment or a flag is always text: `0123` stays `0123`.
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    List(Vec<Self>),
    Table(Table),
}

/// A text longer than this is not shown in an error: it is hardly what the key asks for.
const SHOWN: usize = 64;

impl Value {
    /// The problem with this value where `what` was expected; it does not show the value, which may be a secret.
    pub(super) fn unexpected_kind(&self, what: &str) -> String {
        format!("expected {what}, not {}", self.kind())
    }

    /// As [`Self::unexpected_kind`], and shows the value, unless it looks like a URL or a key that was misplaced.
    pub(super) fn unexpected(&self, what: &str) -> String {
        format!("expected {what}, not {}", self.shown())
    }

    /// The value, for an error about a key that is no secret.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) if text.len() <= SHOWN && !text.contains("://") => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => format!("{number:?}"),
            Self::Bool(flag) => flag.to_string(),
            Self::Text(_) => "the string that is there".to_owned(),
            Self::List(_) | Self::Table(_) => self.kind().to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(text) if text.is_empty() => "an empty string",
            Self::Text(_) => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}
