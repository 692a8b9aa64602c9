//! A report on standard output: for people, or for machines one JSON object a line.

use std::io::{self, Write};

use serde_json::json;

use super::report::{Line, Mark, Report};
use crate::cli::terminal::{Abilities, clean};

/// Writes `report` for people.
pub(super) fn text(out: &mut impl Write, report: &Report, abilities: Abilities) -> io::Result<()> {
    for section in &report.sections {
        writeln!(out, "{}", shown(&section.title, abilities))?;
        for line in &section.lines {
            write!(out, "  {} {}: {}", sign(line.mark, abilities), line.what, shown(&line.found, abilities))?;
            if let Some(advice) = &line.advice {
                let arrow = if abilities.unicode { '→' } else { ';' };
                write!(out, " {arrow} {}", shown(advice, abilities))?;
            }
            writeln!(out)?;
        }
    }
    writeln!(out, "{}", summary(report))
}

/// Writes `report` for machines.
pub(super) fn json(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for section in &report.sections {
        for Line { mark, what, found, advice } in &section.lines {
            let mark = match mark {
                Mark::Fine => "ok",
                Mark::Warning => "warning",
                Mark::Failed => "failed",
            };
            let line = json!({
                "about": section.title, "what": what, "result": mark, "found": found, "advice": advice,
            });
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn sign(mark: Mark, Abilities { colours, unicode, .. }: Abilities) -> String {
    let (fancy, plain, colour) = match mark {
        Mark::Fine => ("✓", "ok", 32),
        Mark::Warning => ("!", "!", 33),
        Mark::Failed => ("✗", "x", 31),
    };
    let sign = if unicode { fancy } else { plain };
    if colours { format!("\u{1b}[{colour}m{sign}\u{1b}[0m") } else { sign.to_owned() }
}

/// Words that may be a stranger's, as far as the terminal can show them.
fn shown(text: &str, abilities: Abilities) -> String {
    let plain = |c: char| match c {
        '…' => "...".to_owned(),
        c if c.is_ascii() => c.to_string(),
        _ => "?".to_owned(),
    };
    if abilities.unicode { clean(text) } else { clean(text).chars().map(plain).collect() }
}

fn summary(report: &Report) -> String {
    let count = |mark, one: &str, more: &str| match report.count(mark) {
        0 => None,
        1 => Some(format!("1 {one}")),
        many => Some(format!("{many} {more}")),
    };
    let counts = [
        count(Mark::Failed, "would not work", "would not work"),
        count(Mark::Warning, "warning", "warnings"),
        count(Mark::Fine, "is fine", "are fine"),
    ];
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::report::Section;

    const PLAIN: Abilities = Abilities { colours: false, clears: false, unicode: true };

    fn report() -> Report {
        let lines = vec![
            Line::fine("name", "höst.example is 10.0.0.1"),
            Line::warning("TLS", "5 days left", "renew it"),
            Line::failed("stream", "there is no stream \u{202e}X", "make it"),
        ];
        Report { sections: vec![Section { title: "route todos".to_owned(), lines }] }
    }

    fn text_with(abilities: Abilities) -> String {
        let mut out = Vec::new();
        text(&mut out, &report(), abilities).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_get_a_sign_the_finding_and_the_next_step() {
        let expected = "route todos\n  ✓ name: höst.example is 10.0.0.1\n  ! TLS: 5 days left → renew it\n  \
                        ✗ stream: there is no stream ·X → make it\n1 would not work, 1 warning, 1 is fine\n";
        assert_eq!(text_with(PLAIN), expected);
        let ascii = text_with(Abilities { unicode: false, ..PLAIN });
        assert!(ascii.is_ascii() && ascii.contains("  ok name: h?st.example is"), "{ascii}");
        assert!(text_with(Abilities { colours: true, ..PLAIN }).contains("\u{1b}[31m✗\u{1b}[0m stream"));
    }

    #[test]
    fn machines_get_a_line_of_json_for_each() {
        let mut out = Vec::new();
        json(&mut out, &report()).unwrap();
        let lines: Vec<serde_json::Value> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1]["result"], "warning");
        assert_eq!(lines[0]["advice"], serde_json::Value::Null);
    }
}
