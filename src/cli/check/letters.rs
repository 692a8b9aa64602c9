//! Where the dead letters of a route go: whether a stream keeps them, and how well.

use std::time::Duration;

use serde::Deserialize;

use super::report::Line;
use crate::config::{DeadLetter, Route};

const WHAT: &str = "dead letters";

/// A stream, as far as letters are concerned. What the server leaves out is as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct LetterStream {
    config: Settings,
    #[serde(default)]
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Settings {
    name: String,
    retention: String,
    discard: String,
    storage: String,
    max_msgs: i64,
    max_bytes: i64,
    max_msgs_per_subject: i64,
    /// In nanoseconds.
    max_age: u64,
    max_msg_size: i64,
    no_ack: bool,
    sealed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct State {
    messages: u64,
    bytes: u64,
    consumer_count: u64,
}

/// Who keeps the subject of the letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    Stream(Box<LetterStream>),
    /// No stream has the subject. Whether the one that the configuration names is there all the same.
    Nobody {
        named_exists: bool,
    },
    NoJetStream,
}

/// What is to be said of the letters of `route`, which go to `letters`, where messages may have `max_payload` bytes.
pub(super) fn judge(route: &Route, letters: &DeadLetter, keeper: &Keeper, max_payload: usize) -> Vec<Line> {
    let subject = &letters.subject;
    match (keeper, &letters.stream) {
        (Keeper::Stream(stream), Some(wanted)) if stream.config.name != wanted.as_str() => {
            vec![Line::failed(
                WHAT,
                format_args!("{subject} is kept by the stream {}, not by {wanted}", stream.config.name),
                "correct dead_letter.stream, or give the subject to the right stream",
            )]
        }
        (Keeper::Stream(stream), _) => stream.judge(subject.as_str(), max_payload),
        (Keeper::Nobody { named_exists: true }, Some(wanted)) => vec![Line::failed(
            WHAT,
            format_args!("the stream {wanted} does not keep {subject}"),
            format_args!("add the subject to it: nats stream edit {wanted} --subjects …"),
        )],
        (Keeper::Nobody { .. }, Some(wanted)) if letters.create => {
            vec![Line::fine(WHAT, format_args!("the stream {wanted} is not there yet: it will be made"))]
        }
        (Keeper::Nobody { .. }, Some(wanted)) => vec![Line::failed(
            WHAT,
            format_args!("there is no stream {wanted}"),
            format_args!("make it with the subject {subject}, or set dead_letter.create"),
        )],
        (Keeper::NoJetStream, Some(wanted)) => vec![Line::failed(
            WHAT,
            format_args!(
                "the stream {wanted} can't be there: JetStream is not enabled on this server, or for this account"
            ),
            "enable it, or leave dead_letter.stream out",
        )],
        (Keeper::Nobody { .. } | Keeper::NoJetStream, None) => vec![nobody(route, letters)],
    }
}

fn nobody(route: &Route, letters: &DeadLetter) -> Line {
    let subject = &letters.subject;
    if route.jetstream.is_some() {
        return Line::failed(
            WHAT,
            format_args!(
                "no stream keeps {subject}: a message of a stream would end in a letter that nobody keeps"
            ),
            "set dead_letter.stream, and dead_letter.create where it is missing",
        );
    }
    Line::warning(
        WHAT,
        format_args!("no stream keeps {subject}: a letter is for whoever listens at that moment"),
        "set dead_letter.stream, and dead_letter.create where it is missing",
    )
}

impl LetterStream {
    fn judge(&self, subject: &str, max_payload: usize) -> Vec<Line> {
        let Settings { name, storage, .. } = &self.config;
        let mut lines = self.failures();
        if lines.is_empty() {
            let messages = self.state.messages;
            lines.push(Line::fine(
                WHAT,
                format_args!("the stream {name} keeps {subject}: {messages} messages, storage {storage}"),
            ));
        }
        lines.extend(self.warnings(max_payload));
        lines
    }

