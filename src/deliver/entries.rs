//! What a receiver says of each message of a batch, in a body of JSON:
//!
//! ```text
//! {"entries": [
//!   {"index": 0, "status": 200},
//!   {"id": "order-17", "status": 422, "error": "no such customer"},
//!   {"index": 2, "verdict": "retry", "after": 30},
//!   {"index": 3, "verdict": "drop"}
//! ]}
//! ```
//!
//! What it says nothing of follows the status of the answer. It is a stranger's: what makes no sense is left out, and said.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answer,
    verdict::{NoVerdict, Verdict, seconds},
};
use crate::message::{
    answer::EntryVerdict,
    batch::Batch,
    outcome::{Attempt, Failure},
};

const MULTI_STATUS: u16 = 207;
/// How long the words of a receiver may be that are kept, in bytes.
const LONGEST_ERROR: usize = 300;

/// A body with entries.
#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    entries: Option<Vec<Entry<'b>>>,
}

/// One entry. Its fields are read when the others are known: one that makes no sense spoils no other entry.
#[derive(Deserialize)]
struct Entry<'b> {
    #[serde(borrow)]
    id: Option<&'b RawValue>,
    #[serde(borrow)]
    index: Option<&'b RawValue>,
    #[serde(borrow)]
    status: Option<&'b RawValue>,
    #[serde(borrow)]
    verdict: Option<&'b RawValue>,
    #[serde(borrow)]
    after: Option<&'b RawValue>,
    #[serde(borrow)]
    error: Option<&'b RawValue>,
}

/// Adds to `attempt` what its answer says of the messages of `batch`.
pub(super) fn read(attempt: &mut Attempt, batch: &Batch) {
    let (Attempt::Delivered { content, .. } | Attempt::Failed { content, .. }) = attempt;
    let (status, read) = match content {
        // No answer, or none of a route that has verdicts.
        None => return,
        Some(content) => (content.status, verdicts(&content.body, batch)),
    };
    let odd = match read {
        Read::Nothing if status == MULTI_STATUS => Some("207 Multi-Status without entries that can be read"),
        Read::Nothing => None,
        Read::Verdicts { verdicts, strange } => {
            if let Some(content) = content {
                content.verdicts = verdicts;
            }
            strange.then_some("entries for messages that it did not get, or that make no sense")
        }
    };
    match (odd, attempt) {
        (None, _) => {}
        (Some(words), Attempt::Delivered { odd, .. }) => *odd = odd.or(Some(words)),
        (Some(words), Attempt::Failed { cause, .. }) => {
            cause.get_or_insert_with(|| words.into());
        }
    }
}

enum Read {
    /// It has no entries.
    Nothing,
    Verdicts {
        verdicts: Vec<Option<EntryVerdict>>,
        /// Whether some of them can't be used.
        strange: bool,
    },
}

fn verdicts(body: &[u8], batch: &Batch) -> Read {
    // Most bodies are none, and are not even looked into.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Read::Nothing;
    }
    let Ok(Body { entries: Some(entries) }) = serde_json::from_slice(body) else { return Read::Nothing };
    let mut verdicts = vec![None; batch.count()];
    let mut places = None;
    let mut strange = false;
    for entry in &entries {
        let found = entry.places(batch, &mut places);
        let verdict = entry.verdict();
        strange |= found.is_empty() || verdict.is_none();
        for place in found {
            // Of several that are about the same message the first one counts.
            if let Some(slot @ None) = verdicts.get_mut(place) {
                slot.clone_from(&verdict);
            }
        }
    }
    Read::Verdicts { verdicts, strange }
}

/// Where the messages of a batch stand, by their ids.
type Places = HashMap<String, Vec<usize>>;

impl Entry<'_> {
    /// The messages that it is about. An id is that of all messages that have it.
    fn places(&self, batch: &Batch, places: &mut Option<Places>) -> Vec<usize> {
        if let Some(id) = self.id.filter(|id| id.get() != "null") {
            let places = places.get_or_insert_with(|| by_id(batch));
            return text(id).and_then(|id| places.get(&*id).cloned()).unwrap_or_default();
        }
        let index = self.index.and_then(|index| index.get().parse().ok());
        index.filter(|index| *index < batch.count()).into_iter().collect()
    }

    /// What it says; none where that makes no sense.
    fn verdict(&self) -> Option<EntryVerdict> {
        let cause = self.error.and_then(text).and_then(|error| cause(&error));
        let after = self.after.filter(|after| after.get() != "null");
        let after = after.map(|after| seconds(&text(after).unwrap_or_else(|| after.get().into())));
        if let Some(word) = self.verdict.filter(|verdict| verdict.get() != "null") {
            return match Verdict::new(&text(word)?, after.map_or(Some(None), |after| after.map(Some))?) {
                Ok(Verdict::Drop) => Some(EntryVerdict::Unwanted),
                Ok(Verdict::Retry(after)) => {
                    Some(EntryVerdict::Failed { failure: Failure::AskedAgain, after, cause })
                }
                Err(NoVerdict) => None,
            };
        }
        let status = self.status?.get().parse().ok().filter(|status| (200..1000).contains(status))?;
        if answer::is_delivery(status) {
            return Some(EntryVerdict::Taken);
        }
        Some(EntryVerdict::Failed { failure: Failure::Status(status), after: after.flatten(), cause })
    }
}

fn by_id(batch: &Batch) -> Places {
    let mut places = Places::with_capacity(batch.count());
    for (place, message) in batch.iter().enumerate() {
        places.entry(message.id.to_string()).or_default().push(place);
    }
    places
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|Text(text)| text)
}

