//! The dashboard: that Grafana can draw it, as far as that can be said without one.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::read;
use crate::rules::Rules;

const DASHBOARD: &str = "k8s/components/dashboards/broadcaster.json";

/// Panels that Grafana has and means to keep. (Not "graph", "singlestat", "table-old", …)
const TYPES: [&str; 6] = ["row", "stat", "timeseries", "heatmap", "state-timeline", "table"];

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap_or_else(|error| panic!("{DASHBOARD}: {error}"))
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("there are panels")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

/// The expressions of all panels, each with the panel's title, for one job and whatever namespace, route and instance.
pub(crate) fn expressions(job: &str) -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut expressions = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let mut expr = text(target, "expr").to_owned();
            for (variable, value) in [
                ("$__rate_interval", "5s"),
                ("$__range", "5s"),
                ("$job", job),
                ("$namespace", ".*"),
                ("$route", ".*"),
                ("$instance", ".*"),
            ] {
                expr = expr.replace(variable, value);
            }
            assert!(!expr.contains('$'), "a variable that Grafana does not have: {expr}");
            expressions.push((text(panel, "title").to_owned(), expr));
        }
    }
    expressions
}

#[test]
fn every_panel_is_told_apart_and_explained() {
    let dashboard = dashboard();
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().expect("it has an id")), "{title}: its id is there twice");
        assert!(titles.insert(title), "{title} is there twice");
        let kind = text(panel, "type");
        assert!(TYPES.contains(&kind), "{title} is a {kind}");
        if kind == "row" {
            continue;
        }
        assert!(text(panel, "description").len() > 20, "{title} has no description");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().expect("a panel shows something");
        let references: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
        assert!(!targets.is_empty() && references.len() == targets.len(), "{title}: {references:?}");
        if !["heatmap", "state-timeline", "table"].contains(&kind) {
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        }
        if kind == "heatmap" {
            assert_eq!(panel["options"]["calculate"], false, "{title}: the buckets are there already");
            assert_eq!(targets[0]["format"], "heatmap", "{title}");
        }
    }
}

#[test]
fn no_panel_covers_another() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let place = &panel["gridPos"];
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| place[key].as_u64().expect("it has a place"));
        assert!(x + w <= 24, "{} reaches beyond the edge", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} covers another panel", panel["title"]);
        }
    }
}

#[test]
fn every_alert_is_linked_from_a_panel() {
    let dashboard = dashboard();
    let mut linked = BTreeSet::new();
    for link in panels(&dashboard).iter().flat_map(|panel| panel["links"].as_array().into_iter().flatten()) {
        let alert = text(link, "title");
        assert_eq!(text(link, "url"), format!("${{runbook}}#{}", alert.to_lowercase()));
        linked.insert(alert);
    }
    let rules = Rules::load();
    // What the cluster says about the Deployment has no panel here.
    let alerts: BTreeSet<_> = rules.alerts().map(|rule| rule.alert.as_str()).collect();
    let unlinked: Vec<_> = alerts.difference(&linked).copied().collect();
    assert_eq!(unlinked, ["BroadcasterUnavailable"]);
    assert!(linked.is_subset(&alerts), "{:?}", linked.difference(&alerts));
}

#[test]
fn the_variables_are_there_and_grafana_knows_the_schema() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().expect("there are variables");
    let names: Vec<_> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "namespace", "job", "route", "instance", "runbook"]);
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 39));
    assert_eq!(dashboard["uid"], "broadcaster");
    assert!(dashboard.get("id").is_none(), "the id is Grafana's to give");
}
