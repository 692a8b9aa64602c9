//! Parsers that several sections use, from a value as it was written to one with a meaning. Their errors say what would be
//! right; the reader adds the key and the place.

use std::{
    fmt::Display,
    num::{NonZeroU32, NonZeroUsize},
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;

use super::{MASK, tree::Value};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A text that is not empty. It may be a secret, so that no error shows it.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.is_empty() => one_line(text).map(|()| text.clone()),
        other => Err(other.unexpected_kind("a string")),
    }
}

/// That a text is of one line, and really a value: it may be a secret, so that no error shows it.
pub(super) fn one_line(text: &str) -> Result<(), String> {
    if text == MASK {
        return Err(format!(
            "expected the secret itself, not the {MASK} that stands for it in what is printed"
        ));
    }
    if text.contains(['\r', '\n']) {
        return Err("expected a single line".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("expected no control characters".to_owned());
    }
    Ok(())
}

/// A list of texts and numbers as the file has it. A variable is one text, with commas between the items, or with
/// brackets and quotes as in the file.
pub(super) fn list(value: &Value) -> Result<Vec<String>, String> {
    let item = |item: &Value| match item {
        Value::Integer(number) => Ok(number.to_string()),
        item => text(item),
    };
    let Value::List(items) = value else {
        let text = text(value)?;
        let bare = text.trim();
        let inner = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let plain = |item: &str| item.trim().trim_matches(['"', '\'']).to_owned();
        return Ok(match inner {
            Some(inner) => inner.split(',').map(plain).collect(),
            None => bare.split(',').map(|item| item.trim().to_owned()).collect(),
        });
    };
    items.iter().map(item).collect()
}

/// A text with rules of its own. It is no secret: the error shows it.
pub(super) fn name<T: FromStr<Err: Display>>(value: &Value) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| format!("{error}, not {}", value.shown()))
}

pub(super) fn choice<T: Choice>(value: &Value) -> Result<T, String> {
    let wrong = || {
        let words: Vec<_> = T::ALL.iter().map(|(word, _)| format!("{word:?}")).collect();
        value.unexpected(&words.join(" or "))
    };
    let Value::Text(text) = value else {
        return Err(wrong());
    };
    let mut words = T::ALL.iter().chain(T::ALIASES);
    let found = words.find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
    found.map(|(_, choice)| *choice).ok_or_else(wrong)
}

pub(super) fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(on) => Some(*on),
        // As environments have them.
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
    .ok_or_else(|| value.unexpected("true or false"))
}

/// A duration from 1 ms to 24 h. 0 is refused: here it would mean "at once" to one and "never" to another.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let allowed = Duration::from_millis(1)..=DAY;
    let wrong = || value.unexpected("a duration from 1ms to 24h such as \"10s\"");
    length(value).filter(|length| allowed.contains(length)).ok_or_else(wrong)
}

/// A duration without bounds; `None` for what is no duration.
pub(super) fn length(value: &Value) -> Option<Duration> {
    let Value::Text(text) = value else { return None };
    humantime::parse_duration(text.trim()).ok()
}

/// A size in bytes, from 64 KiB to 1 TiB.
pub(super) fn size(value: &Value) -> Result<NonZeroUsize, String> {
    let bytes = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => text.trim().parse().ok().map(|ByteSize(bytes)| bytes),
        _ => None,
    };
    bytes
        .filter(|bytes| (bytesize::kib(64_u64)..=bytesize::tib(1_u64)).contains(bytes))
        .and_then(|bytes| NonZeroUsize::new(bytes.try_into().ok()?))
        .ok_or_else(|| value.unexpected("a size from 64KiB to 1TiB such as \"32MiB\""))
}

/// A whole number from 1 to `max`.
pub(super) fn count<T: TryFrom<NonZeroU32>>(max: u32) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        whole(value)
            .filter(|number| number.get() <= max)
            .and_then(|number| number.try_into().ok())
            .ok_or_else(|| value.unexpected(&format!("a whole number from 1 to {max}")))
    }
}

fn whole(value: &Value) -> Option<NonZeroU32> {
    match value {
        Value::Integer(number) => NonZeroU32::new(u32::try_from(*number).ok()?),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

// === Choice ===

/// A type that is written as one of a few words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every choice with its word, in the order in which an error lists them.
    const ALL: &'static [(&'static str, Self)];

    /// Other words that people use for the same.
    const ALIASES: &'static [(&'static str, Self)] = &[];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(word, _)| word)
    }
}
