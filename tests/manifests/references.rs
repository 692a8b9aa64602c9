//! Whatever a pod refers to has to be there: ConfigMaps, Secrets, claims, accounts, and the files that they become.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::build;
use crate::object::{Object, Pod, at, entries, list, text};
use crate::overlay::{Findings, Overlay, broken, broken_at, none};

/// The keys of the Secrets that somebody makes by hand, as the template shows them.
fn template() -> &'static Object {
    use std::sync::OnceLock;
    static TEMPLATE: OnceLock<Object> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let path = build::k8s().join("base/broadcaster/secret-template.yaml");
        let yaml = std::fs::read_to_string(path).expect("there is a template");
        Object::parse_all(&yaml).expect("the template is YAML").remove(0)
    })
}

/// Whether the Secrets of this overlay are made by hand.
fn by_hand(overlay: &Overlay) -> bool {
    ["staging", "production", "production-durable"].contains(&overlay.base())
}

/// The keys of this ConfigMap or Secret, or `None` where there is none.
pub(crate) fn keys(overlay: &Overlay, kind: &str, name: &str) -> Option<BTreeSet<String>> {
    let object = overlay.find(&format!("{kind}/{name}"));
    let template = (kind == "Secret" && by_hand(overlay) && name == template().name()).then(template);
    if let Some(object) = object.or(template) {
        let parts = ["data", "stringData", "binaryData"];
        let keys = parts.into_iter().flat_map(|part| entries(object.get(part)));
        return Some(keys.map(|(key, _)| key.to_owned()).collect());
    }
    let classes = overlay.of_kind("SecretProviderClass");
    let mut made = classes.flat_map(|class| class.list("spec.secretObjects"));
    let made = made.find(|made| kind == "Secret" && made["secretName"] == name)?;
    Some(list(&made["data"]).iter().map(|entry| text(&entry["key"]).to_owned()).collect())
}

/// The files that a SecretProviderClass of Azure has in its volume.
fn provided(class: &Object) -> Result<BTreeSet<String>, String> {
    let objects = crate::object::parse_yaml(class.text("spec.parameters.objects"))?;
    let objects = objects.first().map(|objects| list(&objects["array"])).unwrap_or_default();
    let each = objects.iter().map(|object| {
        let object = crate::object::parse_yaml(text(object))?.into_iter().next().unwrap_or_default();
        let alias = [text(&object["objectAlias"]), text(&object["objectName"])];
        let name = alias.into_iter().find(|name| !name.is_empty());
        name.map(str::to_owned).ok_or_else(|| "an object without a name".to_owned())
    });
    each.collect()
}

/// The files in a volume, by their path in it; `None` where whatever runs decides. Problems go to `fault`.
fn files(
    overlay: &Overlay,
    volume: &Value,
    fault: &mut impl FnMut(&str, String),
) -> Option<BTreeSet<String>> {
    let (source, details) = entries(volume).find(|(key, _)| *key != "name")?;
    let (kind, name) = match source {
        "configMap" => ("ConfigMap", text(&details["name"])),
        "secret" => ("Secret", text(&details["secretName"])),
        "csi" => {
            let name = text(at(details, "volumeAttributes.secretProviderClass"));
            let class = overlay.find(&format!("SecretProviderClass/{name}"));
            let provided =
                class.map(provided).unwrap_or_else(|| Err(format!("no SecretProviderClass {name}")));
            return provided.map_err(|error| fault("csi", error)).ok();
        }
        "persistentVolumeClaim" => {
            let name = text(&details["claimName"]);
            if overlay.find(&format!("PersistentVolumeClaim/{name}")).is_none() {
                fault(source, format!("no PersistentVolumeClaim {name}"));
            }
            return None;
        }
        _ => return None,
    };
    let Some(keys) = keys(overlay, kind, name) else {
        fault(source, format!("no {kind} {name}"));
        return None;
    };
    let items = list(&details["items"]);
    for item in items.iter().filter(|item| !keys.contains(text(&item["key"]))) {
        fault(source, format!("{kind} {name} has no key {}", item["key"]));
    }
    Some(if items.is_empty() {
        keys
    } else {
        items.iter().map(|item| text(&item["path"]).to_owned()).collect()
    })
}

/// The files that a container finds, by their full path, with the key that each comes from.
pub(crate) fn mounted(overlay: &Overlay, pod: &Pod<'_>, container: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for mount in list(&container["volumeMounts"]) {
        let volume = pod.list("spec.volumes").iter().find(|volume| volume["name"] == mount["name"]);
        let files = volume.and_then(|volume| files(overlay, volume, &mut |_, _| {})).unwrap_or_default();
        for file in files {
            found.insert(format!("{}/{file}", text(&mount["mountPath"]).trim_end_matches('/')), file);
        }
    }
    found
}

