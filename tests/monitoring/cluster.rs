//! What the rules take for granted in the cluster: that things are called so, and that somebody asks for the metrics.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::rules::Rules;
use crate::{read, read_yaml, repository};
use testkit::process;

const COMPONENT: &str = "k8s/components/prometheus-operator";

/// The objects in the YAML files of these folders.
fn objects(folders: &[&str]) -> Vec<Value> {
    let mut objects = Vec::new();
    for folder in folders {
        let entries = repository(folder).read_dir().unwrap_or_else(|error| panic!("{folder}: {error}"));
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("a folder can be read").file_name()).collect();
        names.sort();
        let names = names.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(".yaml"));
        objects.extend(names.flat_map(|name| read_yaml::<Value>(&format!("{folder}/{name}"))));
    }
    objects
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// What `kubectl kustomize` makes of a folder.
fn kustomize(folder: &Path) -> Vec<Value> {
    let mut kubectl = Command::new(process::tool("kubectl", "KUBECTL"));
    let output = kubectl.arg("kustomize").arg(folder).output().expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("manifests are text");
    serde_saphyr::from_multiple(&text).expect("kubectl writes YAML")
}

/// Copies a component and puts a kustomization beside it that uses it; gives its folder.
fn overlay_with(component: &str, directory: &Path) -> std::path::PathBuf {
    let (copy, overlay) = (directory.join("component"), directory.join("overlay"));
    std::fs::create_dir_all(&copy).expect("the directory is writable");
    std::fs::create_dir_all(&overlay).expect("the directory is writable");
    for file in repository(component).read_dir().expect("the component is there") {
        let file = file.expect("a folder can be read");
        std::fs::copy(file.path(), copy.join(file.file_name())).expect("a file can be copied");
    }
    std::fs::write(overlay.join("kustomization.yaml"), "components: [../component]\n")
        .expect("it is writable");
    overlay
}

#[test]
fn every_service_monitor_finds_its_port() {
    let services = objects(&["k8s/base/broadcaster", "k8s/base/nats"]);
    let monitors = objects(&[COMPONENT]);
    let mut found = BTreeMap::new();
    for monitor in of_kind(&monitors, "ServiceMonitor") {
        let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().expect("it selects by labels");
        let endpoint = &monitor["spec"]["endpoints"][0];
        let selected = of_kind(&services, "Service").into_iter().filter(|service| {
            let labels = &service["metadata"]["labels"];
            let ports = service["spec"]["ports"].as_array().expect("a service has ports");
            wanted.iter().all(|(label, value)| labels[label] == *value)
                && ports.iter().any(|port| port["name"] == endpoint["port"])
        });
        for service in selected {
            assert_eq!(endpoint["path"], "/metrics", "{}", service["metadata"]["name"]);
            found.insert(service["metadata"]["name"].to_string(), monitor["metadata"]["name"].to_string());
        }
    }
    let expected = [("\"broadcaster-metrics\"", "\"broadcaster\""), ("\"nats-metrics\"", "\"nats\"")];
    assert_eq!(found, expected.map(|(service, monitor)| (service.to_owned(), monitor.to_owned())).into());
}

/// Who discovers by both, as most do, would scrape all twice.
#[test]
fn pods_are_annotated_and_services_are_not() {
    for (folder, kind) in [("k8s/base/broadcaster", "Deployment"), ("k8s/base/nats", "StatefulSet")] {
        let all = objects(&[folder]);
        let pods = &of_kind(&all, kind)[0]["spec"]["template"]["metadata"]["annotations"];
        for name in ["scrape", "port", "path"].map(|name| format!("prometheus.io/{name}")) {
            assert!(pods[&name].is_string(), "{folder}: {name} is not among {pods}");
            for service in of_kind(&all, "Service") {
                assert!(service["metadata"]["annotations"][&name].is_null(), "{folder}: {service}");
            }
        }
    }
}

#[test]
fn the_exporter_of_nats_is_told_to_show_what_is_used() {
    let nats = objects(&["k8s/base/nats"]);
    let sets = of_kind(&nats, "StatefulSet");
    let containers = sets[0]["spec"]["template"]["spec"]["containers"].as_array().expect("it has containers");
    let exporter = containers.iter().find(|container| container["name"] == "nats-exporter");
    let arguments = exporter.expect("there is an exporter")["args"].as_array().expect("it has arguments");
    for flag in ["-varz", "-healthz", "-jsz=all"] {
        assert!(arguments.iter().any(|argument| argument == flag), "{flag} is not in {arguments:?}");
    }
}

#[test]
fn deployment_and_container_are_called_as_the_rules_say() {
    let broadcaster = objects(&["k8s/base/broadcaster"]);
    let deployment = of_kind(&broadcaster, "Deployment")[0];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let names =
        [&deployment["metadata"]["name"], &container["name"]].map(|name| name.as_str().unwrap_or_default());
    for rule in Rules::load().alerts() {
        for (label, name) in ["deployment=\"", "container=\""].into_iter().zip(names) {
            for after in rule.expr.split(label).skip(1) {
                assert!(
                    after.starts_with(&format!("{name}\"")),
                    "{}: not {name}: {label}{after}",
                    rule.alert
                );
            }
        }
    }
}

/// The second example in the comment of the component's kustomization, which says how to link to a copy of the runbook.
#[test]
fn the_place_of_the_runbook_can_be_replaced_as_documented() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let overlay = overlay_with(COMPONENT, directory.path());
    let comment = read(&format!("{COMPONENT}/kustomization.yaml"));
    let example: Vec<_> = comment
        .lines()
        .skip_while(|line| !line.starts_with("#   configMapGenerator:"))
        .map_while(|line| line.strip_prefix("#   "))
        .collect();
    let above = directory.path().join("above");
    std::fs::create_dir(&above).expect("the directory is writable");
    let text =
        format!("resources: [../{}]\n{}\n", overlay.file_name().unwrap().display(), example.join("\n"));
    std::fs::write(above.join("kustomization.yaml"), text).expect("the directory is writable");
    let built = kustomize(&above);
    assert!(of_kind(&built, "ConfigMap").is_empty(), "the example leaves a ConfigMap behind");
    let rules = of_kind(&built, "PrometheusRule")[0];
    let groups = rules["spec"]["groups"].as_array().expect("there are groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("there are rules"));
    let urls: Vec<_> = rules.filter_map(|rule| rule["annotations"]["runbook_url"].as_str()).collect();
    assert_eq!(urls.len(), Rules::load().alerts().count());
    for url in urls {
        assert!(url.starts_with("https://github.com/YOU/broadcaster/blob/main/docs/runbook.md#"), "{url}");
    }
}

#[test]
fn grafana_finds_the_dashboard_by_its_label() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let built = kustomize(&overlay_with("k8s/components/dashboards", directory.path()));
    let [map] = &of_kind(&built, "ConfigMap")[..] else { panic!("not one ConfigMap: {built:?}") };
    assert_eq!(map["metadata"]["name"], "broadcaster-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["data"]["broadcaster.json"], read("k8s/components/dashboards/broadcaster.json"));
}
