//! What ARCHITECTURE.md promises of the code's structure, held against the source.

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

/// `text` without its imports from modules of ours, some of which have the names of libraries.
fn without_own_imports(text: &str) -> String {
    let is_own = |statement: &str| {
        let path = statement.trim_start().trim_start_matches("pub ").strip_prefix("use ");
        path.is_some_and(|path| ["crate::", "super::", "self::"].iter().any(|own| path.starts_with(own)))
    };
    let mut kept = String::new();
    let mut in_own = false;
    for line in text.lines() {
        in_own = in_own || is_own(line);
        if !in_own {
            kept.push_str(line);
            kept.push('\n');
        }
        in_own = in_own && !line.trim_end().ends_with(';');
    }
    kept
}

/// The files with a line of code, comments aside, for which `is_it` holds.
fn files_with(is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let has = |text: &str| {
        without_own_imports(text).lines().any(|line| !line.trim_start().starts_with("//") && is_it(line))
    };
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
    let streams = ["cli/check/source.rs", "cli/check/process.rs", "source/"];
    only("async_nats", &[&streams[..], &["nats/library.rs"]].concat());
    only(
        "hyper",
        &["control/server/", "cli/daemon/", "cli/health.rs", "cli/listen/server.rs", "deliver/post.rs"],
    );
    only(
        "hyper_util",
        &["control/server/", "cli/daemon/", "cli/health.rs", "cli/listen/server.rs", "deliver/post.rs"],
    );
    only("rcgen", &["cli/listen/mod.rs", "config/tests/"]);
    only("httparse", &["deliver/h1/response/mod.rs"]);
    only("socket2", &["base/network/", "control/", "deliver/connect/"]);
    only("backoff", &["base/backoff.rs"]);
    only("governor", &["route/schedule/rate_limit.rs"]);
    only("figment", &["config/layers.rs"]);
    only("flate2", &["control/server/packed.rs", "deliver/body/packed.rs"]);
    only("zstd", &["deliver/body/packed.rs"]);
    only("minijinja", &["expression/", "template/"]);
    only("sd_notify", &["control/systemd.rs"]);
    only("indicatif", &["cli/"]);
    only("tokio_stream", &["control/api/attempts.rs", "control/status/events.rs"]);
    only("tokio_socks", &["deliver/connect/proxy/socks.rs"]);
    only("prometheus_client", &["control/metrics/"]);
    only("prost", &["otlp/"]);
}

/// Which of our modules a module may import: its own, and those named here. A message goes from the top to the bottom of
/// `lib.rs`; what is used stands above its users in this table, so that there is no circle.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("trace", &["base"]),
    ("message", &["base", "trace"]),
    ("stats", &["base", "message"]),
    ("template", &["base", "message"]),
    ("expression", &["base", "message", "template"]),
    ("config", &["base", "expression", "message", "template"]),
    ("nats", &["base", "config", "message", "stats"]),
    ("dead_letter", &["base", "config", "message", "nats", "stats"]),
    ("history", &["base", "config", "message", "nats"]),
    ("deliver", &["base", "config", "message", "template"]),
    ("otlp", &["base", "config", "deliver", "trace"]),
    (
        "route",
        &["base", "config", "dead_letter", "deliver", "expression", "history", "message", "stats", "trace"],
    ),
    ("replay", &["base", "config", "dead_letter", "deliver", "message", "route"]),
    ("endpoints", &["base", "config", "message", "nats", "route"]),
    ("source", &["base", "config", "deliver", "message", "nats", "route", "stats"]),
    ("handover", &["base", "config", "deliver", "message", "nats", "route"]),
    ("lane", &["base", "config", "deliver", "handover", "message", "nats", "route", "source", "stats"]),
    (
        "control",
        &[
            "base",
            "config",
            "dead_letter",
            "deliver",
            "endpoints",
            "history",
            "lane",
            "message",
            "nats",
            "replay",
            "route",
            "stats",
            "trace",
        ],
    ),
    (
        "cli",
        &[
            "base",
            "config",
            "control",
            "dead_letter",
            "deliver",
            "endpoints",
            "handover",
            "history",
            "message",
            "nats",
            "otlp",
            "replay",
            "route",
            "source",
        ],
    ),
    (
        "app",
        &[
            "base",
            "config",
            "control",
            "dead_letter",
            "deliver",
            "endpoints",
            "handover",
            "history",
            "lane",
            "message",
            "nats",
            "otlp",
            "route",
            "stats",
            "trace",
        ],
    ),
];

/// The modules of ours that `text` imports or names, tests aside.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => found.extend(entries(list).map(first_word)),
            None => found.push(first_word(rest)),
        }
    }
    // Constants of the crate itself, such as its version, are everybody's.
    found.retain(|name| name.starts_with(|first: char| first.is_ascii_lowercase()));
    found
}

/// The entries of a list of imports that begins behind its brace, without those of lists within.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let end = list.find(|letter| {
        depth += u32::from(letter == '{');
        let is_end = letter == '}' && depth == 0;
        depth = depth.saturating_sub(u32::from(letter == '}'));
        is_end
    });
    let mut depth = 0_u32;
    let is_comma = move |letter| {
        depth += u32::from(letter == '{');
        depth -= u32::from(letter == '}');
        letter == ',' && depth == 0
    };
    list.get(..end.unwrap_or(list.len())).unwrap_or_default().split(is_comma).map(str::trim)
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn modules_import_only_what_is_below_them() {
    let mut above = Vec::new();
    for (module, allowed) in MAY_IMPORT {
        assert!(allowed.iter().all(|name| above.contains(name)), "{module} is above what it may import");
        above.push(module);
    }
    for (file, text) in sources() {
        let module = first_word(&file);
        if ["main", "lib"].contains(&module.as_str()) || file.contains("test") {
            continue;
        }
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{file} is in a module that the table does not have"));
        for import in imports(&text) {
            let fine = import == module || allowed.contains(&import.as_str());
            assert!(fine, "{file} imports {import}, which {module} may not");
        }
    }
}

#[test]
fn imports_are_found_in_lists_and_in_code() {
    let text = "use crate::{\n    base::clock::{Clock, Time},\n    nats,\n};\nuse crate::stats::Counter;\n\
                // crate::cli\nfn f() { crate::route::g() }\n#[cfg(test)]\nuse crate::app;\n";
    assert_eq!(imports(text), ["base", "nats", "stats", "route"]);
}

#[test]
fn decisions_read_no_clock_and_do_no_io() {
    for word in
        ["SystemTime", "Instant::now", "Clock", "tokio::", "async fn", ".await", "std::fs", "std::net"]
    {
        let files = files_with(|line| line.contains(word) && !line.contains("ToldClock"));
        let guilty: Vec<_> = files
            .iter()
            .filter(|file| file.starts_with("route/schedule") && !file.contains("test"))
            .filter(|file| !(word == "Clock" && file.ends_with("rate_limit.rs")))
            .collect();
        assert!(guilty.is_empty(), "{guilty:?} have {word}");
    }
}

#[test]
fn files_stay_short() {
    for (file, text) in sources().into_iter().filter(|(file, _)| file.ends_with(".rs")) {
        let lines = text.lines().count();
        assert!(lines <= 420, "{file} has {lines} lines: find the second noun in it");
    }
}
