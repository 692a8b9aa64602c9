//! The figures of platform.md and of the issue, literally.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::build;
use crate::environment::{Environment, environments};
use crate::object::{list, text};
use crate::overlay::{Findings, Overlay, broken, broken_at, none};

/// What is the same in every environment.
const EVERYWHERE: &str = r#"
Deployment/broadcaster
    metadata.labels[app.kubernetes.io/name] = "broadcaster"
    metadata.labels[app.kubernetes.io/part-of] = "todo-app"
    spec.selector.matchLabels = {"app.kubernetes.io/name": "broadcaster"}
    spec.strategy.type = null
    spec.strategy.rollingUpdate.maxUnavailable = 0
    spec.template.metadata.labels[app.kubernetes.io/name] = "broadcaster"
    spec.template.metadata.labels[app.kubernetes.io/part-of] = "todo-app"
    spec.template.metadata.annotations[prometheus.io/scrape] = "true"
    spec.template.metadata.annotations[prometheus.io/port] = "7777"
    spec.template.metadata.annotations[prometheus.io/path] = "/metrics"
    spec.template.spec.securityContext.runAsUser = 1001
    spec.template.spec.securityContext.runAsGroup = 1001
    spec.template.spec.containers[1] = null
    spec.template.spec.containers[broadcaster].image = "registry.example.com/broadcaster:0.1.0"
    spec.template.spec.containers[broadcaster].ports[http].containerPort = 8002
    spec.template.spec.containers[broadcaster].ports[metrics].containerPort = 7777
    spec.template.spec.containers[broadcaster].startupProbe.httpGet = {"path": "/healthz", "port": "http"}
    spec.template.spec.containers[broadcaster].livenessProbe.httpGet = {"path": "/healthz", "port": "http"}
    spec.template.spec.containers[broadcaster].readinessProbe.httpGet = {"path": "/health", "port": "http"}
    spec.template.spec.containers[broadcaster].volumeMounts[config].mountPath = "/etc/broadcaster/config"
    spec.template.spec.containers[broadcaster].volumeMounts[secrets].mountPath = "/etc/broadcaster/secrets"
    spec.template.spec.containers[broadcaster].volumeMounts[secrets].readOnly = true

Service/broadcaster-svc
    spec.ports = [{"name": "http", "port": 8002, "targetPort": "http", "appProtocol": "http"}]

Service/broadcaster-metrics
    metadata.annotations[prometheus.io/scrape] = null
    spec.ports = [{"name": "metrics", "port": 7777, "targetPort": "metrics", "appProtocol": "http"}]

StatefulSet/nats
    spec.template.metadata.annotations[prometheus.io/scrape] = "true"
    spec.template.metadata.annotations[prometheus.io/port] = "7777"
    spec.template.metadata.annotations[prometheus.io/path] = "/metrics"
    spec.template.spec.securityContext.runAsUser = 1001
    spec.template.spec.containers[2] = null
    spec.template.spec.containers[nats].ports[client].containerPort = 4222
    spec.template.spec.containers[nats].ports[cluster].containerPort = 6222
    spec.template.spec.containers[nats].ports[monitor].containerPort = 8222
    spec.template.spec.containers[nats-exporter].ports[metrics].containerPort = 7777

Service/nats
    spec.ports = [{"name": "client", "port": 4222, "targetPort": "client", "appProtocol": "tcp"}]

Service/nats-headless
    spec.clusterIP = "None"
    spec.ports[client].port = 4222
    spec.ports[client].appProtocol = "tcp"
    spec.ports[cluster].port = 6222
    spec.ports[cluster].appProtocol = "tcp"
    spec.ports[monitor].port = 8222
    spec.ports[monitor].appProtocol = "http"

Service/nats-metrics
    metadata.annotations[prometheus.io/scrape] = null
    spec.ports = [{"name": "metrics", "port": 7777, "targetPort": "metrics", "appProtocol": "http"}]
"#;

