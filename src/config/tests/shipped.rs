//! The files in `config/`: they load, and the reference has every key with its default.

use std::{fs, path::Path};

use super::{ROUTE, every_key, given, no_file};
use crate::config::Config;

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

/// What is in effect but the address of the webhook, which has no default.
fn effective(config: &Config) -> Vec<String> {
    let toml = config.to_toml();
    toml.lines().filter(|line| !line.starts_with("url = \"http")).map(str::to_owned).collect()
}

#[test]
fn the_reference_sets_the_defaults() {
    assert_eq!(effective(&given(&text("broadcaster.toml")).load()), effective(&given(ROUTE).load()));
}

#[test]
fn the_reference_leaves_no_default_out() {
    let set: toml::Table = text("broadcaster.toml").parse().unwrap();
    let defaults: toml::Table = given(ROUTE).load().to_toml().parse().unwrap();
    let paths = paths(&set);
    for path in self::paths(&defaults) {
        assert!(paths.contains(&path), "broadcaster.toml does not set {path}");
    }
}

#[test]
fn the_reference_has_every_key_when_its_comments_are_settings() {
    let page: String = text("broadcaster.toml").lines().map(|line| format!("{}\n", setting(line))).collect();
    let errors = given(&page).errors();
    let known = |error: &String| !error.contains("unknown key");
    assert!(errors.iter().all(known), "broadcaster.toml has keys that do not exist: {errors:#?}");
    let set = paths(&page.parse().unwrap());
    for key in every_key() {
        // Below a key whose names are the operator's, such as `headers`, an example is enough.
        let shown = set.iter().any(|path| *path == key || path.starts_with(&format!("{key}.")));
        assert!(shown, "broadcaster.toml does not show {key}");
    }
}

/// A line of the reference as if what is commented out were set: a setting follows the `#` at once, words do not.
fn setting(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
}

fn paths(table: &toml::Table) -> Vec<String> {
    let below = |(key, value): (&String, &toml::Value)| match value {
        toml::Value::Table(table) => paths(table).iter().map(|path| format!("{key}.{path}")).collect(),
        _ => vec![key.clone()],
    };
    table.iter().flat_map(below).collect()
}

#[test]
fn the_minimal_file_is_enough() {
    assert_eq!(effective(&given(&text("minimal.toml")).load()), effective(&given(ROUTE).load()));
}

#[test]
fn every_example_loads_with_an_address_from_the_environment() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let config = given(&fs::read_to_string(&path).unwrap())
            .var("BROADCASTER__ROUTES__TODOS__WEBHOOK__URL", "https://example.com/secret")
            .var("BROADCASTER__ROUTES__TODOS__WEBHOOK__SECRETS__ROUTING_KEY", "key")
            .load();
        assert_eq!(config.routes.len(), 1, "{}", path.display());
    }
}

#[test]
fn the_demo_runs_with_the_addresses_from_the_environment() {
    let config = given(&text("demo.toml"))
        .var("BROADCASTER__ROUTES__TODOS__WEBHOOK__URL", "http://127.0.0.1:8080/")
        .var("NATS_URL", "nats://127.0.0.1:4333")
        .load();
    let [route] = config.routes.as_slice() else { panic!("one route expected: {config:#?}") };
    assert_eq!(route.dead_letter.as_ref().unwrap().subject.as_str(), "todos.dead");
    assert_eq!(config.server.api.port(), 0);
    assert!(no_file().errors()[0].contains("WEBHOOK_URL"));
}