    fn failures(&self) -> Vec<Line> {
        let Settings { name, retention, no_ack, sealed, .. } = &self.config;
        let mut lines = Vec::new();
        if *no_ack {
            let advice = "a letter only counts when it is confirmed: set no_ack to false";
            lines.push(Line::failed(
                WHAT,
                format_args!("the stream {name} confirms nothing (no_ack)"),
                advice,
            ));
        }
        if *sealed {
            let advice = "it takes nothing any more: name another one";
            lines.push(Line::failed(WHAT, format_args!("the stream {name} is sealed"), advice));
        }
        if retention == "interest" && self.state.consumer_count == 0 {
            let words = format_args!(
                "the stream {name} has retention interest and no consumer: it drops what it confirms"
            );
            lines.push(Line::failed(WHAT, words, "make it with retention limits"));
        }
        if self.config.discard == "new" && self.is_full() {
            let advice = "letters wait, and durable routes with them: raise its limits, replay or purge";
            lines.push(Line::failed(WHAT, format_args!("the stream {name} is full"), advice));
        }
        lines
    }

    fn warnings(&self, max_payload: usize) -> Vec<Line> {
        let Settings {
            name,
            retention,
            storage,
            discard,
            max_msgs,
            max_bytes,
            max_msgs_per_subject,
            max_age,
            max_msg_size,
            ..
        } = &self.config;
        let warning = |words: String, advice: &str| Line::warning(WHAT, words, advice);
        let mut lines = Vec::new();
        if retention == "interest" && self.state.consumer_count > 0 || retention == "workqueue" {
            let words = format!(
                "the stream {name} has retention {retention}: a letter is gone when a consumer has acknowledged it"
            );
            lines.push(warning(words, "make it with retention limits, where dead-letters is to find them"));
        }
        if *max_age > 0 {
            let age = humantime::format_duration(Duration::from_secs(max_age / 1_000_000_000));
            let words = format!("the stream {name} removes what is older than {age}");
            lines.push(warning(words, "see that this is long enough to look at letters (max_age)"));
        }
        if *max_msgs_per_subject > 0 && discard != "new" {
            // All letters of a route have the same subject.
            let words =
                format!("the stream {name} keeps the last {max_msgs_per_subject} letters of the route");
            lines.push(warning(words, "leave max_msgs_per_subject out: the others are removed"));
        }
        if let Some(limit) = limit(*max_msgs, *max_bytes) {
            let (words, advice) = if discard == "new" {
                (
                    format!("the stream {name} takes no more than {limit}"),
                    "letters wait from then on: watch how full it is",
                )
            } else {
                (
                    format!("the stream {name} removes the oldest letters beyond {limit}"),
                    "watch how full it is",
                )
            };
            lines.push(warning(words, advice));
        }
        if usize::try_from(*max_msg_size).is_ok_and(|limit| limit > 0 && limit < max_payload) {
            let words =
                format!("the stream {name} takes {max_msg_size} bytes a message, the server {max_payload}");
            lines.push(warning(words, "raise max_msg_size: larger letters are not kept whole"));
        }
        if storage == "memory" {
            let words = format!("the stream {name} is in memory only");
            lines.push(warning(words, "letters are lost with the server: storage file keeps them"));
        }
        lines
    }

    fn is_full(&self) -> bool {
        let reached =
            |limit: i64, has: u64| u64::try_from(limit).is_ok_and(|limit| limit > 0 && has >= limit);
        reached(self.config.max_msgs, self.state.messages) || reached(self.config.max_bytes, self.state.bytes)
    }
}

/// The limits of a stream in words, where it has any.
fn limit(messages: i64, bytes: i64) -> Option<String> {
    match (messages > 0, bytes > 0) {
        (true, true) => Some(format!("{messages} messages or {bytes} bytes")),
        (true, false) => Some(format!("{messages} messages")),
        (false, true) => Some(format!("{bytes} bytes")),
        (false, false) => None,
    }
}
