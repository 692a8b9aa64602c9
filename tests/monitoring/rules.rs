//! The rules: that promtool finds nothing to say about them, and that they do what their tests say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{read, read_yaml, repository};
use testkit::process;

const MANIFEST: &str = "k8s/components/prometheus-operator/rules.yaml";
const TESTS: [&str; 2] = ["tests/monitoring/rules.test.yaml", "tests/monitoring/rules.days.test.yaml"];

/// A rules file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) record: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) alert: String,
    pub(crate) expr: String,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    lasting: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Rules {
    /// As the operator gets them.
    pub(crate) fn load() -> Self {
        #[derive(Deserialize)]
        struct Manifest {
            spec: Rules,
        }
        let mut manifests: Vec<Manifest> = read_yaml(MANIFEST);
        assert_eq!(manifests.len(), 1, "{MANIFEST} is one object");
        manifests.remove(0).spec
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    pub(crate) fn alerts(&self) -> impl Iterator<Item = &Rule> {
        self.all().filter(|rule| !rule.alert.is_empty())
    }

    /// With every range of an expression and every `for` a sixtieth of what it is, so that minutes are seconds, and with
    /// groups that are evaluated as often as the configuration says.
    pub(crate) fn hurried(mut self) -> Self {
        for group in &mut self.groups {
            group.interval = None;
            for rule in &mut group.rules {
                rule.lasting = rule.lasting.as_deref().map(a_sixtieth);
                rule.expr = hurried(&rule.expr);
            }
        }
        self
    }

    /// Writes them as a rules file. (JSON is YAML, too.)
    pub(crate) fn write(&self, file: &Path) {
        let text = serde_json::to_string_pretty(self).expect("rules can be written");
        std::fs::write(file, text).expect("the directory is writable");
    }
}

fn hurried(expr: &str) -> String {
    let mut parts = expr.split('[');
    let mut hurried = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (range, rest) = part.split_once(']').expect("a range has an end");
        hurried.push_str(&format!("[{}]{rest}", a_sixtieth(range)));
    }
    hurried
}

fn a_sixtieth(duration: &str) -> String {
    let (number, unit) = duration.split_at(duration.len() - 1);
    let number: u32 = number.parse().unwrap_or_else(|_| panic!("not a duration with one unit: {duration}"));
    let seconds = match unit {
        "m" => 1,
        "h" => 60,
        "d" => 24 * 60,
        _ => panic!("{duration} is not in minutes, hours or days"),
    };
    format!("{}s", number * seconds)
}

/// A panic with what promtool says unless it is content.
fn promtool(arguments: &[&str], file: &Path) {
    let mut promtool = Command::new(process::tool("promtool", "PROMTOOL"));
    let output = promtool.args(arguments).arg(file).output().expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&said));
}

#[test]
fn the_plain_rules_file_is_what_the_operator_gets_and_promtool_accepts_it() {
    let make = Command::new("make").args(["-s", "rules"]).current_dir(repository("")).output();
    let plain = String::from_utf8(make.expect("make runs").stdout).expect("rules are text");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, &plain).expect("the directory is writable");
    promtool(&["check", "rules"], &file);
    let parsed: Rules = serde_saphyr::from_str(&plain).expect("make prints a rules file");
    assert_eq!(parsed, Rules::load());
}

#[test]
fn the_rules_do_what_their_tests_say() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut rules = Rules::load();
    for rule in rules.groups.iter_mut().flat_map(|group| &mut group.rules) {
        rule.annotations.clear();
    }
    rules.write(&directory.path().join("rules.yaml"));
    let file = directory.path().join("rules.test.yaml");
    for tests in TESTS {
        std::fs::write(&file, read(tests)).expect("the directory is writable");
        promtool(&["test", "rules"], &file);
    }
}

#[test]
fn every_alert_is_tried_firing_and_silent() {
    let files = TESTS.map(|tests| read_yaml::<Value>(tests).remove(0));
    let tests = files.iter().flat_map(|file| file["tests"].as_array().expect("there are tests"));
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for test in tests {
        for tried in test["alert_rule_test"].as_array().into_iter().flatten() {
            let alert = tried["alertname"].as_str().expect("it is the name of an alert");
            let fires = tried["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
            let _ = if fires { firing.insert(alert) } else { silent.insert(alert) };
        }
    }
    let rules = Rules::load();
    let alerts: BTreeSet<_> = rules.alerts().map(|rule| rule.alert.as_str()).collect();
    assert_eq!(firing, alerts, "alerts that fire in {TESTS:?}, and all");
    assert_eq!(silent, alerts, "alerts that are silent in {TESTS:?}, and all");
}

#[test]
fn every_alert_says_what_it_is_about_and_how_urgent_it_is() {
    let rules = Rules::load();
    let mut names = BTreeSet::new();
    for Rule { alert, labels, annotations, .. } in rules.alerts() {
        assert!(names.insert(alert), "{alert} is there twice");
        let severity: Vec<_> = labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        assert!(matches!(severity[..], [("severity", "critical" | "warning")]), "{alert}: {severity:?}");
        let said: Vec<_> = annotations.keys().collect();
        assert_eq!(said, ["description", "runbook_url", "summary"], "{alert}");
        assert!(annotations.values().all(|text| text.len() > 20), "{alert}: {annotations:?}");
    }
}

#[test]
fn a_name_of_a_recording_rule_says_its_level_and_what_was_done() {
    let rules = Rules::load();
    for rule in rules.all().filter(|rule| !rule.record.is_empty()) {
        let parts: Vec<_> = rule.record.split(':').collect();
        let good =
            matches!(parts[..], ["route" | "route_outcome", metric, _] if metric.starts_with("broadcaster_"));
        assert!(good && rule.annotations.is_empty() && rule.labels.is_empty(), "{rule:?}");
    }
}