/// A text, which is a part of the body where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

/// The words of a receiver, on one line and not long.
fn cause(error: &str) -> Option<Arc<str>> {
    let mut line = error.trim().replace(char::is_control, " ");
    if line.len() > LONGEST_ERROR {
        let end = (0..=LONGEST_ERROR).rev().find(|end| line.is_char_boundary(*end)).unwrap_or_default();
        line.truncate(end);
        line.push('…');
    }
    (!line.is_empty()).then(|| line.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        base::clock::Time,
        message::{Headers, Id, Message, answer::Content},
    };

    fn batch(ids: &[&str]) -> Batch {
        let message =
            |id: &&str| Message::new(Id::given(id), "a".into(), Headers::default(), "1".into(), Time::START);
        Batch::of(ids.iter().map(message).collect()).unwrap()
    }

    fn answered(status: u16, body: &str, ids: &[&str]) -> (Vec<Option<EntryVerdict>>, Option<&'static str>) {
        let content = Content { status, body: body.into(), ..Content::default() };
        let content = Some(Box::new(content));
        let mut attempt = Attempt::Delivered { status, odd: None, unwanted: false, content };
        read(&mut attempt, &batch(ids));
        let Attempt::Delivered { content, odd, .. } = attempt else { panic!("it is another attempt") };
        (content.unwrap().verdicts, odd)
    }

    fn failed(status: u16, after: Option<u64>, cause: Option<&str>) -> Option<EntryVerdict> {
        let after = after.map(Duration::from_secs);
        Some(EntryVerdict::Failed { failure: Failure::Status(status), after, cause: cause.map(Into::into) })
    }

    #[test]
    fn entries_are_found_by_id_and_by_index() {
        let body = r#"{"more": [], "entries": [
            {"id": "b", "status": 422, "error": "no\nsuch \u00e9"},
            {"index": 0, "status": 201},
            {"id": "c", "index": 0, "status": 503, "after": 30},
            {"index": 3, "verdict": "drop", "status": 200},
            {"id": null, "index": 4, "verdict": "retry", "after": "2m"}
        ]}"#;
        let again = EntryVerdict::Failed {
            failure: Failure::AskedAgain,
            after: Some(Duration::from_secs(120)),
            cause: None,
        };
        let expected = vec![
            Some(EntryVerdict::Taken),
            failed(422, None, Some("no such é")),
            failed(503, Some(30), None),
            Some(EntryVerdict::Unwanted),
            Some(again),
            None,
        ];
        assert_eq!(answered(207, body, &["a", "b", "c", "d", "e", "f"]), (expected, None));
    }

    #[test]
    fn an_id_means_all_messages_that_have_it_and_the_first_entry_counts() {
        let body = r#"{"entries": [{"id": "a", "status": 409}, {"index": 2, "status": 200}]}"#;
        let (verdicts, odd) = answered(200, body, &["a", "b", "a"]);
        assert_eq!((verdicts, odd), (vec![failed(409, None, None), None, failed(409, None, None)], None));
    }

    #[test]
    fn what_makes_no_sense_is_left_out_and_said() {
        for entry in [
            r#"{"id": "other", "status": 422}"#,
            r#"{"index": 2, "status": 422}"#,
            r#"{"index": -1, "status": 422}"#,
            r#"{"index": 1e9, "status": 422}"#,
            r#"{"index": "0", "status": 422}"#,
            r#"{"id": 7, "status": 422}"#,
            r#"{"index": 0}"#,
            r#"{"index": 0, "status": "422"}"#,
            r#"{"index": 0, "status": 0}"#,
            r#"{"index": 0, "status": 1000}"#,
            r#"{"index": 0, "status": 99999999999}"#,
            r#"{"index": 0, "verdict": "explode"}"#,
            r#"{"index": 0, "verdict": ["drop"]}"#,
            r#"{"index": 0, "verdict": "retry", "after": "soon"}"#,
            "{}",
        ] {
            let body = format!(r#"{{"entries": [{{"index": 1, "status": 422}}, {entry}]}}"#);
            let (verdicts, odd) = answered(200, &body, &["a", "b"]);
            assert_eq!(verdicts, [None, failed(422, None, None)], "{entry}");
            assert!(odd.is_some_and(|odd| odd.starts_with("entries for")), "{entry}");
        }
    }

    #[test]
    fn a_body_without_entries_says_nothing() {
        let deep = format!("{{\"entries\": {}", "[".repeat(50_000));
        for body in [
            "",
            "{",
            "[]",
            "ok",
            "{}",
            r#"{"entries": null}"#,
            r#"{"entries": 7}"#,
            r#"{"entries": [7]}"#,
            &deep,
        ] {
            assert_eq!(answered(200, body, &["a"]), (vec![], None), "{body:.40}");
            let (verdicts, odd) = answered(207, body, &["a"]);
            assert!(verdicts.is_empty() && odd.is_some_and(|odd| odd.starts_with("207")), "{body:.40}");
        }
    }

    #[test]
    fn the_words_of_a_receiver_are_not_long() {
        let body =
            format!(r#"{{"entries": [{{"index": 0, "status": 422, "error": "{}"}}]}}"#, "é".repeat(5_000));
        let (verdicts, _) = answered(207, &body, &["a"]);
        let Some(Some(EntryVerdict::Failed { cause: Some(cause), .. })) = verdicts.first() else {
            panic!("{verdicts:?}")
        };
        assert!(cause.len() <= LONGEST_ERROR + '…'.len_utf8(), "{}", cause.len());
    }
}
