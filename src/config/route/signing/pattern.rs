//! Patterns such as `{id}.{timestamp}.{body}`: what is signed, and what stands before a signature.

use std::{fmt, str::FromStr};

/// Text with placeholders: `{id}`, `{timestamp}`, `{body}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

/// A placeholder of a pattern, or the text between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text that is signed as it is written.
    Text(Box<str>),
    /// The message's id, as `webhook-id` has it.
    Id,
    /// The time of the attempt, in seconds since 1970.
    Timestamp,
    /// The body of the request.
    Body,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected ASCII text with {{id}}, {{timestamp}} and {{body}}, each once at most, as the only braces")]
pub struct PatternError;

const PLACEHOLDERS: [(&str, Part); 3] =
    [("{id}", Part::Id), ("{timestamp}", Part::Timestamp), ("{body}", Part::Body)];

impl Pattern {
    /// The parts, in the order in which they are signed.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether `placeholder` is among its parts.
    pub fn has(&self, placeholder: &Part) -> bool {
        self.0.contains(placeholder)
    }

    /// What separates the placeholders: the letters of its texts that are neither letters nor digits.
    pub fn separators(&self) -> impl Iterator<Item = u8> {
        let texts = self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.bytes()),
            _ => None,
        });
        texts.flatten().filter(|byte| !byte.is_ascii_alphanumeric())
    }

    /// Whether two different messages never make the same text of it: an id, in which separators are escaped, and digits
    /// can't be taken for what follows them.
    pub(super) fn is_unambiguous(&self) -> bool {
        let separates = |part: &Part| matches!(part, Part::Text(text) if text.bytes().any(|byte| !byte.is_ascii_alphanumeric()));
        let is_placeholder = |part: &Part| !matches!(part, Part::Text(_));
        let inner = self.0.iter().skip_while(|part| !is_placeholder(part));
        let mut separated = true;
        for part in inner {
            if is_placeholder(part) {
                if !separated {
                    return false;
                }
                separated = false;
            } else {
                separated |= separates(part);
            }
        }
        // An escape is made of this one, so that it would not be escaped itself.
        !self.has(&Part::Id) || self.separators().all(|byte| byte != b'%')
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let (part, length) = if let Some((word, placeholder)) =
                PLACEHOLDERS.iter().find(|(word, _)| rest.starts_with(word))
            {
                (placeholder.clone(), word.len())
            } else {
                let end = rest.find('{').filter(|end| *end > 0).unwrap_or(rest.len());
                (Part::Text(rest.get(..end).unwrap_or_default().into()), end)
            };
            let is_good = match &part {
                Part::Text(text) => text.is_ascii() && !text.contains(['{', '}']),
                placeholder => !parts.contains(placeholder),
            };
            if !is_good {
                return Err(PatternError);
            }
            parts.push(part);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            placeholder => {
                let word = PLACEHOLDERS.iter().find(|(_, part)| part == placeholder);
                word.map_or(Ok(()), |(word, _)| f.write_str(word))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_and_written() {
        for text in ["", "{body}", "{id}.{timestamp}.{body}", "v0:{timestamp}:{body}", "t={timestamp},", "a"]
        {
            assert_eq!(text.parse::<Pattern>().map(|pattern| pattern.to_string()).as_deref(), Ok(text));
        }
        for text in ["{", "}", "{{id}}", "{ID}", "{body}{", "{body}.{body}", "é{body}", "{body }"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError), "{text}");
        }
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_known() {
        let is_unambiguous = |text: &str| text.parse::<Pattern>().unwrap().is_unambiguous();
        for text in ["{body}", "{id}.{timestamp}.{body}", "{body}:{id}", "v0{timestamp}, {body}v0"] {
            assert!(is_unambiguous(text), "{text}");
        }
        for text in ["{id}{body}", "{timestamp}x{body}", "{id}.{timestamp}{body}", "{id}%{body}"] {
            assert!(!is_unambiguous(text), "{text}");
        }
    }
}
