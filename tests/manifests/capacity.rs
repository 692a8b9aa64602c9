//! What fits into what: queues into memory, pods into quotas, the grace of a stop into Kubernetes' patience.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::build;
use crate::configuration;
use crate::object::{Object, Pod, entries, list};
use crate::overlay::{Findings, Overlay, broken_at, none};

const MIB: f64 = 1024.0 * 1024.0;

/// What the process has beside what its bounds count, by docs/performance.md; and of dead letters that wait, 16 MiB of a
/// route, by docs/dead-letters.md.
const IDLE: f64 = 10.0 * MIB;
const LETTERS: f64 = 16.0 * MIB;

/// What is left free of a memory limit at least: what the bounds don't count, such as connections at work.
const ROOM: f64 = 0.1;

/// A stop may take the grace and some twenty seconds.
const END: Duration = Duration::from_secs(20);

/// A quantity of Kubernetes: `100m`, `64Mi`, `"5"`.
pub(crate) fn quantity(value: &Value) -> Option<f64> {
    const UNITS: [(&str, f64); 9] = [
        ("Ki", 1024.0),
        ("Mi", MIB),
        ("Gi", 1024.0 * MIB),
        ("Ti", 1024.0 * 1024.0 * MIB),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("", 1.0),
    ];
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let read = |(unit, factor): &(&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor);
    UNITS.iter().find_map(read)
}

/// How many pods of this workload there may be at the same time, and how many of them while an update goes on.
fn most(overlay: &Overlay, workload: &Object) -> (f64, f64) {
    let target = |object: &&Object| {
        matches!(object.kind(), "HorizontalPodAutoscaler" | "ScaledObject")
            && object.text("spec.scaleTargetRef.name") == workload.name()
    };
    let scaled = overlay.objects.iter().find(target);
    let most = scaled.map(|object| {
        let keys = ["spec.maxReplicas", "spec.maxReplicaCount"];
        keys.into_iter().find_map(|key| object.get(key).as_f64()).expect("an autoscaler has a maximum")
    });
    let replicas = most.or_else(|| workload.get("spec.replicas").as_f64()).unwrap_or(1.0);
    let surge = match workload.get("spec.strategy.rollingUpdate.maxSurge") {
        _ if workload.kind() != "Deployment" => 0.0,
        Value::Null => (replicas * 0.25).ceil(),
        surge => surge.as_f64().unwrap_or_else(|| {
            let share =
                surge.as_str().and_then(|share| share.strip_suffix('%')).and_then(|share| share.parse().ok());
            (replicas * share.unwrap_or(25.0_f64) / 100.0).ceil()
        }),
    };
    // Pods that stop count until they are gone, and new ones come as soon as the old ones are told to.
    (replicas, if workload.kind() == "Deployment" { replicas + surge } else { 0.0 })
}

/// What all containers of a pod ask for together.
fn asked(pod: &Pod<'_>, bound: &str, resource: &str) -> f64 {
    let each = pod.list("spec.containers").iter();
    each.filter_map(|container| quantity(&container["resources"][bound][resource])).sum()
}

