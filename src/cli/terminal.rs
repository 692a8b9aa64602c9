//! Words of strangers on a terminal, and what a terminal can show.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use rustix::termios::tcgetwinsize;
use serde_json::Value;

/// How much of a body people are shown, in bytes.
const LONGEST_BODY: usize = 4 * 1024;

/// What is printed to a terminal, or to somewhere else, can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abilities {
    pub(super) colours: bool,
    /// Whether it can be cleared, to be written on anew.
    pub(super) clears: bool,
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
        let clears = is_terminal && !is_dumb;
        Self { colours: clears && set("NO_COLOR").is_none(), clears, unicode }
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

/// How much a terminal shows at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    rows: usize,
    columns: usize,
}

impl Window {
    /// That of standard output; none where it is no terminal, or one that does not know.
    pub(super) fn of_output() -> Option<Self> {
        let size = tcgetwinsize(io::stdout()).ok()?;
        let window = Self { rows: size.ws_row.into(), columns: size.ws_col.into() };
        (window.rows > 0 && window.columns > 0).then_some(window)
    }

    /// The lines of `page` that it has room for at the same time, the first ones, and how many are left out: what stands at
    /// the top would scroll away otherwise.
    pub(super) fn fitting(self, page: &str) -> String {
        let height = |line: &str| width(line).div_ceil(self.columns).max(1);
        // The cursor is below what was written.
        if page.lines().map(height).sum::<usize>() < self.rows {
            return page.to_owned();
        }
        let mut room = self.rows.saturating_sub(2);
        let fits = |line: &&str| match room.checked_sub(height(line)) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let shown: Vec<_> = page.lines().take_while(fits).collect();
        let left_out = page.lines().count() - shown.len();
        let lines = shown.into_iter().map(|line| format!("{line}\n"));
        lines.chain([format!("({left_out} more lines than fit)")]).collect()
    }
}

/// How many places a line takes, but for what [`Abilities`] has put in for colours.
fn width(line: &str) -> usize {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().map_or(0, |part| part.chars().count());
    first + parts.map(|part| part.split_once('m').map_or(0, |(_, text)| text.chars().count())).sum::<usize>()
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
    fn a_page_that_is_higher_than_the_window_keeps_its_beginning() {
        let page = "\u{1b}[31m12345\u{1b}[0m\n123456\n\n1\n";
        let window = |rows, columns| Window { rows, columns }.fitting(page);
        assert_eq!(window(5, 80), page);
        assert_eq!(window(6, 5), page, "a line takes two rows");
        assert_eq!(window(5, 5), "\u{1b}[31m12345\u{1b}[0m\n123456\n(2 more lines than fit)");
        assert_eq!(window(4, 5), "\u{1b}[31m12345\u{1b}[0m\n(3 more lines than fit)");
        assert_eq!(window(1, 1), "(4 more lines than fit)");
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
            let Abilities { colours, clears, unicode } = Abilities::by(is_terminal, of);
            assert!(clears || !colours);
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
