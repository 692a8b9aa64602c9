//! The documents: short where they have to be, complete where they say so, and without a link that leads nowhere, in the
//! repository and in what is shipped.
#![expect(clippy::panic, reason = "a test fails by a panic that says what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use markdown::Page;

mod markdown;
mod shipped;

/// A stranger reads no more before deciding.
const LONGEST_README: usize = 150;

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All pages below `root`, but what was built or installed.
fn pages(root: &Path) -> Vec<PathBuf> {
    const NOT_OURS: [&str; 3] = ["target", ".git", ".tools"];
    let mut folders = vec![root.to_owned()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !NOT_OURS.contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The links of the pages below `root` that lead to no file, or to no part of it. Those to other sites are not followed.
fn dead_links(root: &Path) -> Vec<String> {
    let dead = |page: PathBuf| {
        let links = Page::read(&read(&page)).links;
        let dead = links.into_iter().filter(|link| !is_elsewhere(link) && !leads_somewhere(&page, link));
        let name = page.strip_prefix(root).expect("it is below").display().to_string();
        dead.map(move |link| format!("{name}: {link}")).collect::<Vec<_>>()
    };
    pages(root).into_iter().flat_map(dead).collect()
}

fn is_elsewhere(link: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme))
}

fn leads_somewhere(page: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let folder = page.parent().expect("a page is in a folder");
    let target = if path.is_empty() { page.to_owned() } else { folder.join(path) };
    // `join` takes a path from the root as it is: that one is of a site or a machine, not of the repository.
    !path.starts_with('/')
        && target.exists()
        && anchor.is_none_or(|anchor| Page::read(&read(&target)).anchors.contains(anchor))
}

#[test]
fn every_link_leads_somewhere() {
    let root = repository("");
    let count: usize = pages(&root).iter().map(|page| Page::read(&read(page)).links.len()).sum();
    assert!(count > 50, "only {count} links were found");
    assert_eq!(dead_links(&root), Vec::<String>::new());
}

#[test]
fn every_link_in_the_package_leads_somewhere() {
    let package = tempfile::tempdir().expect("a temporary directory can be made");
    shipped::lay_out_package(package.path());
    assert!(package.path().join("README.md").is_file(), "the package has a README.md");
    assert_eq!(dead_links(package.path()), Vec::<String>::new());
}

#[test]
fn every_link_in_the_archive_leads_somewhere() {
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    shipped::lay_out_archive(archive.path());
    assert!(archive.path().join("broadcaster/README.md").is_file(), "the archive has a README.md");
    assert_eq!(dead_links(archive.path()), Vec::<String>::new());
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it is writable");
    write(
        "a.md",
        "# One part\n[b](b.md) [b](b.md#two) [](#one-part) [c](c.md) [b](b.md#three) [](#four) [](/a.md)",
    );
    write("b.md", "# Two\n[site](https://example.com/none) [a](./a.md#one-part)");
    assert_eq!(dead_links(folder.path()), ["a.md: c.md", "a.md: b.md#three", "a.md: #four", "a.md: /a.md"]);
}

#[test]
fn the_readme_is_short() {
    let lines = read(&repository("README.md")).lines().count();
    assert!(lines <= LONGEST_README, "README.md has {lines} lines: what belongs into docs/?");
}

#[test]
fn every_document_is_linked_from_the_readme() {
    let links = Page::read(&read(&repository("README.md"))).links;
    for page in pages(&repository("docs")) {
        let name = format!("docs/{}", page.file_name().expect("a file has a name").display());
        assert!(links.contains(&name), "README.md does not link to {name}");
    }
}

#[test]
fn every_picture_is_shown() {
    let shown: BTreeSet<_> =
        pages(&repository("docs")).iter().flat_map(|page| Page::read(&read(page)).links).collect();
    for file in repository("docs").read_dir().expect("docs can be read") {
        let file = file.expect("docs can be read").path();
        let name = file.file_name().expect("a file has a name").display().to_string();
        assert!(
            !(name.ends_with(".svg") || name.ends_with(".png")) || shown.contains(&name),
            "no document shows docs/{name}"
        );
    }
}

