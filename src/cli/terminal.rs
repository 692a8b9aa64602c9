//! Words of strangers on a terminal, and what a terminal can show.

use std::{
    env,
    io::{self, IsTerminal as _},
};

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

/// A stranger's words, without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { '\u{b7}' } else { c }).collect()
}

/// Whether a terminal acts on a character, or shows what follows it in another order.
pub(super) fn is_obeyed(c: char) -> bool {
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