/// How production scales in core mode.
const HPA: &str = r#"
HorizontalPodAutoscaler/broadcaster
    spec.scaleTargetRef = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "broadcaster"}
    spec.minReplicas = 2
    spec.maxReplicas = 5
    spec.metrics[1] = null
    spec.metrics[0].resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    spec.behavior.scaleUp.stabilizationWindowSeconds = 60
    spec.behavior.scaleDown.stabilizationWindowSeconds = 300
"#;

/// How production scales in durable mode.
const KEDA: &str = r#"
ScaledObject/broadcaster
    spec.scaleTargetRef = {"name": "broadcaster"}
    spec.minReplicaCount = 2
    spec.maxReplicaCount = 5
    spec.triggers[0].type = "nats-jetstream"
    spec.triggers[0].metadata.natsServerMonitoringEndpoint = "nats-headless.project.svc:8222"
    spec.triggers[0].metadata.account = "$G"
    spec.triggers[0].metadata.stream = "TODOS"
    spec.triggers[0].metadata.consumer = "broadcaster-todos"
    spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.stabilizationWindowSeconds = 60
    spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds = 300
"#;

/// Holds an overlay against a table: what is to be at which path of which object.
pub(crate) fn table(overlay: &Overlay, table: &str) -> Findings {
    let (mut findings, mut id) = (Findings::new(), "");
    for line in table.lines().filter(|line| !line.is_empty()) {
        match line.trim_start().split_once(" = ") {
            None => id = line,
            Some((path, figure)) => {
                let figure = serde_json::from_str(figure).unwrap_or_else(|error| panic!("{line}: {error}"));
                overlay.expect(id, path, &figure, &mut findings);
            }
        }
    }
    findings
}

/// The figures of an environment.
pub(crate) fn check(overlay: &Overlay, environment: &Environment) -> Findings {
    let mut findings = table(overlay, EVERYWHERE);
    let mut expect = |id: &str, path: &str, figure: &Value| overlay.expect(id, path, figure, &mut findings);
    let (deployment, nats) = ("Deployment/broadcaster", "StatefulSet/nats");
    expect(deployment, "spec.replicas", &environment.replicas);
    expect(nats, "spec.replicas", &json!(environment.nats_replicas));
    let storage = "spec.volumeClaimTemplates[0].spec.resources.requests.storage";
    expect(nats, storage, &environment.storage);
    for (id, container, (cpu, memory)) in
        [(deployment, "broadcaster", environment.broadcaster), (nats, "nats", environment.nats)]
    {
        for bound in ["requests", "limits"] {
            let path = format!("spec.template.spec.containers[{container}].resources.{bound}");
            expect(id, &path, &json!({ "cpu": cpu, "memory": memory }));
        }
    }
    findings
}

/// What production has beside that: who decides how many there are, and how much there may be.
fn production(overlay: &Overlay) -> Findings {
    let mut findings = table(overlay, if overlay.name == "production" { HPA } else { KEDA });
    for kind in ["ResourceQuota", "LimitRange"] {
        if overlay.of_kind(kind).count() != 1 {
            findings.push(format!("{}: {kind}: there is not one", overlay.name));
        }
    }
    findings.extend(one_autoscaler(overlay));
    findings
}

/// Two autoscalers of one Deployment undo each other, and both what `replicas` says.
pub(crate) fn one_autoscaler(overlay: &Overlay) -> Findings {
    let autoscalers: Vec<_> = overlay
        .objects
        .iter()
        .filter(|object| matches!(object.kind(), "HorizontalPodAutoscaler" | "ScaledObject"))
        .collect();
    let mut findings = Findings::new();
    let mut targets = BTreeSet::new();
    for autoscaler in &autoscalers {
        let target = format!("Deployment/{}", autoscaler.text("spec.scaleTargetRef.name"));
        overlay.expect(&target, "spec.replicas", &Value::Null, &mut findings);
        if !targets.insert(target.clone()) {
            let what = format_args!("{target} has another autoscaler too");
            findings.push(overlay.finding(autoscaler, "spec.scaleTargetRef", what));
        }
    }
    let deployments = overlay.of_kind("Deployment").filter(|object| object.get("spec.replicas").is_null());
    for deployment in deployments.filter(|object| !targets.contains(&object.id())) {
        findings.push(overlay.finding(deployment, "spec.replicas", "nobody says how many"));
    }
    findings
}