/// The quota has room for all replicas, and for those that stop while an update replaces them.
pub(crate) fn quotas(overlay: &Overlay) -> Findings {
    let mut needed: BTreeMap<String, f64> = BTreeMap::new();
    let mut need = |what: &str, amount: f64| *needed.entry(what.to_owned()).or_default() += amount;
    for pod in overlay.pods() {
        let (replicas, replaced) = most(overlay, pod.owner);
        let pods = replicas + replaced;
        need("pods", pods);
        for bound in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                need(&format!("{bound}.{resource}"), pods * asked(&pod, bound, resource));
            }
        }
        for claim in pod.owner.list("spec.volumeClaimTemplates") {
            need("persistentvolumeclaims", replicas);
            let storage = quantity(crate::object::at(claim, "spec.resources.requests.storage"));
            need("requests.storage", replicas * storage.unwrap_or_default());
        }
    }
    for (kind, what) in [
        ("Service", "services"),
        ("ConfigMap", "configmaps"),
        ("Secret", "secrets"),
        ("Job", "count/jobs.batch"),
    ] {
        need(what, f64::from(u32::try_from(overlay.of_kind(kind).count()).expect("it is a count")));
    }
    let mut findings = Findings::new();
    for quota in overlay.of_kind("ResourceQuota") {
        for (what, hard) in entries(quota.get("spec.hard")) {
            let has = quantity(hard).unwrap_or_default();
            let wants = needed.get(what).or_else(|| needed.get(&format!("requests.{what}"))).copied();
            let path = format!("spec.hard[{what}]");
            match wants {
                None => {
                    findings.push(overlay.finding(quota, &path, "nobody knows what is needed of it"));
                }
                Some(wants) if wants > has => {
                    findings.push(overlay.finding(quota, &path, format_args!("{has} for {wants}")));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

/// Each container is within the limits of the namespace.
pub(crate) fn limit_ranges(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for range in overlay.of_kind("LimitRange") {
        let limits = range.list("spec.limits").iter().filter(|limit| limit["type"] == "Container");
        let bounds = limits.flat_map(|limit| {
            let kinds = [("max", f64::le as fn(&f64, &f64) -> bool), ("min", f64::ge)];
            kinds.into_iter().flat_map(|(kind, fits)| {
                entries(&limit[kind]).map(move |(resource, bound)| (kind, fits, resource, bound))
            })
        });
        for (kind, fits, resource, bound) in bounds {
            for pod in overlay.pods() {
                for (path, container) in pod.containers() {
                    let has = quantity(&container["resources"]["limits"][resource]);
                    if !has.zip(quantity(bound)).is_some_and(|(has, bound)| fits(&has, &bound)) {
                        let path = format!("{path}.resources.limits.{resource}");
                        let what = format_args!("beyond the {kind} of LimitRange/{}", range.name());
                        findings.push(overlay.finding(pod.owner, &path, what));
                    }
                }
            }
        }
    }
    findings
}

/// The bounds of broadcaster's queues fit its memory, and its stop into the patience of Kubernetes.
pub(crate) fn bounds(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    let deployment = overlay.find("Deployment/broadcaster").expect("there is broadcaster");
    let effective = match configuration::effective(overlay) {
        Ok(effective) => effective,
        Err(finding) => return vec![finding],
    };
    let size = |value: &toml::Value| {
        let text = value.as_str().expect("a size is text");
        text.parse::<bytesize::ByteSize>().expect("it is a size").as_u64()
    };
    let routes = effective["routes"].as_table().expect("there are routes");
    let counted: u64 =
        routes.values().map(|route| size(&route["queue"]["bytes"]) + size(&route["retry"]["bytes"])).sum();
    let letters = routes.values().filter(|route| route.get("dead_letter").is_some()).count();
    #[expect(clippy::cast_precision_loss, reason = "sizes of memory are far below 2^52")]
    let needed = IDLE + counted as f64 + letters as f64 * LETTERS;
    let path = "spec.template.spec.containers[broadcaster].resources.limits.memory";
    let limit = quantity(deployment.get(path)).unwrap_or_default();
    if needed > limit * (1.0 - ROOM) {
        let what = format_args!("{} MiB for what may need {}", limit / MIB, needed / MIB);
        findings.push(overlay.finding(deployment, path, what));
    }
    let grace = effective["shutdown"]["grace"].as_str().expect("the grace is text");
    let grace = humantime::parse_duration(grace).expect("it is a duration");
    let path = "spec.template.spec.terminationGracePeriodSeconds";
    let patience = Duration::from_secs(deployment.get(path).as_u64().unwrap_or(30));
    if patience <= grace + END {
        findings.push(overlay.finding(
            deployment,
            path,
            format_args!("{patience:?} for {grace:?} and {END:?}"),
        ));
    }
    findings
}

/// Go's own limit is below the container's, or the kernel ends the process first.
pub(crate) fn go(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for pod in overlay.pods() {
        for (path, container) in pod.containers() {
            let variable = list(&container["env"]).iter().find(|variable| variable["name"] == "GOMEMLIMIT");
            let Some(said) = variable.and_then(|variable| variable["value"].as_str()) else { continue };
            let said = quantity(&json!(said.trim_end_matches('B')));
            let limit = quantity(&container["resources"]["limits"]["memory"]);
            let share = said.zip(limit).map(|(said, limit)| said / limit);
            if !share.is_some_and(|share| (0.5..0.9).contains(&share)) {
                let path = format!("{path}.env[GOMEMLIMIT]");
                findings.push(overlay.finding(pod.owner, &path, format_args!("{share:?} of the limit")));
            }
        }
    }
    findings
}

/// All of it.
pub(crate) fn check(overlay: &Overlay) -> Findings {
    let bounds =
        if overlay.find("Deployment/broadcaster").is_some() { bounds(overlay) } else { Findings::new() };
    [quotas(overlay), limit_ranges(overlay), bounds, go(overlay)].concat()
}

#[test]
fn everything_fits() {
    none(&build::overlays().iter().flat_map(check).collect());
}

#[test]
fn quantities_are_read_as_kubernetes_does() {
    let read = |value: Value| quantity(&value);
    assert_eq!(read(json!("100m")), Some(0.1));
    assert_eq!(read(json!("64Mi")), Some(67_108_864.0));
    assert_eq!(read(json!("2G")), Some(2e9));
    assert_eq!(read(json!("5")), Some(5.0));
    assert_eq!(read(json!(5)), Some(5.0));
    assert_eq!(read(json!("many")), None);
}

#[test]
fn what_does_not_fit_is_found() {
    let container = "spec.template.spec.containers[broadcaster].resources.limits.memory";
    let quota = "ResourceQuota/project";
    let cases = [
        (
            "Deployment/broadcaster",
            container,
            json!("96Mi"),
            format!("{container}: 96 MiB for what may need 90"),
        ),
        (
            "Deployment/broadcaster",
            "spec.template.spec.terminationGracePeriodSeconds",
            json!(45),
            "spec.template.spec.terminationGracePeriodSeconds: 45s for 25s and 20s".to_owned(),
        ),
        // 5 replicas, one more, 5 that stop, 3 of NATS, the Job.
        (quota, "spec.hard.pods", json!("14"), "spec.hard[pods]: 14 for 15".to_owned()),
        (quota, "spec.hard[requests.storage]", json!("20Gi"), {
            "spec.hard[requests.storage]: 21474836480 for 32212254720".to_owned()
        }),
        (quota, "spec.hard[limits.gpu]", json!(1), {
            "spec.hard[limits.gpu]: nobody knows what is needed of it".to_owned()
        }),
        (
            "StatefulSet/nats",
            "spec.template.spec.containers[nats].env[GOMEMLIMIT].value",
            json!("512MiB"),
            "spec.template.spec.containers[nats].env[GOMEMLIMIT]: Some(1.0) of the limit".to_owned(),
        ),
    ];
    for (id, path, wrong, what) in cases {
        let expected = format!("{id}: {what}");
        broken_at(build::overlay("production"), (id, path, wrong), check, &expected);
    }
    let most = ("LimitRange/project", "spec.limits[0].max.cpu", json!("400m"));
    let expected = "StatefulSet/nats: spec.template.spec.containers[nats].resources.limits.cpu: \
                    beyond the max of LimitRange/project";
    broken_at(build::overlay("production"), most, check, expected);
}
