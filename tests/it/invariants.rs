//! What ARCHITECTURE.md promises of the code's structure.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// All source files, as their path below `src` and their text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path: PathBuf = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("sources are text");
                let below = path.strip_prefix(&root).expect("it is below src");
                sources.push((below.display().to_string(), text));
            }
        }
    }
    assert!(sources.len() > 20, "this looks at the wrong folder");
    sources
}

/// The files with a line of code, comments aside, for which `is_it` holds.
fn files_with(is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let has = |text: &str| text.lines().any(|line| !line.trim_start().starts_with("//") && is_it(line));
    let mut files: Vec<_> =
        sources().into_iter().filter(|(_, text)| has(text)).map(|(path, _)| path).collect();
    files.sort();
    files
}

/// Whether `line` names something in the crate `library`, and not in a module of ours with the same name.
fn names(line: &str, library: &str) -> bool {
    line.match_indices(&format!("{library}::")).any(|(start, _)| {
        let before = line.get(..start).and_then(|before| before.chars().next_back());
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
    })
}

#[test]
fn libraries_stay_where_they_belong() {
    let only = |library: &str, allowed: &[&str]| {
        for file in files_with(|line| names(line, library)) {
            assert!(allowed.iter().any(|prefix| file.starts_with(prefix)), "{file} names {library}");
        }
    };
    only("async_nats", &["nats/", "source/", "dead_letter/", "handover/"]);
    only("hyper", &["control/server.rs", "cli/health.rs"]);
    only("hyper_util", &["control/server.rs", "cli/health.rs"]);
    only("httparse", &["deliver/h1/response.rs"]);
    only("backoff", &["base/backoff.rs"]);
    only("governor", &["route/schedule/rate_limit.rs"]);
    only("figment", &["config/layers.rs"]);
    only("sd_notify", &["control/systemd.rs"]);
    only("indicatif", &["cli/"]);
}

#[test]
fn decisions_read_no_clock_and_do_no_io() {
    for word in ["SystemTime", "tokio::", "async fn", ".await", "std::fs", "std::net"] {
        let files = files_with(|line| line.contains(word));
        let guilty: Vec<_> = files
            .iter()
            .filter(|file| file.starts_with("route/schedule") && !file.contains("test"))
            .collect();
        assert!(guilty.is_empty(), "{guilty:?} have {word}");
    }
}

#[test]
fn files_stay_short() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 420, "{file} has {lines} lines: find the second noun in it");
    }
}