/// The images: a version each, and whose they are.
fn images(overlay: &Overlay) -> Findings {
    let official = [
        "docker.io/library/nats:",
        "docker.io/natsio/prometheus-nats-exporter:",
        "docker.io/natsio/nats-box:",
    ];
    let own = ["registry.example.com/broadcaster:", "docker.io/nginxinc/nginx-unprivileged:"];
    let mut findings = Findings::new();
    for pod in overlay.pods() {
        for (path, container) in pod.containers() {
            let image = text(&container["image"]);
            if !official.iter().chain(&own).any(|known| image.starts_with(known)) {
                let path = format!("{path}.image");
                findings.push(overlay.finding(pod.owner, &path, format_args!("{image} is none of ours")));
            }
        }
    }
    findings
}

/// Every label of broadcaster's and NATS's objects that platform.md groups them by.
fn labels(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for object in &overlay.objects {
        let part = "metadata.labels[app.kubernetes.io/part-of]";
        overlay.expect(&object.id(), part, &json!("todo-app"), &mut findings);
    }
    findings
}

#[test]
fn the_figures_are_those_of_the_platform() {
    let each = environments();
    let findings = each.iter().flat_map(|environment| {
        let overlay = build::overlay(environment.overlay);
        let checks = [check(overlay, environment), one_autoscaler(overlay), images(overlay), labels(overlay)];
        checks.concat()
    });
    none(&findings.collect());
}

#[test]
fn production_scales_and_is_bounded() {
    let overlays = ["production", "production-durable"];
    none(&overlays.iter().flat_map(|name| production(build::overlay(name))).collect());
}

#[test]
fn a_wrong_figure_is_found() {
    let [_, _, _, production_environment, _] = environments();
    let check_production = |overlay: &Overlay| check(overlay, &production_environment);
    let overlay = build::overlay("production");
    let cases = [
        ("Deployment/broadcaster", "spec.replicas", json!(3), "3, not null"),
        ("Deployment/broadcaster", "spec.template.spec.securityContext.runAsUser", json!(0), "0, not 1001"),
        (
            "Deployment/broadcaster",
            "spec.template.spec.containers[broadcaster].resources.limits",
            json!({ "cpu": "1", "memory": "128Mi" }),
            r#"{"cpu":"1","memory":"128Mi"}, not {"cpu":"100m","memory":"128Mi"}"#,
        ),
        ("Service/nats-headless", "spec.ports[client].port", json!(80), "80, not 4222"),
        (
            "StatefulSet/nats",
            "spec.template.metadata.annotations[prometheus.io/port]",
            json!("1"),
            r#""1", not "7777""#,
        ),
        ("StatefulSet/nats", "spec.replicas", json!(2), "2, not 3"),
    ];
    for (id, path, wrong, what) in cases {
        let expected = format!("{id}: {path}: {what}");
        broken_at(overlay, (id, path, wrong), check_production, &expected);
    }
    // What is annotated twice is scraped twice.
    let annotations = json!({ "prometheus.io/scrape": "true" });
    let damage = |overlay: &mut Overlay| {
        overlay.object_mut("Service/nats-metrics").set("metadata.annotations", annotations.clone());
    };
    let expected = "Service/nats-metrics: metadata.annotations[prometheus.io/scrape]: \"true\", not null";
    broken(overlay, damage, check_production, expected);
}

#[test]
fn a_wrong_autoscaler_is_found() {
    let window = "spec.behavior.scaleUp.stabilizationWindowSeconds";
    let stream = "spec.triggers[0].metadata.stream";
    let cases = [
        ("production", "HorizontalPodAutoscaler/broadcaster", "spec.maxReplicas", json!(9), "9, not 5"),
        ("production", "HorizontalPodAutoscaler/broadcaster", window, json!(0), "0, not 60"),
        ("production-durable", "ScaledObject/broadcaster", stream, json!("X"), "\"X\", not \"TODOS\""),
        ("production-durable", "Deployment/broadcaster", "spec.replicas", json!(3), "3, not null"),
    ];
    for (name, id, path, wrong, what) in cases {
        let expected = format!("{id}: {path}: {what}");
        broken_at(build::overlay(name), (id, path, wrong), production, &expected);
    }
    broken(
        build::overlay("production-durable"),
        |overlay| overlay.objects.retain(|object| object.kind() != "ScaledObject"),
        one_autoscaler,
        "Deployment/broadcaster: spec.replicas: nobody says how many",
    );
    broken(
        build::overlay("production"),
        |overlay| {
            let other = build::overlay("production-durable").find("ScaledObject/broadcaster");
            overlay.objects.extend(other.cloned());
        },
        one_autoscaler,
        "ScaledObject/broadcaster: spec.scaleTargetRef: Deployment/broadcaster has another autoscaler too",
    );
}

