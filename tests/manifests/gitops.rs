//! What ArgoCD is told, and the guard of the namespaces.

use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::build::{self, BRANCH, Copy};
use crate::figures;
use crate::object::{Object, list, text};
use crate::overlay::{Findings, Overlay, broken_at, none};
use crate::schema;

/// The folder `gitops`, built.
fn gitops() -> &'static Overlay {
    static BUILT: OnceLock<Overlay> = OnceLock::new();
    BUILT.get_or_init(|| build::build_all(&[("gitops".to_owned(), build::k8s().join("gitops"))]).remove(0))
}

/// The function that removes the namespaces of old branches, by its principal.
const DEPROVISIONING: &str = "41ed2068-1c66-4911-9345-1b413cb9a21c";

/// What platform.md says of the Application, the ApplicationSet and the guard.
const PLATFORM: &str = r#"
Application/broadcaster
    metadata.namespace = "argocd"
    spec.source.path = "k8s/overlays/production"
    spec.destination.namespace = "project"
    spec.syncPolicy.automated.prune = true
    spec.syncPolicy.automated.selfHeal = true

ApplicationSet/broadcaster-feature
    metadata.namespace = "argocd"
    spec.template.spec.source.path = "k8s/overlays/feature"
    spec.template.spec.source.kustomize.namespace = "feature-{{.branch_slug}}"
    spec.template.spec.destination.namespace = "feature-{{.branch_slug}}"
    spec.template.spec.syncPolicy.automated.prune = true
    spec.template.spec.syncPolicy.automated.selfHeal = true

ClusterRole/namespace-manager
    rules[0] = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch", "delete"]}
    rules[1] = null

ClusterRoleBinding/namespace-manager
    roleRef = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "namespace-manager"}
    subjects[0].kind = "User"
    subjects[0].name = "41ed2068-1c66-4911-9345-1b413cb9a21c"
    subjects[1] = null
"#;

fn check(overlay: &Overlay) -> Findings {
    [figures::table(overlay, PLATFORM), projects(overlay)].concat()
}

/// The project of each Application allows what the overlay has, where it has it.
fn projects(overlay: &Overlay) -> Findings {
    let mut findings = Findings::new();
    for (kind, spec) in [("Application", "spec"), ("ApplicationSet", "spec.template.spec")] {
        for application in overlay.of_kind(kind) {
            let mut add = |path: &str, what: String| {
                findings.push(overlay.finding(application, &format!("{spec}.{path}"), what));
            };
            let get = |path: &str| application.get(&format!("{spec}.{path}"));
            let path = text(get("source.path"));
            if !build::k8s().join("..").join(path).join("kustomization.yaml").is_file() {
                add("source.path", format!("{path} is not there"));
                continue;
            }
            let Some(project) = overlay.find(&format!("AppProject/{}", text(get("project")))) else {
                add("project", "is not there".to_owned());
                continue;
            };
            let destination = text(get("destination.namespace"));
            let fits = |allowed: &Value| match text(&allowed["namespace"]).strip_suffix('*') {
                Some(start) => destination.starts_with(start),
                None => allowed["namespace"] == destination,
            };
            if !project.list("spec.destinations").iter().any(fits) {
                add("destination.namespace", format!("{} does not allow {destination}", project.id()));
            }
            if !project.list("spec.sourceRepos").contains(get("source.repoURL")) {
                add("source.repoURL", format!("{} does not allow it", project.id()));
            }
            let objects = &build::overlay(path.rsplit('/').next().unwrap_or_default()).objects;
            for object in objects.iter().filter(|object| object.get("metadata.namespace").is_null()) {
                let allowed = project.list("spec.clusterResourceWhitelist");
                if !allowed.iter().any(|allowed| allowed["kind"] == object.kind()) {
                    add("project", format!("{} does not allow {}", project.id(), object.id()));
                }
            }
        }
    }
    findings
}

/// The namespaces that nobody deletes by mistake have the label that the guard looks for.
fn guarded(overlay: &Overlay, guard: &Object) -> Findings {
    let labels = guard.get("spec.matchConstraints.objectSelector.matchLabels");
    let (label, value) = crate::object::entries(labels).next().expect("the guard looks for a label");
    let mut findings = Findings::new();
    for namespace in overlay.of_kind("Namespace") {
        overlay.expect(&namespace.id(), &format!("metadata.labels[{label}]"), value, &mut findings);
    }
    findings
}

#[test]
fn argo_cd_is_told_what_the_platform_says() {
    none(&check(gitops()));
    none(&schema::check(std::slice::from_ref(gitops())));
    none(&schema::names(gitops()));
}

