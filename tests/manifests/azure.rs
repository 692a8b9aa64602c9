//! What Azure's Prometheus is told to scrape. (Rules and dashboards are the matter of tests/monitoring.)

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::build;
use crate::environment;
use crate::object::{at, entries, list, parse_yaml, text};
use crate::overlay::{Findings, Overlay, broken_at, none};
use testkit::process;

const CONFIG: &str = "ConfigMap/ama-metrics-prometheus-config";
const SETTINGS: &str = "ConfigMap/ama-metrics-settings";

/// The jobs: pods of one namespace, by the annotations that the pods have.
fn check(overlay: &Overlay) -> Findings {
    let (_, namespace) = environment::AZURE
        .into_iter()
        .find(|(name, _)| *name == overlay.name)
        .expect("it is an overlay for Azure");
    let mut findings = Findings::new();
    for id in [CONFIG, SETTINGS] {
        overlay.expect(id, "kind", &json!("ConfigMap"), &mut findings);
    }
    let Some(object) = overlay.find(CONFIG) else { return findings };
    let path = "data.prometheus-config";
    let mut add = |what: String| findings.push(overlay.finding(object, path, what));
    let jobs = match parse_yaml(object.text(path)) {
        Ok(documents) => documents.into_iter().next().unwrap_or_default()["scrape_configs"].take(),
        Err(error) => {
            add(error);
            return findings;
        }
    };
    let [job] = list(&jobs) else {
        add(format!("{} jobs, not one: pods would be scraped twice", list(&jobs).len()));
        return findings;
    };
    for (place, figure) in [
        ("job_name", json!("kubernetes-pods")),
        ("kubernetes_sd_configs[0].role", json!("pod")),
        ("kubernetes_sd_configs[0].namespaces.names", json!([namespace])),
    ] {
        if at(job, place) != &figure {
            add(format!("{place}: {}, not {figure}", at(job, place)));
        }
    }
    // Each annotation that the pods have decides something.
    let rules: Vec<_> = list(&job["relabel_configs"]).iter().collect();
    for (annotation, target) in
        [("scrape", Value::Null), ("path", json!("__metrics_path__")), ("port", json!("__address__"))]
    {
        let source = format!("__meta_kubernetes_pod_annotation_prometheus_io_{annotation}");
        let reads = |rule: &&&Value| list(&rule["source_labels"]).iter().any(|label| text(label) == source);
        let fits = |rule: &&Value| rule["target_label"] == target;
        if !rules.iter().filter(reads).any(fits) {
            add(format!("the annotation {annotation} decides nothing"));
        }
    }
    findings
}

#[test]
fn azure_scrapes_the_pods_of_its_environment() {
    none(&environment::AZURE.iter().flat_map(|(name, _)| check(build::overlay(name))).collect());
}

/// Both overlays differ in the namespace and in nothing else.
#[test]
fn azure_is_told_the_same_for_branches_and_for_production() {
    let [branch, production] = environment::AZURE.map(|(name, namespace)| {
        let config = build::overlay(name).find(CONFIG).expect("it is there").text("data.prometheus-config");
        config.replace(&format!("[\"{namespace}\"]"), "NAMESPACE")
    });
    assert_eq!(branch, production);
}

/// What Prometheus makes of the pods of production: promtool is told of them as the discovery in Kubernetes would tell it, each
/// port a target. (Debian's Prometheus is built without that discovery.)
#[test]
fn prometheus_scrapes_each_pod_once_where_its_annotations_say() {
    let overlay = build::overlay("azure-production").find(CONFIG).expect("it is there");
    let mut config = parse_yaml(overlay.text("data.prometheus-config")).expect("it is YAML").remove(0);
    let mut discovered = Vec::new();
    for (number, pod) in build::overlay("production").pods().enumerate() {
        let mut labels =
            json!({ "__meta_kubernetes_namespace": "project", "__meta_kubernetes_pod_phase": "Running" });
        for kind in ["annotation", "label"] {
            for (key, value) in entries(pod.get(&format!("metadata.{kind}s"))) {
                let key = key.replace(|sign: char| !sign.is_ascii_alphanumeric(), "_");
                labels[format!("__meta_kubernetes_pod_{kind}_{key}")] = value.clone();
            }
        }
        let ports = pod.containers().into_iter().flat_map(|(_, container)| list(&container["ports"]));
        let targets: Vec<_> =
            ports.map(|port| format!("10.0.0.{number}:{}", port["containerPort"])).collect();
        discovered.push(json!({ "targets": targets, "labels": labels }));
    }
    let job = config["scrape_configs"][0].as_object_mut().expect("it has a job");
    job.remove("kubernetes_sd_configs").expect("it discovers pods");
    job.insert("static_configs".to_owned(), discovered.into());
    let found = discover(&config);
    let found: BTreeSet<_> = found
        .iter()
        .filter(|target| !target["labels"].is_null())
        .map(|target| {
            let label = |name: &str| text(&target["labels"][name]);
            let address = label("__address__").split_once(':').expect("it has a port").1;
            (label("job"), address, label("__metrics_path__"), label("namespace"))
        })
        .collect();
    let expected = [("broadcaster", "7777", "/metrics", "project"), ("nats", "7777", "/metrics", "project")];
    assert_eq!(found, BTreeSet::from(expected));
}

/// The targets that Prometheus finds by this configuration, as promtool tells.
fn discover(config: &Value) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("prometheus.json");
    std::fs::write(&file, config.to_string()).expect("it is writable");
    let mut promtool = Command::new(process::tool("promtool", "PROMTOOL"));
    promtool.args(["check", "service-discovery", "--timeout=1s"]).arg(&file).arg("kubernetes-pods");
    let output = promtool.output().expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("promtool: {error}: {said}"))
}

#[test]
fn what_azure_is_told_wrong_is_found() {
    let path = "data.prometheus-config";
    let production = build::overlay("azure-production");
    let written = production.find(CONFIG).expect("it is there").text(path);
    let cases = [
        (
            "[\"project\"]",
            "[\"staging\"]",
            "kubernetes_sd_configs[0].namespaces.names: [\"staging\"], not [\"project\"]",
        ),
        ("role: pod", "role: service", "kubernetes_sd_configs[0].role: \"service\", not \"pod\""),
        ("prometheus_io_port", "prometheus_io_ports", "the annotation port decides nothing"),
    ];
    for (from, to, what) in cases {
        assert!(written.contains(from));
        let wrong = json!(written.replace(from, to));
        let expected = format!("{CONFIG}: {path}: {what}");
        broken_at(production, (CONFIG, path, wrong), check, &expected);
    }
}
