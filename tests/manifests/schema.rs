//! Every object against its schema, strictly: what the schema does not know is a mistake.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::{ValidationError, Validator};
use serde_json::{Value, json};

use crate::build;
use crate::object::{Object, Pod, entries, list, text};
use crate::overlay::{Findings, Overlay, broken, none};
use testkit::process;

/// The schemas of custom resources; crds/README.md says where they are from.
const CUSTOM: &[(&str, &str, &str)] = &[
    ("argoproj.io/v1alpha1", "Application", include_str!("crds/application_v1alpha1.json")),
    ("argoproj.io/v1alpha1", "ApplicationSet", include_str!("crds/applicationset_v1alpha1.json")),
    ("argoproj.io/v1alpha1", "AppProject", include_str!("crds/appproject_v1alpha1.json")),
    ("keda.sh/v1alpha1", "ScaledObject", include_str!("crds/scaledobject_v1alpha1.json")),
    ("keda.sh/v1alpha1", "TriggerAuthentication", include_str!("crds/triggerauthentication_v1alpha1.json")),
    ("monitoring.coreos.com/v1", "PodMonitor", include_str!("crds/podmonitor_v1.json")),
    ("monitoring.coreos.com/v1", "PrometheusRule", include_str!("crds/prometheusrule_v1.json")),
    ("monitoring.coreos.com/v1", "ServiceMonitor", include_str!("crds/servicemonitor_v1.json")),
    (
        "secrets-store.csi.x-k8s.io/v1",
        "SecretProviderClass",
        include_str!("crds/secretproviderclass_v1.json"),
    ),
];

/// Checks every object of these: what Kubernetes has itself by kubernetes-validate, all in one run, since it is slow to
/// start; custom resources here. There is no kind that is left out.
pub(crate) fn check(overlays: &[Overlay]) -> Findings {
    let mut findings = Findings::new();
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for overlay in overlays {
        // What an overlay has in common with another one is looked at once.
        let new = overlay.objects.iter().filter(|object| seen.insert(object.0.to_string()));
        let (mut documents, mut count) = (String::new(), 0);
        for object in new {
            if let Some(schema) = custom(object) {
                let found = |error: ValidationError<'_>| {
                    overlay.finding(object, &error.instance_path().to_string(), &error)
                };
                findings.extend(validator(schema).iter_errors(&object.0).map(found));
            } else {
                documents += &format!("---\n{}\n", object.0);
                count += 1;
            }
        }
        let file = directory.path().join(&overlay.name);
        fs::write(&file, documents).expect("the directory is writable");
        files.push((file, count));
    }
    findings.extend(kubernetes_validate(directory.path(), &files));
    findings
}

/// The schema of a custom resource.
fn custom(object: &Object) -> Option<&'static str> {
    let fits =
        |(version, kind, _): &&(&str, &str, _)| *version == object.api_version() && *kind == object.kind();
    CUSTOM.iter().find(fits).map(|(.., schema)| *schema)
}

fn validator(schema: &str) -> Validator {
    let mut schema: Value = serde_json::from_str(schema).expect("a schema is JSON");
    schema["additionalProperties"] = json!(false);
    schema["properties"]["metadata"] = metadata();
    jsonschema::validator_for(&schema).expect("it is a schema")
}

/// What metadata may have in Git: the schemas of custom resources leave that to Kubernetes.
fn metadata() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": { "type": "string" },
            "namespace": { "type": "string" },
            "labels": texts,
            "annotations": texts,
            "finalizers": { "type": "array", "items": { "type": "string" } },
        },
    })
}