/// Everything that a pod refers to.
pub(crate) fn check(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for pod in overlay.pods() {
        let mut add = |path: &str, what: String| findings.push(overlay.finding(pod.owner, path, what));
        let account = pod.get("spec.serviceAccountName");
        if !account.is_null() && overlay.find(&format!("ServiceAccount/{}", text(account))).is_none() {
            add(&pod.path("spec.serviceAccountName"), format!("no ServiceAccount {}", text(account)));
        }
        let claims =
            pod.owner.list("spec.volumeClaimTemplates").iter().map(|claim| text(&claim["metadata"]["name"]));
        let volumes = pod.list("spec.volumes").iter().map(|volume| text(&volume["name"]));
        let volumes: Vec<_> = claims.chain(volumes).collect();
        for volume in pod.list("spec.volumes") {
            let path = pod.path(&format!("spec.volumes[{}]", text(&volume["name"])));
            if volume.as_object().is_some_and(|volume| volume.len() != 2) {
                add(&path, "is of no kind, or of several".to_owned());
            }
            files(overlay, volume, &mut |source, what| add(&format!("{path}.{source}"), what));
        }
        let mut used = BTreeSet::new();
        for (path, container) in pod.containers() {
            let mut places = BTreeSet::new();
            for mount in list(&container["volumeMounts"]) {
                let name = text(&mount["name"]);
                used.insert(name);
                if !volumes.contains(&name) {
                    add(&format!("{path}.volumeMounts[{name}]"), "no such volume".to_owned());
                }
                if !places.insert(text(&mount["mountPath"])) {
                    add(
                        &format!("{path}.volumeMounts[{name}].mountPath"),
                        "something is there already".to_owned(),
                    );
                }
            }
            for (place, kind, source) in variables(&path, container) {
                let wanted = source.get("key").map(text);
                let keys = keys(overlay, kind, text(&source["name"]));
                if keys.is_none_or(|keys| wanted.is_some_and(|key| !keys.contains(key))) {
                    add(&place, format!("no {kind} {} with {wanted:?}", source["name"]));
                }
            }
        }
        for name in volumes.iter().filter(|name| !used.contains(**name)) {
            add(&pod.path(&format!("spec.volumes[{name}]")), "nobody mounts it".to_owned());
        }
    }
    findings
}

/// Where the environment of a container comes from ConfigMaps and Secrets: the path, the kind, and which.
fn variables<'a>(path: &str, container: &'a Value) -> Vec<(String, &'static str, &'a Value)> {
    let mut found = Vec::new();
    for variable in list(&container["env"]) {
        let place = format!("{path}.env[{}].valueFrom", text(&variable["name"]));
        for (key, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
            let source = &variable["valueFrom"][key];
            if !source.is_null() {
                found.push((place.clone(), kind, source));
            }
        }
    }
    for source in list(&container["envFrom"]) {
        for (key, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
            if !source[key].is_null() {
                found.push((format!("{path}.envFrom"), kind, &source[key]));
            }
        }
    }
    found
}

/// ConfigMaps and Secrets that no pod of the overlay reads.
pub(crate) fn unused(overlay: &Overlay) -> Findings {
    let pods: String = overlay.pods().map(|pod| pod.owner.0.to_string()).collect();
    let kept = overlay.objects.iter().filter(|object| matches!(object.kind(), "ConfigMap" | "Secret"));
    let read = |object: &&Object| pods.contains(&format!("\"{}\"", object.name()));
    // Dashboards and the configuration of Azure's Prometheus are read by others, who know them by name or label.
    let for_others = |object: &&Object| {
        object.name().starts_with("ama-metrics-")
            || !object.get("metadata.labels[grafana_dashboard]").is_null()
    };
    let unused = kept.filter(|object| !read(object) && !for_others(object));
    unused.map(|object| overlay.finding(object, "metadata.name", "no pod reads it")).collect()
}

#[test]
fn whatever_a_pod_needs_is_there() {
    none(&build::overlays().iter().flat_map(|overlay| [check(overlay), unused(overlay)].concat()).collect());
}

#[test]
fn what_is_missing_is_found() {
    let pod = "spec.template.spec";
    let container = "spec.template.spec.containers[broadcaster]";
    let cases = [
        ("PODserviceAccountName", json!("nobody"), "PODserviceAccountName: no ServiceAccount nobody"),
        (
            "PODvolumes[config].configMap.name",
            json!("none"),
            "PODvolumes[config].configMap: no ConfigMap none",
        ),
        (
            "PODvolumes[secrets].secret.secretName",
            json!("none"),
            "PODvolumes[secrets].secret: no Secret none",
        ),
        (
            "PODvolumes[secrets].secret.items",
            json!([{ "key": "URL", "path": "URL" }]),
            "PODvolumes[secrets].secret: Secret broadcaster-secret has no key \"URL\"",
        ),
        ("PODvolumes[secrets].emptyDir", json!({}), "PODvolumes[secrets]: is of no kind, or of several"),
        (
            "CONTAINERvolumeMounts[config].mountPath",
            json!("/etc/broadcaster/secrets"),
            "CONTAINERvolumeMounts[secrets].mountPath: something is there already",
        ),
        (
            "CONTAINERenv[0].valueFrom",
            json!({ "secretKeyRef": { "name": "broadcaster-secret", "key": "X" } }),
            "CONTAINERenv[BROADCASTER_CONFIG].valueFrom: no Secret \"broadcaster-secret\" with Some(\"X\")",
        ),
    ];
    let full =
        |said: &str| said.replace("POD", &format!("{pod}.")).replace("CONTAINER", &format!("{container}."));
    for (path, wrong, what) in cases {
        let at = ("Deployment/broadcaster", &*full(path), wrong);
        let expected = format!("Deployment/broadcaster: {}", full(what));
        broken_at(build::overlay("production"), at, check, &expected);
    }
}

#[test]
fn what_nobody_reads_is_found() {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "old" } });
    let damage = |overlay: &mut Overlay| overlay.objects.push(Object(map));
    broken(build::overlay("production"), damage, unused, "ConfigMap/old: metadata.name: no pod reads it");
}
