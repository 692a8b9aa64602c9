//! The figures of platform.md and of the issue, literally.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::build;
use crate::object::{entries, list, text};
use crate::overlay::{Findings, Overlay, broken, none};

/// What an environment is to be.
pub(crate) struct Environment {
    pub(crate) overlay: &'static str,
    pub(crate) namespace: &'static str,
    /// Of the Deployment; null where an autoscaler decides.
    replicas: Value,
    /// CPU and memory of broadcaster, and of NATS.
    broadcaster: (&'static str, &'static str),
    nats: (&'static str, &'static str),
    nats_replicas: u8,
    /// What each server of NATS has on disk; null where nothing lasts.
    storage: Value,
    level: &'static str,
}

/// The small environments: somebody tries things out.
const SMALL: Environment = Environment {
    overlay: "development",
    namespace: "broadcaster-dev",
    replicas: Value::Null,
    broadcaster: ("50m", "64Mi"),
    nats: ("50m", "128Mi"),
    nats_replicas: 1,
    storage: Value::Null,
    level: "debug",
};

/// The environments that others rely on.
const LARGE: Environment = Environment {
    overlay: "production",
    namespace: "project",
    replicas: Value::Null,
    broadcaster: ("100m", "128Mi"),
    nats: ("500m", "512Mi"),
    nats_replicas: 3,
    storage: Value::Null,
    level: "info",
};

/// Every environment that runs broadcaster.
pub(crate) fn environments() -> [Environment; 5] {
    let storage = || json!("10Gi");
    [
        Environment { replicas: json!(1), ..SMALL },
        Environment { overlay: "feature", namespace: "feature-ex-c4-e6", replicas: json!(1), ..SMALL },
        Environment {
            overlay: "staging",
            namespace: "staging",
            replicas: json!(2),
            storage: storage(),
            ..LARGE
        },
        Environment { storage: storage(), ..LARGE },
        Environment { overlay: "production-durable", storage: storage(), ..LARGE },
    ]
}

/// The overlays that have nothing but the configuration of Azure's Prometheus, and the namespace that it is to look at. The
/// configuration itself is where Azure's agent looks for it: in kube-system, where platform.md has the namespace of the pods.
pub(crate) const AZURE: [(&str, &str); 2] =
    [("azure-feature", "feature-ex-c4-e6"), ("azure-production", "project")];

/// What is the same in every environment: object, path, figure.
fn everywhere() -> Vec<(&'static str, String, Value)> {
    let mut figures = Vec::new();
    let mut of = |id: &'static str, under: &str, figures_of_it: &[(&str, Value)]| {
        for (path, figure) in figures_of_it {
            figures.push((id, format!("{under}{path}"), figure.clone()));
        }
    };
    let scraped = [
        ("[prometheus.io/scrape]", json!("true")),
        ("[prometheus.io/port]", json!("7777")),
        ("[prometheus.io/path]", json!("/metrics")),
    ];
    let labels = [
        ("[app.kubernetes.io/name]", json!("broadcaster")),
        ("[app.kubernetes.io/part-of]", json!("todo-app")),
    ];
    let user = [("runAsUser", json!(1001)), ("runAsGroup", json!(1001)), ("runAsNonRoot", json!(true))];
    for id in ["Deployment/broadcaster", "StatefulSet/nats"] {
        of(id, "spec.template.metadata.annotations", &scraped);
        of(id, "spec.template.spec.securityContext.", &user);
        of(id, "spec.template.spec.", &[("automountServiceAccountToken", json!(false))]);
    }
    of("Deployment/broadcaster", "metadata.labels", &labels);
    of("Deployment/broadcaster", "spec.template.metadata.labels", &labels);
    of(
        "Deployment/broadcaster",
        "spec.",
        &[
            ("strategy.rollingUpdate.maxUnavailable", json!(0)),
            ("strategy.type", Value::Null), // RollingUpdate is the default
            ("selector.matchLabels", json!({ "app.kubernetes.io/name": "broadcaster" })),
        ],
    );
    of(
        "Deployment/broadcaster",
        "spec.template.spec.containers[broadcaster].",
        &[
            ("image", json!("registry.example.com/broadcaster:0.1.0")),
            ("ports[http].containerPort", json!(8002)),
            ("ports[metrics].containerPort", json!(7777)),
            ("livenessProbe.httpGet", json!({ "path": "/healthz", "port": "http" })),
            ("readinessProbe.httpGet", json!({ "path": "/health", "port": "http" })),
            ("startupProbe.httpGet", json!({ "path": "/healthz", "port": "http" })),
        ],
    );
    of("Service/broadcaster-svc", "spec.", &[("ports[0].port", json!(8002)), ("ports[1]", Value::Null)]);
    of("Service/nats", "spec.", &[("ports[0].port", json!(4222)), ("ports[1]", Value::Null)]);
    of(
        "Service/nats-headless",
        "spec.",
        &[
            ("clusterIP", json!("None")),
            ("ports[0].port", json!(4222)),
            ("ports[1].port", json!(6222)),
            ("ports[2].port", json!(8222)),
        ],
    );
    for id in ["Service/broadcaster-metrics", "Service/nats-metrics"] {
        of(id, "metadata.annotations", &scraped);
        of(id, "spec.", &[("ports[0].port", json!(7777)), ("ports[1]", Value::Null)]);
    }
    of(
        "StatefulSet/nats",
        "spec.template.spec.containers",
        &[
            ("[nats].ports[client].containerPort", json!(4222)),
            ("[nats].ports[cluster].containerPort", json!(6222)),
            ("[nats].ports[monitor].containerPort", json!(8222)),
            ("[nats-exporter].ports[metrics].containerPort", json!(7777)),
        ],
    );
    figures
}

