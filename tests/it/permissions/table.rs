//! The tables of the document.

use std::collections::BTreeMap;
use std::path::Path;

/// What a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Publish,
    Subscribe,
}

/// A permission as a server is configured with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) action: Action,
    pub(super) subject: String,
}

impl Permission {
    /// Whether it is for what is done with `subject`.
    pub(super) fn stands_for(&self, subject: &str) -> bool {
        let pattern = self.subject.split(' ').next().unwrap_or_default();
        match pattern.strip_suffix('>') {
            Some(start) => subject.starts_with(start),
            None => pattern == subject,
        }
    }
}

/// The settings that stand for the placeholders.
const SETTINGS: [(&str, &str); 10] = [
    ("<endpoints.bucket>", "broadcaster"),
    ("<subject>", "todos.events"),
    ("<queue_group>", "broadcaster-workers"),
    ("<jetstream.stream>", "TODOS"),
    ("<jetstream.consumer>", "broadcaster-default"),
    ("<dead_letter.subject>", "broadcaster.dead.default"),
    ("<dead_letter.stream>", "DEAD"),
    ("<answer.publish>", "answers.default"),
    ("<history.subject>", "broadcaster.history"),
    ("<history.stream>", "HISTORY"),
];

/// The permissions below each of these titles, each once.
pub(super) fn permissions(titles: &[&str]) -> Vec<Permission> {
    let all = read();
    let mut wanted = Vec::new();
    for title in titles {
        let found = all.get(*title).unwrap_or_else(|| panic!("no part of the document is called {title:?}"));
        assert!(!found.is_empty(), "{title:?} lists nothing");
        for permission in found {
            if !wanted.contains(permission) {
                wanted.push(permission.clone());
            }
        }
    }
    wanted
}

/// All of them, by the titles of the document.
fn read() -> BTreeMap<String, Vec<Permission>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/permissions.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let mut parts: BTreeMap<String, Vec<Permission>> = BTreeMap::new();
    let mut title = String::new();
    for line in text.lines() {
        if let Some(found) = line.strip_prefix("## ") {
            found.clone_into(&mut title);
            parts.entry(title.clone()).or_default();
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let action = match cells.get(1) {
            Some(&"publish") => Action::Publish,
            Some(&"subscribe") => Action::Subscribe,
            _ => continue,
        };
        let mut subject = cells[2].trim_matches('`').to_owned();
        for (placeholder, setting) in SETTINGS {
            subject = subject.replace(placeholder, setting);
        }
        assert!(!subject.contains('<'), "{line}: what stands for that?");
        parts.entry(title.clone()).or_default().push(Permission { action, subject });
    }
    parts
}
