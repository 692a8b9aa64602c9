//! What is told of dead letters, and of what is done with them, as JSON has it.

use data_encoding::BASE64;
use serde::Serialize;

use crate::{base::clock::rfc3339, dead_letter::Stored};

/// A text of a letter is no longer in a list, in characters: anybody may have written it.
const LONGEST: usize = 256;
/// The same of why the last attempt failed.
const LONGEST_CAUSE: usize = 1_000;
/// How much of a payload is shown, in bytes.
const SHOWN: usize = 256 * 1024;

/// Letters of a route.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The name of the route.
    pub route: String,
    /// The stream that keeps them.
    pub stream: String,
    /// How many letters are kept at the subject of the route, whatever was asked for.
    pub total: u64,
    /// The oldest first.
    pub letters: Vec<Brief>,
    /// What to ask for as `after` to go on; none where there are no more.
    pub next: Option<u64>,
}

/// A letter in a list.
#[derive(Debug, Serialize)]
pub struct Brief {
    sequence: u64,
    id: String,
    /// When the stream took it.
    at: String,
    reason: Option<String>,
    last_failure: Option<String>,
    last_cause: Option<String>,
    attempts: u32,
    subject: String,
    route: Option<String>,
    /// How large its payload is.
    bytes: usize,
}

/// A whole letter.
#[derive(Debug, Serialize)]
pub struct Letter {
    #[serde(flatten)]
    brief: Brief,
    headers: Vec<(String, String)>,
    payload: Payload,
}

/// A payload, or the beginning of it: as the text that it is, else in base64.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// How many bytes there are behind that.
    left_out: usize,
}

/// How far a job is, or what came of it.
#[derive(Debug, Serialize)]
pub struct JobTold {
    pub(super) number: u64,
    pub(super) act: &'static str,
    pub(super) dry_run: bool,
    pub(super) route: String,
    pub(super) to_route: Option<String>,
    /// Which letters are meant, in words.
    pub(super) selection: String,
    pub(super) by: String,
    pub(super) began: String,
    pub(super) ended: Option<String>,
    /// `running`, `done`, `stopped` or `failed`.
    pub(super) state: &'static str,
    /// Why it was stopped, or what it failed by.
    pub(super) cause: Option<String>,
    /// How many letters there were at the beginning.
    pub(super) total: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// The first letters that were not accepted.
    pub(super) failures: Vec<NotAccepted>,
}

/// What a job has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Figures {
    /// Letters that were looked at, and are done with.
    pub(super) seen: u64,
    /// Letters among those that are meant.
    pub(super) selected: u64,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    /// Delivered, and still in the stream.
    pub(super) not_removed: u64,
    pub(super) removed: u64,
    /// Left alone, since they are of no route that is configured.
    pub(super) of_no_route: u64,
}

/// A letter that the webhook did not accept.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NotAccepted {
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) failure: String,
}

impl Brief {
    /// What a list has of `letter`.
    pub fn of(letter: &Stored) -> Self {
        let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| cut(&text, LONGEST));
        Self {
            sequence: letter.sequence,
            id: letter.id().to_string(),
            at: rfc3339(letter.at),
            reason: text(letter.reason()),
            last_failure: text(letter.last_failure()),
            last_cause: letter.last_cause().map(|cause| cut(&cause, LONGEST_CAUSE)),
            attempts: letter.attempts(),
            subject: cut(&letter.original_subject(), LONGEST),
            route: text(letter.route()),
            bytes: letter.size,
        }
    }

    /// Where it is in its stream.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Letter {
    /// The whole of `letter`, as far as its payload is shown.
    pub fn of(letter: &Stored) -> Self {
        let headers = letter.headers.iter().map(|(name, value)| (name.to_owned(), value.into_owned()));
        Self { brief: Brief::of(letter), headers: headers.collect(), payload: Payload::of(&letter.payload) }
    }
}

impl Payload {
    fn of(payload: &[u8]) -> Self {
        let start = payload.get(..SHOWN).unwrap_or(payload);
        if std::str::from_utf8(payload).is_err() {
            let left_out = payload.len() - start.len();
            return Self { text: None, base64: Some(BASE64.encode(start)), left_out };
        }
        // It may have been cut in the middle of a letter, which is left out then.
        let text = start.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Self { text: Some(text.to_owned()), base64: None, left_out: payload.len() - text.len() }
    }
}

/// The beginning of `text`, so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => text.get(..end).unwrap_or(text).to_owned() + "…",
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_text_where_all_of_it_is() {
        let of = |payload: &[u8]| {
            let Payload { text, base64, left_out } = Payload::of(payload);
            (text.map(|text| text.len()), base64.map(|base64| base64.len()), left_out)
        };
        assert_eq!(of("é".as_bytes()), (Some(2), None, 0));
        assert_eq!(of(b""), (Some(0), None, 0));
        assert_eq!(of(b"\xff"), (None, Some(4), 0));
        let long = format!("a{}", "é".repeat(SHOWN / 2));
        assert_eq!(of(long.as_bytes()), (Some(SHOWN - 1), None, 2), "not through the middle of a letter");
        let odd = [long.as_bytes(), b"\xff"].concat();
        assert_eq!(of(&odd), (None, Some(SHOWN.div_ceil(3) * 4), 2));
    }

    #[test]
    fn what_is_too_long_for_a_list_is_cut() {
        assert_eq!((cut("éé", 2), cut("ééé", 2)), ("éé".to_owned(), "éé…".to_owned()));
    }
}