/// The words written as code in the tables of a document, and the rows that they begin.
fn rows(document: &str) -> Vec<(String, Vec<String>)> {
    let text = read(&repository(document));
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.flat_map(|row| {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim_matches('`').to_owned()).collect();
        let names: Vec<_> = cells[0].split("`, `").map(str::to_owned).collect();
        names.into_iter().map(move |name| (name, cells.clone())).collect::<Vec<_>>()
    })
    .collect()
}

/// Every key of config/broadcaster.toml, which a test of the configuration holds against the code, and its value where it is
/// set. What is commented out is a key too: it follows the `#` at once, words do not.
fn keys() -> Vec<(String, Option<String>)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in read(&repository("config/broadcaster.toml")).lines() {
        let set = !line.starts_with('#');
        let line = line.trim_start_matches('#');
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section =
                name.replace("routes.todos", "routes.R").replace("server.tokens.ops", "server.tokens.NAME");
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with(' ')) {
            let list = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
            keys.push((format!("{section}.{key}"), set.then(|| list.unwrap_or(value).replace('"', ""))));
        }
    }
    keys
}

#[test]
fn the_configuration_is_described_key_by_key() {
    let rows = rows("docs/configuration.md");
    let keys = keys();
    assert!(keys.len() > 50, "only {} keys were found", keys.len());
    for (key, default) in keys {
        // Any header, any secret and any parameter can be set; the reference shows one.
        let key = key
            .replace("headers.authorization", "headers")
            .replace("headers_file.authorization", "headers_file")
            .replace("secrets.routing_key", "secrets")
            .replace("secrets_file.routing_key", "secrets_file")
            .replace("parameters.resource", "parameters")
            .replace("header_templates.x-tenant", "header_templates");
        let Some((_, row)) = rows.iter().find(|(name, _)| *name == key) else {
            panic!("docs/configuration.md has no row for {key}")
        };
        // The address of the webhook is an example, not a default.
        if let Some(default) = default.filter(|_| key != "routes.R.webhook.url") {
            assert_eq!(row[1], default, "the default of {key} in docs/configuration.md");
        }
    }
}

#[test]
fn every_key_that_is_described_exists() {
    let keys: BTreeSet<_> = keys().into_iter().map(|(key, _)| key).collect();
    let described = rows("docs/configuration.md").into_iter().map(|(name, _)| name);
    for name in described.filter(|name| name.contains('.')) {
        let is_key = keys.contains(&name)
            || [
                "headers",
                "headers_file",
                "header_templates",
                "secrets",
                "secrets_file",
                "auth.oauth2.parameters",
            ]
            .iter()
            .any(|table| name == format!("routes.R.webhook.{table}") || name == format!("tracing.{table}"));
        assert!(
            is_key,
            "docs/configuration.md describes {name}, which config/broadcaster.toml does not have"
        );
    }
}

#[test]
fn every_dependency_has_its_line() {
    let manifest: toml::Table = read(&repository("Cargo.toml")).parse().expect("the manifest is TOML");
    let used: BTreeSet<_> = manifest["dependencies"].as_table().expect("a table").keys().cloned().collect();
    let described: BTreeSet<_> = rows("docs/dependencies.md").into_iter().map(|(name, _)| name).collect();
    assert_eq!(described, used, "docs/dependencies.md, and the dependencies of Cargo.toml");
}

/// What runs the daemon has to wait for a stop, and kills it otherwise with all in hand; a restart has to help.
#[test]
fn who_runs_the_daemon_waits_for_its_stop() {
    let mut found = 0;
    for page in pages(&repository("")) {
        let text = read(&page);
        let name = page.display();
        for line in text.lines().filter(|line| line.starts_with("docker run")) {
            assert!(line.contains("--stop-timeout 60"), "{name}: {line}");
            found += 1;
        }
        for line in text.lines().filter(|line| line.contains("healthcheck:")) {
            assert!(line.contains("[CMD, broadcaster, health, --live]"), "{name}: {line}");
            assert!(text.contains("stop_grace_period: 60s"), "{name} has no stop_grace_period");
            found += 1;
        }
    }
    assert_eq!(found, 2, "a docker run and a compose file");
}
