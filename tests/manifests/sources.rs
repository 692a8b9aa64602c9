//! The files below `k8s/`: each is part of something, and each can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::build::{self, Copy};
use crate::object::{at, list, parse_yaml, text};
use crate::overlay::{Findings, none};
use crate::{capacity, configuration, references, schema, security, selectors, traffic};

/// What no kustomization names, and why it is there.
const ALONE: [&str; 2] = ["README.md", "base/broadcaster/secret-template.yaml"];

/// What is applied as it is, beside the overlays and their parts.
const ROOTS: [&str; 2] = ["overlays", "gitops"];

/// Every file below a folder, by its path there.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut folders = vec![root.to_owned()];
    let mut files = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("k8s can be read") {
            let path = entry.expect("k8s can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).expect("it is below").to_owned());
            }
        }
    }
    files
}

/// What a kustomization names: files and folders, by their path below `root`.
fn named(root: &Path, folder: &Path) -> BTreeSet<PathBuf> {
    let file = folder.join("kustomization.yaml");
    let yaml =
        fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let kustomization = parse_yaml(&yaml).expect("it is YAML").remove(0);
    let lists = ["resources", "components"].into_iter().flat_map(|key| list(&kustomization[key]));
    let patches = list(&kustomization["patches"]).iter().map(|patch| &patch["path"]);
    let generators =
        ["configMapGenerator", "secretGenerator"].into_iter().flat_map(|key| list(&kustomization[key]));
    let generated = generators.flat_map(|generator| list(&generator["files"]));
    let entries = lists.chain(patches).chain(generated).chain(list(at(&kustomization, "configurations")));
    let paths = entries.map(text).filter(|entry| !entry.is_empty());
    let paths = paths.map(|entry| entry.split_once('=').map_or(entry, |(_, file)| file));
    let found: BTreeSet<_> = paths.map(|entry| normal(&folder.join(entry))).collect();
    found.into_iter().chain([file]).collect()
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut steps = PathBuf::new();
    for step in path.components() {
        if step.as_os_str() == ".." {
            steps.pop()
        } else {
            steps.push(step);
            true
        };
    }
    steps
}

/// The files that nothing applied leads to.
fn orphans(root: &Path) -> Findings {
    let all = files(root);
    // Options are for overlays to be: whoever wants one names it.
    let folders =
        all.iter().filter(|file| file.ends_with("kustomization.yaml")).filter_map(|file| file.parent());
    let starts =
        folders.filter(|folder| ROOTS.iter().chain(&["components"]).any(|start| folder.starts_with(start)));
    let mut waiting: Vec<_> = starts.map(Path::to_owned).collect();
    let mut reached: BTreeSet<PathBuf> = ALONE.iter().map(PathBuf::from).collect();
    while let Some(folder) = waiting.pop() {
        for path in named(root, &folder) {
            if reached.insert(path.clone()) && root.join(&path).is_dir() {
                waiting.push(path);
            }
        }
    }
    all.difference(&reached).map(|file| format!("{}: nothing names it", file.display())).collect()
}

/// The components that an overlay has, its own and those of what it is made of.
fn components(overlay: &str) -> BTreeSet<String> {
    let root = build::k8s();
    let mut waiting = vec![Path::new("overlays").join(overlay)];
    let mut found = BTreeSet::new();
    while let Some(folder) = waiting.pop() {
        for path in named(&root, &folder).into_iter().filter(|path| root.join(path).is_dir()) {
            if let Ok(name) = path.strip_prefix("components") {
                found.insert(name.display().to_string());
            }
            waiting.push(path);
        }
    }
    found
}

/// The options of an overlay: components that it may have and has not. (The others are parts that overlays are made of.)
fn options(overlay: &str) -> Vec<String> {
    let has = components(overlay);
    let parts: BTreeSet<_> = build::folders("overlays").iter().flat_map(|name| components(name)).collect();
    build::folders("components")
        .into_iter()
        .filter(|name| !has.contains(name) && !parts.contains(name))
        .collect()
}

/// Every choice among these.
fn choices(options: &[String]) -> Vec<Vec<String>> {
    let mut choices = vec![Vec::new()];
    for option in options {
        let with: Vec<Vec<String>> =
            choices.iter().map(|choice| [choice.as_slice(), std::slice::from_ref(option)].concat()).collect();
        choices.extend(with);
    }
    choices.into_iter().filter(|choice| !choice.is_empty()).collect()
}

#[test]
fn every_file_is_named_by_something() {
    none(&orphans(&build::k8s()));
}

#[test]
fn every_yaml_file_can_be_read() {
    let root = build::k8s();
    for file in files(&root).into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "yaml")) {
        let yaml = fs::read_to_string(root.join(&file)).expect("it is text");
        let documents = parse_yaml(&yaml).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!documents.is_empty(), "{} is empty", file.display());
    }
}

/// Whatever k8s/README.md and the manifests themselves tell people to build or apply is there.
#[test]
fn every_folder_that_is_spoken_of_is_there() {
    let root = build::k8s();
    let mut spoken_of = 0;
    for file in files(&root) {
        let said = fs::read_to_string(root.join(&file)).expect("it is text");
        for word in said.split(|sign: char| sign.is_whitespace() || "`,;:()\"".contains(sign)) {
            let Some(path) = word.strip_prefix("k8s/") else { continue };
            spoken_of += 1;
            let path = path.trim_end_matches(['.', '/']);
            assert!(root.join(path).exists(), "{} speaks of {word}, which is not there", file.display());
        }
    }
    assert!(spoken_of > 10, "only {spoken_of} paths were found");
}

#[test]
fn a_file_that_nothing_names_is_found() {
    let copy = Copy::new();
    copy.write("base/nats/old.yaml", "kind: ConfigMap\n");
    copy.write("base/old/kustomization.yaml", "resources: []\n");
    let expected = ["base/nats/old.yaml: nothing names it", "base/old/kustomization.yaml: nothing names it"];
    assert_eq!(orphans(&copy.path("")), expected);
}

#[test]
fn a_key_that_comes_twice_is_found() {
    let error = parse_yaml("a: 1\nb: 2\na: 3\n").expect_err("it is not YAML");
    assert!(error.contains("duplicate"), "{error}");
}

/// Each choice of options on each overlay builds, and is as good as the overlay without them.
#[test]
fn every_choice_of_components_is_good() {
    let copy = Copy::new();
    let mut folders = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for environment in crate::environment::environments() {
        let overlay = environment.overlay;
        for choice in choices(&options(overlay)) {
            let name = format!("{overlay}+{}", choice.join("+"));
            let named: String = choice.iter().map(|name| format!("  - ../../components/{name}\n")).collect();
            let folder = format!("choices/{name}");
            let text = format!(
                "resources:\n  - ../../overlays/{overlay}\nnamespace: {}\ncomponents:\n{named}",
                environment.namespace
            );
            copy.write(&format!("{folder}/kustomization.yaml"), &text);
            folders.push((name, copy.path(&folder)));
            for option in choice {
                *kinds.entry(option).or_default() += 1;
            }
        }
    }
    assert!(kinds.contains_key("azure-workload-identity"), "no option was tried but {kinds:?}");
    let overlays = build::build_all(&folders);
    let checks = [
        capacity::check,
        configuration::check,
        references::check,
        schema::names,
        security::check,
        selectors::check,
        traffic::check,
    ];
    let findings = overlays.iter().flat_map(|overlay| checks.iter().flat_map(|check| check(overlay)));
    none(&findings.collect());
    none(&schema::check(&overlays));
}
