//! What watches broadcaster: its rules and alerts, their runbook, the dashboard. They are held against each other, against
//! promtool, and by a real Prometheus against a running daemon.
#![expect(clippy::panic, reason = "a test fails by a panic that says what is wrong")]

mod cluster;
mod dashboard;
mod live;
mod names;
mod prometheus;
mod rules;
mod runbook;

/// A file of this repository.
fn repository(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of this repository.
fn read(path: &str) -> String {
    let file = repository(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What a file of this repository holds, each of its YAML documents.
fn read_yaml<T: serde::de::DeserializeOwned>(path: &str) -> Vec<T> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
