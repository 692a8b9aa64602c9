//! What makes Kubernetes replace pods: a change of what they read.

use std::fs;

use serde_json::Value;

use crate::build::{self, Copy};
use crate::overlay::Overlay;

fn template<'a>(overlay: &'a Overlay, id: &str) -> &'a Value {
    overlay.find(id).expect("it is there").get("spec.template")
}

/// Appends a comment to this file of a copy, and wants that the pods of `id` are replaced, in this overlay.
fn assert_rolls(overlay: &str, file: &str, id: &str) {
    let copy = Copy::new();
    let path = copy.path(file);
    let text = fs::read_to_string(&path).expect("it is text");
    fs::write(&path, text + "\n# changed\n").expect("the copy is writable");
    let changed = copy.build(overlay, &format!("overlays/{overlay}"));
    let before = build::overlay(overlay);
    assert_ne!(template(before, id), template(&changed, id), "{overlay}: {file} does not roll {id}");
    let others = before.pods().filter(|pod| pod.owner.id() != id);
    for pod in others {
        let other = pod.owner.id();
        assert_eq!(template(before, &other), template(&changed, &other), "{overlay}: {file} rolls {other}");
    }
}

#[test]
fn a_change_of_the_configuration_rolls_the_pods_that_read_it() {
    let (broadcaster, nats) = ("Deployment/broadcaster", "StatefulSet/nats");
    assert_rolls("production", "base/broadcaster/broadcaster.toml", broadcaster);
    assert_rolls("staging", "base/broadcaster/broadcaster.toml", broadcaster);
    assert_rolls("production-durable", "overlays/production-durable/broadcaster.toml", broadcaster);
    assert_rolls("development", "components/small/broadcaster.toml", broadcaster);
    assert_rolls("feature", "components/small/broadcaster.toml", broadcaster);
    assert_rolls("development", "base/nats/size.conf", nats);
    assert_rolls("production", "components/nats-cluster/size.conf", nats);
}

#[test]
#[should_panic(expected = "base/shared/namespace.yaml does not roll Deployment/broadcaster")]
fn a_change_that_rolls_nothing_is_found() {
    assert_rolls("production", "base/shared/namespace.yaml", "Deployment/broadcaster");
}
