//! What was found, in an operator's words.

use std::fmt::Display;

/// What something that was looked at is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It works.
    Fine,
    /// It works, and is hardly meant; or it could not be seen whether it works.
    Warning,
    /// It would not work.
    Failed,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it is.
    pub mark: Mark,
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What to do about it, where it is not fine.
    pub advice: Option<String>,
}

/// No text is longer, in letters: some of the words are those of whoever answers.
const LONGEST: usize = 500;

impl Line {
    /// It works.
    pub fn fine(what: &'static str, found: impl Display) -> Self {
        Self { mark: Mark::Fine, what, found: on_one_line(found), advice: None }
    }

    /// It is so, and an operator should know.
    pub fn notice(what: &'static str, found: impl Display) -> Self {
        Self { mark: Mark::Warning, advice: None, ..Self::fine(what, found) }
    }

    /// It is hardly meant, or could not be seen.
    pub fn warning(what: &'static str, found: impl Display, advice: impl Display) -> Self {
        Self { mark: Mark::Warning, what, found: on_one_line(found), advice: Some(on_one_line(advice)) }
    }

    /// It would not work.
    pub fn failed(what: &'static str, found: impl Display, advice: impl Display) -> Self {
        Self { mark: Mark::Failed, what, found: on_one_line(found), advice: Some(on_one_line(advice)) }
    }
}

fn on_one_line(text: impl Display) -> String {
    let text = text.to_string();
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// What was looked at for one subject: NATS, or a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The subject, such as `route todos`.
    pub title: String,
    /// In the order in which things depend on each other.
    pub lines: Vec<Line>,
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// NATS first, then the routes by their names.
    pub sections: Vec<Section>,
}

impl Report {
    /// Whether all that was looked at would work.
    pub fn is_good(&self) -> bool {
        self.count(Mark::Failed) == 0
    }

    /// How many lines have this mark.
    pub fn count(&self, mark: Mark) -> usize {
        self.sections.iter().flat_map(|section| &section.lines).filter(|line| line.mark == mark).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        assert_eq!(Line::fine("a", "b\r\nforged").found, "b  forged");
        assert_eq!(Line::failed("a", "é".repeat(900), "").found.chars().count(), LONGEST + 1);
    }

    #[test]
    fn one_failure_spoils_a_report_and_warnings_do_not() {
        let section = |lines| Section { title: String::new(), lines };
        let (fine, warning) = (Line::fine("a", ""), Line::warning("a", "", ""));
        let mut report = Report { sections: vec![section(vec![fine.clone(), warning])] };
        assert!(report.is_good());
        report.sections.push(section(vec![Line::failed("a", "", ""), fine]));
        assert!(!report.is_good());
        assert_eq!(
            (report.count(Mark::Fine), report.count(Mark::Warning), report.count(Mark::Failed)),
            (2, 1, 1)
        );
    }
}
