//! How values are written into a text: in the way of its place, so that none can break out of where it stands.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    sync::Arc,
};

use minijinja::{
    Environment, Error, ErrorKind, HtmlEscape, Output, State,
    value::{Object, ObjectRepr, Value, ValueKind},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    output::{Cursor, Within},
    place::{Place, RESERVED},
};

/// What is percent-encoded in the value of a header. A blank may stand there; `%` may not, so that two values that differ
/// do not become one.
const NO_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// What a filter has made that is JSON already.
#[derive(Debug)]
struct Json(String);

/// Gives `environment` the way of writing values of `place`, and the filters that have to do with it.
pub(super) fn install(environment: &mut Environment<'_>, place: Place, cursor: &Arc<Cursor>) {
    let cursor = Arc::clone(cursor);
    environment.set_formatter(move |output, state, value| write(output, state, value, place, &cursor));
    // These declare a text to be safe, which is not for a template to say.
    for filter in ["safe", "escape", "e"] {
        environment.remove_filter(filter);
    }
    // They build values without an end, or show what nobody should send.
    for function in ["namespace", "debug"] {
        environment.remove_global(function);
    }
    environment.add_filter("tojson", |value: &Value| to_json(value).map(Json).map(Value::from_object));
    environment.add_filter("urlencode", |value: &Value| {
        text(value).map(|text| utf8_percent_encode(&text, RESERVED).to_string())
    });
}

fn write(
    output: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
    place: Place,
    cursor: &Cursor,
) -> Result<(), Error> {
    if value.is_undefined() {
        return minijinja::escape_formatter(output, state, value);
    }
    // What is kept in a block, for later, is written in the way of the place when it is inserted, and only then.
    let writes = cursor.writes();
    output.write_str("")?;
    if cursor.writes() == writes {
        return Ok(output.write_str(&text(value)?)?);
    }
    match place {
        Place::Json => write_json(output, value, cursor.within()),
        Place::Plain | Place::Attribute => Ok(output.write_str(&text(value)?)?),
        Place::Markup => Ok(write!(output, "{}", HtmlEscape(&text(value)?))?),
        Place::Form | Place::Address => encode(output, value, RESERVED),
        Place::Header => encode(output, value, NO_HEADER),
    }
}

fn encode(output: &mut Output<'_>, value: &Value, set: &'static AsciiSet) -> Result<(), Error> {
    utf8_percent_encode(&text(value)?, set).try_for_each(|part| output.write_str(part)).map_err(Error::from)
}

fn write_json(output: &mut Output<'_>, value: &Value, within: Within) -> Result<(), Error> {
    match within {
        Within::Text => match (value.as_str(), value.downcast_object_ref::<Json>()) {
            (Some(string), _) => {
                output.write_str("\"")?;
                write_string(output, string)?;
                Ok(output.write_str("\"")?)
            }
            (None, Some(Json(json))) => Ok(output.write_str(json)?),
            (None, None) => serde_json::to_writer(Bytes(output), value).map_err(cannot_write),
        },
        Within::String => write_string(output, &text(value)?),
        Within::Escape => {
            Err(Error::new(ErrorKind::InvalidOperation, "a value can't stand behind a backslash"))
        }
    }
}

/// The contents of a string of JSON, without the quotes.
fn write_string(output: &mut Output<'_>, string: &str) -> Result<(), Error> {
    if string.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let quoted = serde_json::to_string(string).map_err(cannot_write)?;
        let contents = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Ok(output.write_str(contents.unwrap_or_default())?)
    } else {
        Ok(output.write_str(string)?)
    }
}

/// A value as text: strings as they are, and everything else as JSON has it.
fn text(value: &Value) -> Result<Cow<'_, str>, Error> {
    match (value.as_str(), value.downcast_object_ref::<Json>()) {
        (Some(text), _) => Ok(text.into()),
        (None, Some(Json(text))) => Ok(text.into()),
        (None, None) => to_json(value).map(Cow::Owned),
    }
}

fn to_json(value: &Value) -> Result<String, Error> {
    if value.kind() == ValueKind::Undefined {
        return Err(ErrorKind::UndefinedError.into());
    }
    serde_json::to_string(value).map_err(cannot_write)
}

fn cannot_write(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::BadSerialization, "it can't be written as JSON").with_source(error)
}

/// An output of text as one of bytes.
struct Bytes<'o, 'w>(&'o mut Output<'w>);

impl Write for Bytes<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Object for Json {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
