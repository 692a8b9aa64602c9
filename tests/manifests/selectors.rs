//! Selectors select something, and the ports that are named are there.

use serde_json::{Value, json};

use crate::build;
use crate::object::{Object, Pod, entries, list, text};
use crate::overlay::{Findings, Overlay, broken_at, none};

/// Whether a label selector, or a plain map of labels, fits these labels. An empty selector fits everything.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let is_selector = selector.get("matchLabels").or_else(|| selector.get("matchExpressions")).is_some();
    let wanted = if is_selector { &selector["matchLabels"] } else { selector };
    let exact = entries(wanted).all(|(key, value)| labels.get(key) == Some(value));
    let expressions = list(&selector["matchExpressions"]).iter().all(|expression| {
        let found = labels.get(text(&expression["key"]));
        let values = list(&expression["values"]);
        match text(&expression["operator"]) {
            "In" => found.is_some_and(|found| values.contains(found)),
            "NotIn" => found.is_none_or(|found| !values.contains(found)),
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => false,
        }
    });
    exact && expressions
}

/// The number of a port that a Service or a probe names, on these pods.
pub(crate) fn port_number(pod: &Pod<'_>, port: &Value) -> Option<u64> {
    let ports = pod.containers().into_iter().flat_map(|(_, container)| list(&container["ports"]));
    let fits = |known: &&Value| known["name"] == *port || known["containerPort"] == *port;
    ports.into_iter().find(fits).and_then(|port| port["containerPort"].as_u64())
}

/// Pods that this selector fits.
fn selected<'a>(overlay: &'a Overlay, selector: &Value) -> Vec<Pod<'a>> {
    overlay.pods().filter(|pod| selects(selector, pod.labels())).collect()
}

/// Everything that selects pods, by labels or by name.
pub(crate) fn check(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for object in &overlay.objects {
        let path = match object.kind() {
            "Service" => "spec.selector",
            "PodDisruptionBudget" => "spec.selector",
            "NetworkPolicy" => "spec.podSelector",
            _ => continue,
        };
        if selected(overlay, object.get(path)).is_empty() {
            findings.push(overlay.finding(object, path, "selects no pod"));
        }
    }
    for check in [services, ingresses, workloads, probes, budgets, monitors] {
        findings.extend(check(overlay));
    }
    findings
}