/// The figures of an environment.
pub(crate) fn check(overlay: &Overlay, environment: &Environment) -> Findings {
    let mut findings = Findings::new();
    for (id, path, figure) in everywhere() {
        overlay.expect(id, &path, &figure, &mut findings);
    }
    let (cpu, memory) = environment.broadcaster;
    let resources = |cpu: &str, memory: &str| json!({ "cpu": cpu, "memory": memory });
    let container = "spec.template.spec.containers[broadcaster].resources";
    overlay.expect("Deployment/broadcaster", "spec.replicas", &environment.replicas, &mut findings);
    for bound in ["requests", "limits"] {
        let path = format!("{container}.{bound}");
        overlay.expect("Deployment/broadcaster", &path, &resources(cpu, memory), &mut findings);
        let (cpu, memory) = environment.nats;
        let path = format!("spec.template.spec.containers[nats].resources.{bound}");
        overlay.expect("StatefulSet/nats", &path, &resources(cpu, memory), &mut findings);
    }
    overlay.expect("StatefulSet/nats", "spec.replicas", &json!(environment.nats_replicas), &mut findings);
    let storage = "spec.volumeClaimTemplates[0].spec.resources.requests.storage";
    overlay.expect("StatefulSet/nats", storage, &environment.storage, &mut findings);
    findings
}

/// Every namespaced object is in the namespace of its overlay, which is there under that name, and guarded.
fn namespaces(overlay: &Overlay, namespace: &str) -> Findings {
    let mut findings = Findings::new();
    for object in &overlay.objects {
        let expected = if object.kind() == "Namespace" { Value::Null } else { json!(namespace) };
        overlay.expect(&object.id(), "metadata.namespace", &expected, &mut findings);
    }
    findings
}

