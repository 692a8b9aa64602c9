//! The commands in k8s/README.md, run as they are written up to the point where a cluster would be needed.

use std::collections::BTreeSet;
use std::process::Command;

use crate::build::{BRANCH, k8s};
use crate::object::Object;
use testkit::process;

/// The commands that build something and send it to a cluster: without the sending.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(k8s().join("README.md")).expect("there is a README");
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: String = blocks.collect::<String>().replace("|\n", "| ");
    let built = lines.lines().filter(|line| line.starts_with("kubectl kustomize k8s/"));
    built.map(|line| line.replace("kubectl apply -f -", "cat")).collect()
}

/// What a command makes.
fn run(command: &str) -> Vec<Object> {
    let kubectl = process::tool("kubectl", "KUBECTL");
    let folder = kubectl.parent().expect("a program is in a folder");
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let root = k8s().join("..");
    let output = Command::new("sh").args(["-c", command]).env("PATH", path).current_dir(root).output();
    let output = output.expect("sh runs");
    assert!(output.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let yaml = String::from_utf8(output.stdout).expect("kubectl writes text");
    assert!(!yaml.contains(BRANCH.0), "{command}: {} is left", BRANCH.0);
    Object::parse_all(&yaml).unwrap_or_else(|error| panic!("{command}: {error}"))
}

#[test]
fn the_commands_make_what_they_say() {
    let mut namespaces = BTreeSet::new();
    for command in commands() {
        let objects = run(&command);
        let each: BTreeSet<_> = objects.iter().map(|object| object.text("metadata.namespace")).collect();
        let each: Vec<_> = each.into_iter().filter(|namespace| !namespace.is_empty()).collect();
        assert_eq!(each.len(), 1, "{command}: {each:?}");
        namespaces.insert(each[0].to_owned());
        // Where the add-on of AKS looks, it looks for these names.
        if each[0] == "kube-system" {
            let names: Vec<_> = objects.iter().map(Object::name).collect();
            assert_eq!(
                names,
                ["ama-metrics-prometheus-config", "ama-metrics-settings-configmap"],
                "{command}"
            );
        }
    }
    let expected = ["feature-my-branch", "kube-system", "project"].map(str::to_owned);
    assert_eq!(namespaces, BTreeSet::from(expected));
}