/// The ports of Services lead to ports of all their pods.
fn services(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for service in overlay.of_kind("Service") {
        for pod in selected(overlay, service.get("spec.selector")) {
            for (number, port) in service.list("spec.ports").iter().enumerate() {
                let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
                let path = format!("spec.ports[{number}].targetPort");
                match port_number(&pod, target) {
                    None => {
                        let what = format_args!("{} has no port {target}", pod.owner.id());
                        findings.push(overlay.finding(service, &path, what));
                    }
                    // Headless services lead nowhere: who asks for a pod's name uses its own port.
                    Some(found) if port["port"] != found && service.get("spec.clusterIP") == "None" => {
                        let what = format_args!("{} on the pods, {} here", found, port["port"]);
                        findings.push(overlay.finding(service, &path, what));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    findings
}

fn ingresses(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for ingress in overlay.of_kind("Ingress") {
        let paths = ingress.list("spec.rules").iter().flat_map(|rule| list(&rule["http"]["paths"]));
        for route in paths {
            let backend = &route["backend"]["service"];
            let service = overlay.find(&format!("Service/{}", text(&backend["name"])));
            let ports = service.map_or(&[][..], |service| service.list("spec.ports"));
            let (name, number) = (&backend["port"]["name"], &backend["port"]["number"]);
            let fits = |port: &Value| {
                (!name.is_null() && port["name"] == *name) || (!number.is_null() && port["port"] == *number)
            };
            if !ports.iter().any(fits) {
                let path = format!("spec.rules.http.paths[{}]", text(&route["path"]));
                findings.push(overlay.finding(
                    ingress,
                    &path,
                    format_args!("no such service or port: {backend}"),
                ));
            }
        }
    }
    findings
}

/// What makes pods selects those it makes, and spreads them; a StatefulSet's service is headless and has them.
fn workloads(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for pod in overlay.pods() {
        let mut add = |path: &str, what: &str| findings.push(overlay.finding(pod.owner, path, what));
        let selector = pod.owner.get("spec.selector");
        if !selector.is_null() && !selects(selector, pod.labels()) {
            add("spec.selector", "does not select its own pods");
        }
        let others = overlay.pods().filter(|other| other.owner.id() != pod.owner.id());
        if !selector.is_null() && others.into_iter().any(|other| selects(selector, other.labels())) {
            add("spec.selector", "selects the pods of others too");
        }
        for (number, spread) in pod.list("spec.topologySpreadConstraints").iter().enumerate() {
            if !selects(&spread["labelSelector"], pod.labels()) {
                add(&pod.path(&format!("spec.topologySpreadConstraints[{number}]")), "selects other pods");
            }
        }
        let apart = "requiredDuringSchedulingIgnoredDuringExecution";
        for term in pod.list(&format!("spec.affinity.podAntiAffinity.{apart}")) {
            if !selects(&term["labelSelector"], pod.labels()) {
                add(&pod.path("spec.affinity.podAntiAffinity"), "selects other pods");
            }
        }
        if pod.owner.kind() == "StatefulSet" {
            let service = overlay.find(&format!("Service/{}", pod.owner.text("spec.serviceName")));
            let good = service.is_some_and(|service| {
                service.get("spec.clusterIP") == "None" && selects(service.get("spec.selector"), pod.labels())
            });
            if !good {
                add("spec.serviceName", "is no headless service of these pods");
            }
        }
    }
    let spread = overlay.find("Deployment/broadcaster");
    if let Some(deployment) =
        spread.filter(|it| it.list("spec.template.spec.topologySpreadConstraints").is_empty())
    {
        findings.push(overlay.finding(
            deployment,
            "spec.template.spec.topologySpreadConstraints",
            "are missing",
        ));
    }
    findings
}

/// Probes ask a port that their container has.
fn probes(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for pod in overlay.pods() {
        for (path, container) in pod.containers() {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let port = &container[probe]["httpGet"]["port"];
                let fits = |known: &Value| known["name"] == *port || known["containerPort"] == *port;
                if !port.is_null() && !list(&container["ports"]).iter().any(fits) {
                    let path = format!("{path}.{probe}.httpGet.port");
                    findings.push(overlay.finding(pod.owner, &path, format_args!("no port {port}")));
                }
            }
        }
    }
    findings
}

/// A budget that allows no eviction would hold up every drain of a node.
fn budgets(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for budget in overlay.of_kind("PodDisruptionBudget") {
        let room = budget.get("spec.maxUnavailable").as_u64().is_some_and(|count| count > 0);
        if !room {
            findings.push(overlay.finding(budget, "spec.maxUnavailable", "allows no eviction"));
        }
    }
    for workload in ["Deployment/broadcaster", "StatefulSet/nats"] {
        let Some(pod) = overlay.find(workload).and_then(Object::pod) else { continue };
        let budgets = overlay.of_kind("PodDisruptionBudget");
        let count = budgets.filter(|budget| selects(budget.get("spec.selector"), pod.labels())).count();
        if count != 1 {
            findings.push(overlay.finding(pod.owner, "metadata.labels", format_args!("{count} budgets")));
        }
    }
    findings
}

/// ServiceMonitors and PodMonitors find what they are for, with the port that they name; each pod once.
fn monitors(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for monitor in overlay.of_kind("ServiceMonitor") {
        let services: Vec<_> = overlay
            .of_kind("Service")
            .filter(|service| selects(monitor.get("spec.selector"), service.get("metadata.labels")))
            .collect();
        for (number, endpoint) in monitor.list("spec.endpoints").iter().enumerate() {
            let has = |service: &&&Object| {
                service.list("spec.ports").iter().any(|port| port["name"] == endpoint["port"])
            };
            let found = services.iter().filter(has).count();
            if found != 1 {
                let path = format!("spec.endpoints[{number}].port");
                findings.push(overlay.finding(monitor, &path, format_args!("{found} services have it")));
            }
        }
    }
    for monitor in overlay.of_kind("PodMonitor") {
        for endpoint in monitor.list("spec.podMetricsEndpoints") {
            let pods = selected(overlay, monitor.get("spec.selector"));
            if !pods.iter().any(|pod| port_number(pod, &endpoint["port"]).is_some()) {
                let what = format_args!("no pod has the port {}", endpoint["port"]);
                findings.push(overlay.finding(monitor, "spec.podMetricsEndpoints", what));
            }
        }
    }
    findings
}

#[test]
fn selectors_select_and_ports_match() {
    none(&build::overlays().iter().flat_map(check).collect());
}

#[test]
fn a_service_that_leads_nowhere_is_found() {
    let nobody = json!({ "app.kubernetes.io/name": "nobody" });
    let everybody = json!({ "app.kubernetes.io/part-of": "todo-app" });
    let backend = "spec.rules[0].http.paths[0].backend.service.port";
    let cases = [
        ("Service/nats", "spec.selector", nobody, "spec.selector: selects no pod"),
        (
            "Service/broadcaster-svc",
            "spec.ports[0].targetPort",
            json!("api"),
            "spec.ports[0].targetPort: Deployment/broadcaster has no port \"api\"",
        ),
        (
            "Service/broadcaster-metrics",
            "spec.selector",
            everybody,
            "spec.ports[0].targetPort: Job/nats-streams has no port \"metrics\"",
        ),
        (
            "Service/nats-headless",
            "spec.ports[monitor].port",
            json!(8223),
            "spec.ports[2].targetPort: 8222 on the pods, 8223 here",
        ),
        (
            "Ingress/broadcaster",
            backend,
            json!({ "name": "metrics" }),
            "spec.rules.http.paths[/health]: no such service or port: \
             {\"name\":\"broadcaster-svc\",\"port\":{\"name\":\"metrics\"}}",
        ),
    ];
    for (id, path, wrong, what) in cases {
        broken_at(build::overlay("production"), (id, path, wrong), check, &format!("{id}: {what}"));
    }
}

#[test]
fn a_selector_of_other_pods_is_found() {
    let nobody = json!({ "matchLabels": { "app.kubernetes.io/name": "nobody" } });
    let everybody = json!({ "matchLabels": { "app.kubernetes.io/part-of": "todo-app" } });
    let deployment = "Deployment/broadcaster";
    let spread = "spec.template.spec.topologySpreadConstraints[0]";
    let cases = [
        ("NetworkPolicy/nats", "spec.podSelector", nobody.clone(), "selects no pod"),
        ("PodDisruptionBudget/nats", "spec.maxUnavailable", json!(0), "allows no eviction"),
        (deployment, "spec.selector", nobody.clone(), "does not select its own pods"),
        (deployment, "spec.selector", everybody, "selects the pods of others too"),
        (deployment, "spec.template.spec.topologySpreadConstraints", json!([]), "are missing"),
        (
            deployment,
            "spec.template.spec.containers[broadcaster].livenessProbe.httpGet.port",
            json!("api"),
            "no port \"api\"",
        ),
        ("StatefulSet/nats", "spec.serviceName", json!("nats"), "is no headless service of these pods"),
    ];
    for (id, path, wrong, what) in cases {
        broken_at(build::overlay("production"), (id, path, wrong), check, &format!("{id}: {path}: {what}"));
    }
    let labels = (deployment, &*format!("{spread}.labelSelector"), nobody);
    let expected = format!("{deployment}: {spread}: selects other pods");
    broken_at(build::overlay("production"), labels, check, &expected);
}