/// What production has beside that: who decides how many there are, and how much there may be.
fn production(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    let behavior = json!({
        "scaleUp": { "stabilizationWindowSeconds": 60 },
        "scaleDown": { "stabilizationWindowSeconds": 300 },
    });
    let mut expect = |id: &str, path: &str, figure: Value| overlay.expect(id, path, &figure, &mut findings);
    if overlay.name == "production" {
        let hpa = "HorizontalPodAutoscaler/broadcaster";
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "broadcaster" });
        let cpu = json!({
            "type": "Resource",
            "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 } },
        });
        expect(hpa, "spec.scaleTargetRef", target);
        expect(hpa, "spec.minReplicas", json!(2));
        expect(hpa, "spec.maxReplicas", json!(5));
        expect(hpa, "spec.metrics", json!([cpu]));
        expect(hpa, "spec.behavior", behavior);
    } else {
        let scaled = "ScaledObject/broadcaster";
        expect(scaled, "spec.scaleTargetRef.name", json!("broadcaster"));
        expect(scaled, "spec.minReplicaCount", json!(2));
        expect(scaled, "spec.maxReplicaCount", json!(5));
        expect(scaled, "spec.triggers[0].type", json!("nats-jetstream"));
        let lag = "spec.triggers[0].metadata";
        expect(scaled, &format!("{lag}.account"), json!("$G"));
        expect(scaled, &format!("{lag}.stream"), json!("TODOS"));
        expect(scaled, &format!("{lag}.consumer"), json!("broadcaster-todos"));
        expect(scaled, "spec.advanced.horizontalPodAutoscalerConfig.behavior", behavior);
    }
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
fn every_environment_is_there_and_no_other() {
    let expected: BTreeSet<_> = environments()
        .iter()
        .map(|environment| environment.overlay)
        .chain(AZURE.map(|(overlay, _)| overlay))
        .map(str::to_owned)
        .collect();
    assert_eq!(build::folders("overlays"), expected);
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
fn every_object_is_in_its_namespace() {
    let mut findings = Findings::new();
    for environment in environments() {
        let overlay = build::overlay(environment.overlay);
        findings.extend(namespaces(overlay, environment.namespace));
        let id = format!("Namespace/{}", environment.namespace);
        let level = "metadata.labels[pod-security.kubernetes.io/enforce]";
        overlay.expect(&id, level, &json!("restricted"), &mut findings);
    }
    for (name, _) in AZURE {
        findings.extend(namespaces(build::overlay(name), "kube-system"));
    }
    none(&findings);
}

#[test]
fn an_environment_of_a_branch_is_all_of_that_branch() {
    for name in ["feature", "azure-feature"] {
        let folder = build::k8s().join("overlays").join(name);
        let yaml = build::kustomize(&folder).expect("it builds");
        assert!(yaml.contains(build::BRANCH.0), "{name} does not have {}", build::BRANCH.0);
        // It is replaced as text, so it must stand in no other case, and not where YAML would read it otherwise.
        assert_eq!(
            yaml.to_uppercase().matches(build::BRANCH.0).count(),
            yaml.matches(build::BRANCH.0).count()
        );
        for object in &build::overlay(name).objects {
            for (path, value) in entries(&object.0) {
                assert!(!value.to_string().contains(build::BRANCH.0), "{name}: {}: {path}", object.id());
            }
        }
    }
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
        ("Service/broadcaster-svc", "spec.ports[0].port", json!(80), "80, not 8002"),
        (
            "Service/nats-metrics",
            "metadata.annotations[prometheus.io/port]",
            json!("1"),
            r#""1", not "7777""#,
        ),
        ("StatefulSet/nats", "spec.replicas", json!(2), "2, not 3"),
    ];
    for (id, path, wrong, what) in cases {
        let expected = format!("{id}: {path}: {what}");
        broken(overlay, |overlay| overlay.object_mut(id).set(path, wrong), check_production, &expected);
    }
}

#[test]
fn a_wrong_autoscaler_is_found() {
    let cases = [
        ("production", "HorizontalPodAutoscaler/broadcaster", "spec.maxReplicas", json!(9), "9, not 5"),
        (
            "production",
            "HorizontalPodAutoscaler/broadcaster",
            "spec.behavior.scaleUp.stabilizationWindowSeconds",
            json!(0),
            "",
        ),
        (
            "production-durable",
            "ScaledObject/broadcaster",
            "spec.triggers[0].metadata.stream",
            json!("X"),
            "",
        ),
    ];
    for (name, id, path, wrong, what) in cases {
        let mut overlay = build::overlay(name).clone();
        none(&production(&overlay));
        overlay.object_mut(id).set(path, wrong);
        let findings = production(&overlay);
        assert!(findings.len() == 1 && findings[0].contains(what), "{findings:?}");
        let place = format!("{name}: {id}: {}", path.split(".scaleUp").next().unwrap_or_default());
        assert!(findings[0].starts_with(&place), "{findings:?}");
    }
    let expected = "Deployment/broadcaster: spec.replicas: 3, not null";
    let set =
        |overlay: &mut Overlay| overlay.object_mut("Deployment/broadcaster").set("spec.replicas", json!(3));
    broken(build::overlay("production"), set, one_autoscaler, expected);
}

#[test]
fn a_wrong_namespace_is_found() {
    let expected = "Service/nats: metadata.namespace: \"default\", not \"project\"";
    let set = |overlay: &mut Overlay| {
        overlay.object_mut("Service/nats").set("metadata.namespace", json!("default"));
    };
    broken(build::overlay("production"), set, |overlay| namespaces(overlay, "project"), expected);
}

#[test]
fn an_image_of_somebody_else_is_found() {
    let path = "spec.template.spec.containers[nats].image";
    let expected = format!("StatefulSet/nats: {path}: nats:2 is none of ours");
    let set = |overlay: &mut Overlay| overlay.object_mut("StatefulSet/nats").set(path, json!("nats:2"));
    broken(build::overlay("production"), set, images, &expected);
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