#[test]
fn an_image_of_somebody_else_is_found() {
    let path = "spec.template.spec.containers[nats].image";
    let expected = format!("StatefulSet/nats: {path}: nats:2 is none of ours");
    broken_at(build::overlay("production"), ("StatefulSet/nats", path, json!("nats:2")), images, &expected);
}

/// The log level and the names that the embedded configuration has to have.
pub(crate) fn configured(environment: &Environment, configuration: &toml::Table) -> Findings {
    let mut findings = Findings::new();
    let route = &configuration["routes"]["todos"];
    let level = configuration["log"].get("level").and_then(toml::Value::as_str).unwrap_or("info");
    let durable = environment.overlay == "production-durable";
    let stream = route.get("jetstream").map(|jetstream| jetstream["stream"].as_str());
    let said = [
        ("log.level", Some(level), environment.level),
        ("nats.url", configuration["nats"]["url"].as_str(), "nats://nats:4222"),
        ("routes.todos.subject", route["subject"].as_str(), "todos.events"),
        ("routes.todos.queue_group", route["queue_group"].as_str(), "broadcaster-workers"),
        (
            "routes.todos.jetstream.stream",
            stream.unwrap_or(Some("none")),
            if durable { "TODOS" } else { "none" },
        ),
    ];
    for (key, found, expected) in said {
        if found != Some(expected) {
            findings.push(format!(
                "{}: broadcaster.toml: {key}: {found:?}, not {expected:?}",
                environment.overlay
            ));
        }
    }
    let others: Vec<_> = route_names(configuration).filter(|name| *name != "todos").collect();
    if !others.is_empty() {
        findings.push(format!("{}: broadcaster.toml: routes: {others:?}", environment.overlay));
    }
    findings
}

fn route_names(configuration: &toml::Table) -> impl Iterator<Item = &str> {
    configuration["routes"].as_table().into_iter().flat_map(|routes| routes.keys().map(String::as_str))
}

/// What NATS is asked to keep, as the Job's files say it.
#[test]
fn the_stream_and_its_consumer_are_those_of_the_platform() {
    let overlay = build::overlay("production-durable");
    let files = overlay.of_kind("ConfigMap").find(|object| object.name().starts_with("nats-streams"));
    let files = files.expect("the Job has its files");
    let read = |name: &str| -> Value {
        let text = files.text(&format!("data[{name}]"));
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let stream = read("stream-TODOS.json");
    assert_eq!((text(&stream["name"]), list(&stream["subjects"])), ("TODOS", &[json!("todos.>")][..]));
    assert_eq!((&stream["storage"], &stream["num_replicas"]), (&json!("file"), &json!(3)));
    let consumer = read("consumer-TODOS.broadcaster-todos.json");
    assert_eq!(consumer["durable_name"], "broadcaster-todos");
    assert_eq!(consumer["filter_subject"], "todos.events");
    assert_eq!((&consumer["ack_policy"], &consumer["max_deliver"]), (&json!("explicit"), &json!(-1)));
    // 2,048 for each lane of each replica, and of the one more that an update starts.
    assert!(consumer["max_ack_pending"].as_u64() >= Some(6 * 2_048));
    let dead = read("stream-BROADCASTER_DEAD.json");
    assert_eq!(dead["name"], "BROADCASTER_DEAD");
    assert_eq!(list(&dead["subjects"]), [json!("broadcaster.dead.>")]);
    assert_eq!(dead["num_replicas"], 3);
}
