//! `routes.NAME.filter`: which messages are delivered.

use crate::{
    config::{
        reader::{Reported, Section},
        tree::Value,
    },
    expression::Expression,
};

/// Reads the key. An expression may be of several lines.
pub(super) fn read(at: &Section<'_>) -> Result<Option<Expression>, Reported> {
    at.optional("filter", |value| match value {
        Value::Text(text) => Expression::parse(text).map_err(|error| error.to_string()),
        other => Err(other.unexpected_kind("an expression, as a string")),
    })
}
