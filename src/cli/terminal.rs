//! Words of strangers on a terminal, and what a terminal can show.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use serde_json::Value;

/// How much of a body people are shown, in bytes.
const LONGEST_BODY: usize = 4 * 1024;

/// What is printed to a terminal, or to somewhere else, can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abilities {
    pub(super) colours: bool,
    /// Whether there may be anything but ASCII.
    pub(super) unicode: bool,
}

impl Abilities {
    /// Those of standard output.
    pub(super) fn of_output() -> Self {
        Self::by(io::stdout().is_terminal(), |name| env::var(name).ok())
    }

    /// As a terminal or not, with these variables.
    fn by(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
        // The first that is set counts. A container has none of them, and a terminal that shows everything.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let unicode = locale.is_none_or(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self { colours: is_terminal && !is_dumb && set("NO_COLOR").is_none(), unicode }
    }
}

impl Abilities {
    /// `text` in the colour of what is well.
    pub(super) fn green(self, text: &str) -> String {
        self.coloured(text, 32)
    }

    /// `text` in the colour of what has failed.
    pub(super) fn red(self, text: &str) -> String {
        self.coloured(text, 31)
    }

    /// `text` in the colour of what is to be looked at.
    pub(super) fn yellow(self, text: &str) -> String {
        self.coloured(text, 33)
    }

    fn coloured(self, text: &str, colour: u8) -> String {
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A stranger's words, without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { '\u{b7}' } else { c }).collect()
}

/// As [`clean`], of a text that may have several lines.
pub(super) fn clean_lines(text: &str) -> String {
    let harmless = |c| matches!(c, '\n' | '\t') || !is_obeyed(c);
    text.chars().map(|c| if harmless(c) { c } else { '\u{b7}' }).collect()
}

/// A body for people, line by line: JSON with its structure, the beginning of what is long, and of what is no text how long
/// it is.
pub(super) fn body_lines(body: &[u8]) -> Vec<String> {
    let Ok(text) = str::from_utf8(body) else {
        return vec![format!("({} bytes that are no text)", body.len())];
    };
    let pretty = serde_json::from_str::<Value>(text).ok().filter(|json| json.is_object() || json.is_array());
    let pretty = pretty.and_then(|json| serde_json::to_string_pretty(&json).ok());
    let text = pretty.as_deref().unwrap_or(text);
    let end = (0..=LONGEST_BODY.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    let (start, rest) = text.split_at_checked(end.unwrap_or_default()).unwrap_or_default();
    let more = (!rest.is_empty()).then(|| format!("({} more bytes)", rest.len()));
    start.lines().map(clean).chain(more).collect()
}

/// A line of JSON: what `serde_json` leaves as it is, and a terminal would obey, is escaped too.
pub(super) fn escaped(value: &Value) -> String {
    let escape = |c: char| if is_obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    value.to_string().chars().map(escape).collect()
}

/// Whether a terminal acts on a character, or shows what follows it in another order.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_not_passed_on() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}31m\u{7f}\r\u{202e}é"), "a·[2Jb·31m···é");
    }

    #[test]
    fn a_body_is_shown_line_by_line_and_cut_where_a_letter_ends() {
        let long = body_lines("é".repeat(3_000).as_bytes());
        assert!(long.len() == 2 && long[0].ends_with('é') && long[1] == "(1904 more bytes)", "{long:?}");
        assert_eq!(body_lines(br#"{"a":[]}"#), ["{", "  \"a\": []", "}"]);
        assert_eq!(body_lines(b"\xff\xff"), ["(2 bytes that are no text)"]);
        assert_eq!(body_lines(b"17\n\x1b"), ["17", "·"]);
        assert!(body_lines(b"").is_empty());
    }

    #[test]
    fn json_stays_what_it_is() {
        let value = serde_json::json!({ "a": "\u{1b}\u{9b}\u{7f}\u{202e}é\"\\" });
        let text = escaped(&value);
        assert!(text.bytes().all(|b| b != 0x1b && b != 0x7f) && !text.contains('\u{9b}'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn colours_are_for_terminals_and_unicode_for_those_that_have_not_said_otherwise() {
        let by = |is_terminal, variables: &'static [(&str, &str)]| {
            let of = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            let Abilities { colours, unicode } = Abilities::by(is_terminal, of);
            (colours, unicode)
        };
        assert_eq!(by(true, &[]), (true, true));
        assert_eq!(by(false, &[("LANG", "de_DE.UTF-8")]), (false, true));
        assert_eq!(by(true, &[("LANG", "C")]), (true, false));
        assert_eq!(by(true, &[("LANG", "C"), ("LC_ALL", "C.utf8")]), (true, true));
        assert_eq!(by(true, &[("NO_COLOR", "1"), ("TERM", "xterm")]), (false, true));
        assert_eq!(by(true, &[("TERM", "dumb")]), (false, true));
    }
}
