//! The environments: the overlays that there are to be, and their namespaces.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::build;
use crate::object::entries;
use crate::overlay::{Findings, Overlay, broken_at, none};

/// What an environment is to be.
pub(crate) struct Environment {
    pub(crate) overlay: &'static str,
    pub(crate) namespace: &'static str,
    /// Of the Deployment; null where an autoscaler decides.
    pub(crate) replicas: Value,
    /// CPU and memory of broadcaster, and of NATS.
    pub(crate) broadcaster: (&'static str, &'static str),
    pub(crate) nats: (&'static str, &'static str),
    pub(crate) nats_replicas: u8,
    /// What each server of NATS has on disk; null where nothing lasts.
    pub(crate) storage: Value,
    pub(crate) level: &'static str,
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

/// The overlays that have nothing but the configuration of Azure's Prometheus, with their namespace.
pub(crate) const AZURE: [(&str, &str); 2] =
    [("azure-feature", "feature-ex-c4-e6"), ("azure-production", "project")];

/// Every namespaced object is in the namespace of its overlay, which is there under that name, and guarded.
fn namespaces(overlay: &Overlay, namespace: &str) -> Findings {
    let mut findings = Findings::new();
    for object in &overlay.objects {
        let expected = if object.kind() == "Namespace" { Value::Null } else { json!(namespace) };
        overlay.expect(&object.id(), "metadata.namespace", &expected, &mut findings);
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
fn every_object_is_in_its_namespace() {
    let mut findings = Findings::new();
    for environment in environments() {
        let overlay = build::overlay(environment.overlay);
        findings.extend(namespaces(overlay, environment.namespace));
        let id = format!("Namespace/{}", environment.namespace);
        let level = "metadata.labels[pod-security.kubernetes.io/enforce]";
        overlay.expect(&id, level, &json!("restricted"), &mut findings);
    }
    for (name, namespace) in AZURE {
        findings.extend(namespaces(build::overlay(name), namespace));
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
fn a_wrong_namespace_is_found() {
    let expected = "Service/nats: metadata.namespace: \"default\", not \"project\"";
    let wrong = ("Service/nats", "metadata.namespace", json!("default"));
    broken_at(build::overlay("production"), wrong, |overlay| namespaces(overlay, "project"), expected);
}
