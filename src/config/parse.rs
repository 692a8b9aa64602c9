//! From a value as it was written to a value with a meaning. The problem says what would be right.

use std::{
    fmt::Display,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;

use super::{DeliverPolicy, Jitter, LogFormat, LogLevel, NatsUrl, Overflow, Statuses, Threads, tree::Value};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A text, which may be a secret.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(other.unexpected_kind("a string")),
    }
}

/// A name of some kind, which is no secret.
pub(super) fn name<T: FromStr<Err: Display>>(value: &Value) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| format!("{error}, not {}", value.shown()))
}

/// The addresses of NATS servers, separated by commas; they may carry passwords.
pub(super) fn servers(value: &Value) -> Result<Vec<NatsUrl>, String> {
    let parse = |url: &str| url.trim().parse().map_err(|error: super::NatsUrlError| error.to_string());
    text(value)?.split(',').map(parse).collect()
}

/// One of a few words.
pub(super) fn choice<T: Choice>(value: &Value) -> Result<T, String> {
    let wrong = || {
        let words: Vec<_> = T::ALL.iter().map(|(word, _)| format!("{word:?}")).collect();
        value.unexpected(&words.join(" or "))
    };
    let Value::Text(text) = value else {
        return Err(wrong());
    };
    T::ALL.iter().find(|(word, _)| word == text).map(|(_, choice)| *choice).ok_or_else(wrong)
}

/// On or off.
pub(super) fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| value.unexpected("true or false"))
}

/// A share of a whole.
pub(super) fn share(value: &Value) -> Result<f64, String> {
    let wrong = || value.unexpected("a number above 0 and at most 1 such as 0.5");
    number(value).filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(wrong)
}

/// A length of time that has to pass before something happens.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let allowed = Duration::from_millis(1)..=DAY;
    let wrong = || value.unexpected("a duration from 1ms to 24h such as \"10s\"");
    length(value).filter(|length| allowed.contains(length)).ok_or_else(wrong)
}

/// How long a stop may take, which may be no time at all.
pub(super) fn grace(value: &Value) -> Result<Duration, String> {
    let wrong = || value.unexpected("a duration from 0s to 1h such as \"25s\"");
    length(value).filter(|length| *length <= HOUR).ok_or_else(wrong)
}

fn length(value: &Value) -> Option<Duration> {
    let Value::Text(text) = value else { return None };
    humantime::parse_duration(text).ok()
}

/// A size in bytes.
pub(super) fn size(value: &Value) -> Result<NonZeroUsize, String> {
    let bytes = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => text.parse().ok().map(|ByteSize(bytes)| bytes),
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
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// How many threads.
pub(super) fn threads(value: &Value) -> Result<Threads, String> {
    if matches!(value, Value::Text(text) if text == "auto") {
        return Ok(Threads::Auto);
    }
    let fixed = count(64)(value).map(Threads::Fixed);
    fixed.map_err(|_| value.unexpected("\"auto\" or a whole number from 1 to 64"))
}

/// By how much each wait is longer than the one before.
pub(super) fn multiplier(value: &Value) -> Result<f64, String> {
    let wrong = || value.unexpected("a number from 1.0 to 100.0");
    number(value).filter(|number| (1.0..=100.0).contains(number)).ok_or_else(wrong)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// An address to listen on.
pub(super) fn address(value: &Value) -> Result<SocketAddr, String> {
    let Value::Text(text) = value else {
        return Err(value.unexpected("an address and port such as \"0.0.0.0:8002\""));
    };
    text.parse().map_err(|_| value.unexpected("an address and port such as \"0.0.0.0:8002\""))
}

/// A set of statuses: a list of texts and numbers, or one text with commas.
pub(super) fn statuses(value: &Value) -> Result<Statuses, String> {
    let items = match value {
        Value::Text(text) => {
            return text.parse().map_err(|error: super::StatusesError| error.to_string());
        }
        Value::List(items) => items.iter().map(status).collect::<Result<Vec<_>, _>>()?,
        other => return Err(other.unexpected("a list of statuses such as [\"429\", \"5xx\", \"!501\"]")),
    };
    Statuses::from_items(items.iter().map(String::as_str)).map_err(|error| error.to_string())
}

fn status(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        other => Err(other.unexpected("statuses such as \"429\", \"5xx\" or \"!501\" in the list")),
    }
}

// === Choice ===

/// A type that is written as one of a few words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every choice, and how it is written.
    const ALL: &'static [(&'static str, Self)];

    /// How this choice is written.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(word, _)| word)
    }
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for Overflow {
    const ALL: &'static [(&'static str, Self)] = &[
        ("dead_letter", Self::DeadLetter),
        ("drop_newest", Self::DropNewest),
        ("drop_oldest", Self::DropOldest),
    ];
}

impl Choice for DeliverPolicy {
    const ALL: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("last", Self::Last), ("new", Self::New)];
}

impl Choice for Jitter {
    const ALL: &'static [(&'static str, Self)] = &[("full", Self::Full), ("none", Self::None)];
}
