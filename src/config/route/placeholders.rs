//! Placeholders in the address of a webhook: `{{ tokens[1] }}` in its path or query.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::WebhookUrlError;
use crate::template::{Place, Source};

/// The placeholders of an address. While it is read, a word stands for each, which is good anywhere in path and query and
/// is not in the address otherwise.
pub(super) struct Placeholders {
    word: String,
    tags: Vec<String>,
}

/// Path and query that are made for each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTemplate {
    /// What makes path and query, compiled for an address.
    pub source: Source,
    /// Whether the operator's path ends with a slash, and so with an empty part.
    pub ends_with_slash: bool,
}

const START: &str = "{{";
const END: &str = "}}";

/// What a query may have as people write it, and an address in the strict sense has not.
const ODD: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl Placeholders {
    /// Puts a word in the place of each placeholder, so that the address can be parsed.
    pub(super) fn take_out(address: &str) -> Result<(String, Self), WebhookUrlError> {
        let mut word = "placeholder".to_owned();
        while address.contains(&word) {
            word.push('x');
        }
        let (mut plain, mut rest, mut tags) = (String::new(), address, Vec::new());
        while let Some((before, tag)) = rest.split_once(START) {
            let (inner, behind) = tag.split_once(END).ok_or(WebhookUrlError::Unclosed)?;
            plain.push_str(before);
            plain.push_str(&word);
            tags.push(format!("{START}{inner}{END}"));
            rest = behind;
        }
        plain.push_str(rest);
        if !tags.is_empty() && plain.contains("{%") {
            return Err(WebhookUrlError::OddPath);
        }
        let authority = plain.split_once("://").map_or(plain.as_str(), |(scheme, rest)| {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            plain.get(..scheme.len() + "://".len() + end).unwrap_or(&plain)
        });
        if authority.contains(&word) {
            return Err(WebhookUrlError::Authority);
        }
        Ok((plain, Self { word, tags }))
    }

    /// Path and query with them, as a template; none where there are none.
    pub(super) fn put_back(self, target: &str) -> Result<Option<TargetTemplate>, WebhookUrlError> {
        if self.tags.is_empty() {
            return Ok(None);
        }
        let path = target.split('?').next().unwrap_or_default();
        let mut between = target.split(&self.word);
        let mut text = encoded(between.next().unwrap_or_default());
        let mut count = 0;
        for (tag, piece) in self.tags.iter().zip(between) {
            text.push_str(tag);
            text.push_str(&encoded(piece));
            count += 1;
        }
        // One that stood before `..` is gone.
        if count != self.tags.len() || path.contains("//") {
            return Err(WebhookUrlError::OddPath);
        }
        let source = Source::new(&text, Place::Address);
        let source = source.map_err(|mistake| WebhookUrlError::Placeholder(mistake.problem.into()))?;
        Ok(Some(TargetTemplate { source, ends_with_slash: path.ends_with('/') }))
    }
}

fn encoded(piece: &str) -> String {
    utf8_percent_encode(piece, ODD).to_string()
}