#[test]
fn namespaces_that_matter_are_guarded() {
    let guard = gitops().of_kind("ValidatingAdmissionPolicy").next().expect("there is a guard");
    assert_eq!(guard.get("spec.failurePolicy"), "Fail");
    assert!(
        guard.list("spec.validations").iter().any(|rule| text(&rule["expression"]).contains(DEPROVISIONING))
    );
    let binding = gitops().of_kind("ValidatingAdmissionPolicyBinding").next().expect("it is bound");
    assert_eq!(
        (binding.text("spec.policyName"), list(binding.get("spec.validationActions"))),
        (guard.name(), &[json!("Deny")][..])
    );
    let overlays = ["staging", "production", "production-durable"].map(build::overlay);
    none(&overlays.iter().flat_map(|overlay| guarded(overlay, guard)).collect());
    broken_at(
        build::overlay("production"),
        ("Namespace/project", "metadata.labels", json!({})),
        |overlay| guarded(overlay, guard),
        "Namespace/project: metadata.labels[todo-app.example.com/protected]: null, not \"true\"",
    );
}

/// ArgoCD does by settings of kustomize what people do by `sed`: the result has to be the same.
#[test]
fn the_environment_of_a_pull_request_is_that_of_its_branch() {
    let set = gitops().of_kind("ApplicationSet").next().expect("there is one");
    let by_slug =
        set.get("spec.template.spec.source.kustomize").to_string().replace("{{.branch_slug}}", BRANCH.1);
    let settings: Value =
        serde_json::from_str(&by_slug.replace("{{.head_sha}}", "0.1.0")).expect("it is JSON");
    let copy = Copy::new();
    let file = copy.path("overlays/feature/kustomization.yaml");
    let written = fs::read_to_string(&file).expect("it is text");
    let mut kustomization = crate::object::parse_yaml(&written).expect("it is YAML").remove(0);
    kustomization["namespace"] = settings["namespace"].clone();
    let patches = kustomization["patches"].as_array_mut().expect("it has patches");
    patches.extend(list(&settings["patches"]).iter().cloned());
    for image in list(&settings["images"]) {
        let (name, image) = text(image).split_once('=').expect("it replaces an image");
        let (name_there, tag) = image.rsplit_once(':').expect("it has a tag");
        let image = json!({ "name": name, "newName": name_there, "newTag": tag });
        let images = kustomization["images"].as_array_mut().expect("it has images");
        let known = images.iter_mut().find(|known| known["name"] == name);
        *known.expect("the overlay has an image of this name") = image;
    }
    fs::write(&file, kustomization.to_string()).expect("the copy is writable");
    let yaml = build::kustomize(&copy.path("overlays/feature")).expect("it builds");
    assert!(!yaml.contains(BRANCH.0), "{} is left: {yaml}", BRANCH.0);
    let (ours, theirs) = (Object::parse_all(&yaml).expect("it is YAML"), &build::overlay("feature").objects);
    for (our, their) in ours.iter().zip(theirs) {
        assert_eq!(our.0, their.0, "{}", their.id());
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn what_argo_cd_is_told_wrong_is_found() {
    let application = "Application/broadcaster";
    let cases = [
        (
            application,
            "spec.syncPolicy.automated.selfHeal",
            json!(false),
            "spec.syncPolicy.automated.selfHeal: false, not true",
        ),
        (
            application,
            "spec.project",
            json!("broadcaster-feature"),
            "spec.destination.namespace: AppProject/broadcaster-feature does not allow project",
        ),
        (
            "AppProject/broadcaster",
            "spec.clusterResourceWhitelist",
            json!([]),
            "Application/broadcaster: spec.project: AppProject/broadcaster does not allow Namespace/project",
        ),
        (
            "ClusterRole/namespace-manager",
            "rules[0].resources",
            json!(["*"]),
            "rules[0]: {\"apiGroups\":[\"\"],\"resources\":[\"*\"],\"verbs\":[\"get\",\"list\",\"watch\",\"delete\"]}, \
             not {\"apiGroups\":[\"\"],\"resources\":[\"namespaces\"],\"verbs\":[\"get\",\"list\",\"watch\",\"delete\"]}",
        ),
    ];
    for (id, path, wrong, what) in cases {
        let expected =
            if what.starts_with("Application") { what.to_owned() } else { format!("{id}: {what}") };
        broken_at(gitops(), (id, path, wrong), check, &expected);
    }
    let mut overlay = gitops().clone();
    overlay.object_mut(application).set("spec.source.path", json!("manifests/production"));
    assert_eq!(
        check(&overlay),
        [
            "gitops: Application/broadcaster: spec.source.path: \"manifests/production\", not \"k8s/overlays/production\"",
            "gitops: Application/broadcaster: spec.source.path: manifests/production is not there"
        ]
    );
}