/// Runs kubernetes-validate over these files, each with so many objects; each has to be said to pass.
fn kubernetes_validate(directory: &Path, files: &[(PathBuf, usize)]) -> Findings {
    let mut command = Command::new(process::tool("kubernetes-validate", "KUBERNETES_VALIDATE"));
    let output = command.arg("--strict").args(files.iter().map(|(file, _)| file)).output();
    let output = output.expect("kubernetes-validate runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let (passed, failed): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.starts_with("INFO "));
    let folder = format!("{}/", directory.display());
    let mut findings: Findings = failed.iter().map(|line| line.replace(&folder, "")).collect();
    for (file, objects) in files {
        let start = format!("INFO {} passed for resource ", file.display());
        let looked_at = passed.iter().filter(|line| line.starts_with(&start)).count();
        if findings.is_empty() && looked_at != *objects {
            findings.push(format!("{}: {looked_at} of {objects} objects were looked at", file.display()));
        }
    }
    findings
}

/// What the API server refuses though the schemas allow it: names, labels.
pub(crate) fn names(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for object in &overlay.objects {
        // RBAC's own names may have other signs.
        let free = object.api_version().starts_with("rbac.authorization.k8s.io/");
        if !free && !is_name(object.name(), 253) {
            findings.push(overlay.finding(object, "metadata.name", "is no DNS name"));
        }
        let mut labelled = vec![("metadata.labels".to_owned(), object.get("metadata.labels"))];
        if let Some(pod) = object.pod() {
            labelled.push((pod.path("metadata.labels"), pod.labels()));
        }
        for (path, labels) in labelled {
            for (key, value) in entries(labels) {
                if !is_label(text(value)) {
                    findings.push(overlay.finding(
                        object,
                        &format!("{path}[{key}]"),
                        "is no value of a label",
                    ));
                }
            }
        }
        for (path, container) in object.pod().iter().flat_map(Pod::containers) {
            for port in list(&container["ports"]) {
                if !is_name(text(&port["name"]), 15) {
                    let path = format!("{path}.ports[{}]", port["name"]);
                    findings.push(overlay.finding(object, &path, "is no name of a port"));
                }
            }
        }
    }
    findings
}

fn is_name(name: &str, most: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| inner(*byte) && *byte != b'-');
    let bytes = name.as_bytes();
    bytes.len() <= most && bytes.iter().copied().all(inner) && end(bytes.first()) && end(bytes.last())
}

fn is_label(value: &str) -> bool {
    let is_end = |sign: char| sign.is_ascii_alphanumeric();
    let inner = |sign: char| is_end(sign) || matches!(sign, '-' | '_' | '.');
    value.is_empty()
        || value.len() <= 63
            && value.chars().all(inner)
            && value.starts_with(is_end)
            && value.ends_with(is_end)
}

#[test]
fn every_object_is_valid() {
    none(&check(build::overlays()));
}

#[test]
fn every_name_is_valid() {
    none(&build::overlays().iter().flat_map(names).collect());
}

fn check_one(overlay: &Overlay) -> Findings {
    check(std::slice::from_ref(overlay))
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_found() {
    let mut overlay = build::overlay("production").clone();
    overlay.object_mut("Deployment/broadcaster").set("spec.replica", json!(2));
    let findings = check_one(&overlay);
    let expected = "ERROR production did not validate for resource deployment/broadcaster against version 1.37: spec: \
                    Additional properties are not allowed ('replica' was unexpected)";
    assert_eq!(findings, [expected]);
}

#[test]
fn a_kind_without_a_schema_is_found() {
    let mut overlay = build::overlay("production").clone();
    overlay.object_mut("Deployment/broadcaster").set("kind", json!("Deploiment"));
    let findings = check_one(&overlay);
    let expected =
        "Couldn't find schema for kind Deploiment with api version apps/v1 for kubernetes version 1.37";
    assert_eq!(findings, [format!("WARN production {expected}")]);
}

#[test]
fn a_field_that_a_custom_resource_does_not_know_is_found() {
    let break_it = |overlay: &mut Overlay| {
        overlay.object_mut("ScaledObject/broadcaster").set("spec.maxReplicas", json!(5));
    };
    let expected = "ScaledObject/broadcaster: /spec: Additional properties are not allowed ('maxReplicas' was unexpected)";
    broken(build::overlay("production-durable"), break_it, check_one, expected);
}

#[test]
fn a_name_that_is_none_is_found() {
    let break_it = |overlay: &mut Overlay| {
        overlay.object_mut("Service/broadcaster-svc").set("metadata.name", json!("Broadcaster"));
    };
    let expected = "Service/Broadcaster: metadata.name: is no DNS name";
    broken(build::overlay("production"), break_it, names, expected);
}
