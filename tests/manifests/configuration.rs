//! The configuration of broadcaster that the manifests embed.

use crate::build;
use crate::container::{Container, data};
use crate::environment;
use crate::figures;
use crate::object::Object;
use crate::overlay::{Findings, Overlay, none};
use testkit::daemon;

const DEPLOYMENT: &str = "Deployment/broadcaster";
const VARIABLE: &str = "BROADCASTER_CONFIG";

/// The container of broadcaster with this URL in its Secret.
pub(crate) fn container(overlay: &Overlay, url: &str) -> Container {
    Container::lay_out(overlay, DEPLOYMENT, "broadcaster", url)
}

/// What `broadcaster check` says that is in effect, with what the container would find; else a finding with what it says is wrong.
pub(crate) fn effective(overlay: &Overlay) -> Result<toml::Table, String> {
    let container = container(overlay, "https://webhook.example.com/todos\n");
    let file = container.place(container.variable(VARIABLE));
    let output = daemon::run(&["check", "--config", &file.display().to_string()], &[]);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(said(&output.stdout).parse().expect("what is in effect is TOML"))
    } else {
        Err(format!("{}: {DEPLOYMENT}: broadcaster check: {}", overlay.name, said(&output.stderr)))
    }
}

/// What is in effect, held against the figures. (`broadcaster check` reads every file that is named, so each has to be mounted.)
pub(crate) fn check(overlay: &Overlay) -> Findings {
    let environments = environment::environments();
    let environment = environments.iter().find(|environment| environment.overlay == overlay.base());
    match effective(overlay) {
        Ok(effective) => figures::configured(environment.expect("it is an environment"), &effective),
        Err(finding) => vec![finding],
    }
}

#[test]
fn the_embedded_configuration_is_what_the_platform_says() {
    let environments = environment::environments();
    let overlays = environments.iter().map(|environment| build::overlay(environment.overlay));
    none(&overlays.flat_map(check).collect());
}

#[test]
fn what_is_wrong_in_the_configuration_is_found() {
    let refused = "Deployment/broadcaster: broadcaster check: ";
    let url = "/etc/broadcaster/secrets/WEBHOOK_URL";
    let cases = [
        (
            "queue_group = \"broadcaster-workers\"",
            "queue_group = \"other\"",
            "broadcaster.toml: routes.todos.queue_group: Some(\"other\"), not \"broadcaster-workers\"",
        ),
        ("[log]", "[log]\nlevel = \"debug\"", "broadcaster.toml: log.level: Some(\"debug\"), not \"info\""),
        ("stream = \"BROADCASTER_DEAD\"", "streem = \"BROADCASTER_DEAD\"", refused),
        (url, "/etc/broadcaster/secrets/URL", refused),
        (url, "/run/secrets/WEBHOOK_URL", refused),
    ];
    for (from, to, expected) in cases {
        refuses(|overlay| reworded(overlay, from, to), expected);
    }
    let container = "spec.template.spec.containers[broadcaster]";
    let places = [
        (format!("{container}.env[BROADCASTER_CONFIG].value"), "/etc/broadcaster/config/other.toml".into()),
        (format!("{container}.volumeMounts[secrets].mountPath"), "/etc/broadcaster/secret".into()),
        (
            "spec.template.spec.volumes[secrets].secret.items".to_owned(),
            serde_json::json!([{ "key": "WEBHOOK_URL", "path": "url" }]),
        ),
    ];
    for (path, wrong) in places {
        refuses(|overlay| overlay.object_mut(DEPLOYMENT).set(&path, wrong), refused);
    }
}

/// A panic unless the check finds just this after the damage; `expected` is how it begins.
fn refuses(damage: impl FnOnce(&mut Overlay), expected: &str) {
    let mut overlay = build::overlay("production").clone();
    none(&check(&overlay));
    damage(&mut overlay);
    let findings = check(&overlay);
    let expected = format!("production: {expected}");
    assert!(findings.len() == 1 && findings[0].starts_with(&expected), "{expected}: {findings:?}");
}

/// Puts this in place of something in broadcaster.toml.
fn reworded(overlay: &mut Overlay, from: &str, to: &str) {
    let is_it = |object: &&mut Object| {
        object.kind() == "ConfigMap" && object.name().starts_with("broadcaster-config")
    };
    let map = overlay.objects.iter_mut().find(is_it).expect("there is a configuration");
    let text = data(map, "broadcaster.toml").expect("it has the file");
    assert!(text.contains(from), "{text}");
    let text = text.replace(from, to);
    map.set("data[broadcaster.toml]", text.into());
}
