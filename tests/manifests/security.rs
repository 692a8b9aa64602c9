//! What the pods may do, and what may be seen of them: Pod Security's level "restricted", and more than that.

use serde_json::{Value, json};

use crate::build;
use crate::object::{Pod, at, entries, list, text};
use crate::overlay::{Findings, Overlay, broken_at, none};

/// What Kubernetes refuses in a namespace with Pod Security's level "restricted", and what is asked of every pod here beside that.
pub(crate) fn pods(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for pod in overlay.pods() {
        let mut add = |path: &str, what: &str| findings.push(overlay.finding(pod.owner, path, what));
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            if !pod.get(&format!("spec.{key}")).is_null() {
                add(&pod.path(&format!("spec.{key}")), "is not for us");
            }
        }
        if pod.get("spec.automountServiceAccountToken") != false {
            add(&pod.path("spec.automountServiceAccountToken"), "a token of the service account is mounted");
        }
        if pod.get("spec.hostUsers") == true {
            add(&pod.path("spec.hostUsers"), "is not for us");
        }
        for volume in pod.list("spec.volumes") {
            let path = pod.path(&format!("spec.volumes[{}]", text(&volume["name"])));
            let allowed = ["configMap", "csi", "emptyDir", "persistentVolumeClaim", "projected", "secret"];
            for (key, source) in entries(volume).filter(|(key, _)| *key != "name") {
                if !allowed.contains(&key) {
                    add(&format!("{path}.{key}"), "no volume of a kind that is allowed");
                }
                if key == "emptyDir" && source["sizeLimit"].is_null() {
                    add(&format!("{path}.emptyDir.sizeLimit"), "is missing: the node's disk is the limit");
                }
                if list(&source["sources"]).iter().any(|source| !source["serviceAccountToken"].is_null()) {
                    add(&path, "a token of the service account is mounted");
                }
            }
        }
        for (path, container) in pod.containers() {
            for (key, what) in container_faults(&pod, container) {
                add(&format!("{path}.{key}"), what);
            }
        }
    }
    findings
}

/// The keys of a container that are not as they have to be, with what is wrong. Where a container says nothing, its pod decides.
fn container_faults(pod: &Pod<'_>, container: &Value) -> Vec<(&'static str, &'static str)> {
    let own = &container["securityContext"];
    let said = |key: &str| match &own[key] {
        Value::Null => pod.get(&format!("spec.securityContext.{key}")),
        value => value,
    };
    let drops = at(own, "capabilities.drop");
    let image = text(&container["image"]);
    let (_, tag) = image.rsplit('/').next().and_then(|name| name.split_once(':')).unwrap_or_default();
    let ports = list(&container["ports"]);
    let resources = &container["resources"];
    let has_all = |bound: &str| !resources[bound]["memory"].is_null() && !resources[bound]["cpu"].is_null();
    let faults = [
        (said("runAsNonRoot") != true, "securityContext.runAsNonRoot", "is not true"),
        (said("runAsUser").as_u64() != Some(1001), "securityContext.runAsUser", "is not 1001"),
        (said("runAsGroup").as_u64() != Some(1001), "securityContext.runAsGroup", "is not 1001"),
        (
            said("seccompProfile")["type"] != "RuntimeDefault",
            "securityContext.seccompProfile",
            "is not RuntimeDefault",
        ),
        (
            own["allowPrivilegeEscalation"] != false,
            "securityContext.allowPrivilegeEscalation",
            "is not false",
        ),
        (own["readOnlyRootFilesystem"] != true, "securityContext.readOnlyRootFilesystem", "is not true"),
        (!own["privileged"].is_null(), "securityContext.privileged", "is not for us"),
        (!own["procMount"].is_null(), "securityContext.procMount", "is not for us"),
        (*drops != json!(["ALL"]), "securityContext.capabilities.drop", "is not ALL"),
        (!own["capabilities"]["add"].is_null(), "securityContext.capabilities.add", "is not for us"),
        (!has_all("requests"), "resources.requests", "are not said"),
        (!has_all("limits"), "resources.limits", "are not said"),
        (tag.is_empty() || tag.contains("latest"), "image", "has no tag that stays the same"),
        (ports.iter().any(|port| !port["hostPort"].is_null()), "ports", "take a port of the node"),
    ];
    faults.into_iter().filter(|(fault, ..)| *fault).map(|(_, key, what)| (key, what)).collect()
}

/// Secrets in Git are those that are none: the address of a test receiver.
pub(crate) fn secrets(overlay: &Overlay) -> Findings {
    /// `http://echo:8080/todos`, `https://httpbin.org/post`, as a Secret has them.
    const PUBLIC: [&str; 2] = ["aHR0cDovL2VjaG86ODA4MC90b2Rvcw==", "aHR0cHM6Ly9odHRwYmluLm9yZy9wb3N0"];
    let mut findings = Findings::new();
    for secret in overlay.of_kind("Secret") {
        for part in ["data", "stringData"] {
            for (key, value) in entries(secret.get(part)) {
                if !PUBLIC.contains(&text(value)) {
                    findings.push(overlay.finding(secret, &format!("{part}.{key}"), "a secret is in Git"));
                }
            }
        }
    }
    findings
}

