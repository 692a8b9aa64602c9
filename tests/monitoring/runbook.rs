//! The runbook: that it has an entry for every alert, complete, with log lines that the daemon does write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::rules::Rules;
use crate::{read, repository};

const RUNBOOK: &str = "docs/runbook.md";

/// What every entry says, in this order.
const PARTS: [&str; 5] = ["**Means**", "**Lost**", "**Look at**", "**Do**", "**Ends**"];

/// The entries: each the name of an alert, and what is said about it.
fn entries(runbook: &str) -> Vec<(&str, &str)> {
    let entries = runbook.split("\n### ").skip(1).map(|entry| {
        let entry = entry.split("\n## ").next().unwrap_or_default();
        entry.split_once('\n').expect("an entry has more than a title")
    });
    entries.collect()
}

/// What is written as code: between single backticks, outside of blocks.
pub(crate) fn code(markdown: &str) -> Vec<&str> {
    let text = markdown.split("```").step_by(2);
    text.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_alert_has_an_entry_and_every_entry_an_alert() {
    let runbook = read(RUNBOOK);
    let described: BTreeSet<_> = entries(&runbook).into_iter().map(|(alert, _)| alert).collect();
    let rules = Rules::load();
    let alerts: BTreeSet<_> = rules.alerts().map(|rule| rule.alert.as_str()).collect();
    assert_eq!(described, alerts, "entries of {RUNBOOK}, and alerts");
    for rule in rules.alerts() {
        let url = rule.annotations.get("runbook_url").map_or("", String::as_str);
        let anchor = format!("/{RUNBOOK}#{}", rule.alert.to_lowercase());
        assert!(url.starts_with("https://") && url.ends_with(&anchor), "{}: {url}", rule.alert);
    }
}

#[test]
fn every_entry_says_what_an_operator_needs() {
    for (alert, entry) in entries(&read(RUNBOOK)) {
        let places: Vec<_> = PARTS.iter().map(|part| entry.find(part)).collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{alert}: {PARTS:?} are at {places:?}"
        );
    }
}

#[test]
fn the_log_lines_of_the_runbook_are_those_of_the_daemon() {
    let mut sources = String::new();
    read_sources(&repository("src"), &mut sources);
    let runbook = read(RUNBOOK);
    let quoted: Vec<_> = code(&runbook).into_iter().filter(|code| code.starts_with('"')).collect();
    assert!(quoted.len() > 10, "log lines are written as `\"…\"`");
    for line in quoted {
        let line = line.replace('\n', " ");
        assert!(sources.contains(&line), "the daemon never says {line}");
    }
}

fn read_sources(folder: &Path, sources: &mut String) {
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    for path in paths {
        if path.is_dir() {
            read_sources(&path, sources);
        } else {
            sources.push_str(&std::fs::read_to_string(&path).expect("sources are text"));
        }
    }
}