/// From outside there is the health of the API and nothing else: neither management nor metrics.
pub(crate) fn exposed(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for ingress in overlay.of_kind("Ingress") {
        let mut add = |path: &str, what: &str| findings.push(overlay.finding(ingress, path, what));
        if !ingress.get("spec.defaultBackend").is_null() {
            add("spec.defaultBackend", "takes every path");
        }
        for (number, rule) in ingress.list("spec.rules").iter().enumerate() {
            for route in list(at(rule, "http.paths")) {
                let place = format!("spec.rules[{number}].http.paths[{}]", text(&route["path"]));
                if route["pathType"] != "Exact" || !["/health", "/healthz"].contains(&text(&route["path"])) {
                    add(&place, "more than the health is exposed");
                }
                let service = &route["backend"]["service"];
                let port = &service["port"];
                if service["name"] != "broadcaster-svc" || (port["name"] != "http" && port["number"] != 8002)
                {
                    add(&place, "does not lead to the API");
                }
            }
            if text(&rule["host"]).is_empty() {
                add(&format!("spec.rules[{number}].host"), "takes every host");
            }
        }
    }
    for service in overlay.of_kind("Service") {
        if !["", "ClusterIP"].contains(&service.text("spec.type")) {
            findings.push(overlay.finding(service, "spec.type", "is open to the outside"));
        }
    }
    findings
}

/// Nothing here talks to the API of Kubernetes, so no overlay may ask for a right.
pub(crate) fn rights(overlay: &Overlay) -> Findings {
    let asks = overlay.objects.iter().filter(|object| object.api_version().starts_with("rbac."));
    let mut findings: Findings =
        asks.map(|object| overlay.finding(object, "kind", "nothing here needs a right")).collect();
    for account in overlay.of_kind("ServiceAccount") {
        overlay.expect(&account.id(), "automountServiceAccountToken", &json!(false), &mut findings);
    }
    findings
}

/// All of it.
pub(crate) fn check(overlay: &Overlay) -> Findings {
    [pods(overlay), secrets(overlay), exposed(overlay), rights(overlay)].concat()
}

#[test]
fn no_pod_may_do_more_than_it_has_to() {
    none(&build::overlays().iter().flat_map(check).collect());
}

#[test]
fn no_secret_is_in_a_file() {
    let directory = build::k8s().join("base/broadcaster/secret-template.yaml");
    let template = std::fs::read_to_string(directory).expect("there is a template");
    let url = template.lines().find_map(|line| line.trim().strip_prefix("WEBHOOK_URL:"));
    let url = url.expect("it has the key").trim().trim_matches('"');
    assert!(url.is_empty() || url.contains("example.com"), "{url}");
    for overlay in ["staging", "production", "production-durable"] {
        assert_eq!(build::overlay(overlay).of_kind("Secret").count(), 0, "{overlay} has a Secret in Git");
    }
}

#[test]
fn whatever_a_pod_may_not_do_is_found() {
    let template = "spec.template.spec";
    let container = "spec.template.spec.containers[broadcaster]";
    let cases = [
        (format!("{template}.hostNetwork"), json!(true), "is not for us"),
        (
            format!("{template}.automountServiceAccountToken"),
            json!(true),
            "a token of the service account is mounted",
        ),
        (
            format!("{template}.volumes[secrets].hostPath"),
            json!({ "path": "/" }),
            "no volume of a kind that is allowed",
        ),
        (format!("{container}.securityContext.runAsUser"), json!(0), "is not 1001"),
        (format!("{container}.securityContext.runAsNonRoot"), json!(false), "is not true"),
        (
            format!("{container}.securityContext.seccompProfile"),
            json!({ "type": "Unconfined" }),
            "is not RuntimeDefault",
        ),
        (format!("{container}.securityContext.allowPrivilegeEscalation"), json!(true), "is not false"),
        (format!("{container}.securityContext.readOnlyRootFilesystem"), Value::Null, "is not true"),
        (format!("{container}.securityContext.privileged"), json!(true), "is not for us"),
        (format!("{container}.securityContext.capabilities.drop"), json!(["NET_RAW"]), "is not ALL"),
        (format!("{container}.securityContext.capabilities.add"), json!(["NET_ADMIN"]), "is not for us"),
        (format!("{container}.resources.limits"), json!({ "memory": "128Mi" }), "are not said"),
        (
            format!("{container}.image"),
            json!("registry.example.com:5000/broadcaster"),
            "has no tag that stays the same",
        ),
        (format!("{container}.image"), json!("broadcaster:latest"), "has no tag that stays the same"),
    ];
    for (path, wrong, what) in cases {
        let expected = format!("Deployment/broadcaster: {path}: {what}");
        let at = ("Deployment/broadcaster", path.as_str(), wrong);
        broken_at(build::overlay("production"), at, check, &expected);
    }
}

#[test]
fn whatever_is_exposed_is_found() {
    let production = build::overlay("production");
    broken_at(
        production,
        ("Ingress/broadcaster", "spec.rules[0].http.paths[0].path", json!("/routes")),
        check,
        "Ingress/broadcaster: spec.rules[0].http.paths[/routes]: more than the health is exposed",
    );
    broken_at(
        production,
        ("Service/nats", "spec.type", json!("LoadBalancer")),
        check,
        "Service/nats: spec.type: is open to the outside",
    );
    broken_at(
        production,
        ("ServiceAccount/nats", "automountServiceAccountToken", Value::Null),
        check,
        "ServiceAccount/nats: automountServiceAccountToken: null, not false",
    );
}

#[test]
fn a_secret_is_found() {
    let mut overlay = build::overlay("development").clone();
    none(&check(&overlay));
    let secret = overlay.of_kind("Secret").next().expect("development has a Secret").id();
    overlay
        .object_mut(&secret)
        .set("data.WEBHOOK_URL", json!("aHR0cHM6Ly9leGFtcGxlLmNvbS9ob29rP2tleT1zZWNyZXQ="));
    assert_eq!(check(&overlay), [format!("development: {secret}: data.WEBHOOK_URL: a secret is in Git")]);
}
