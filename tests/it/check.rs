//! `broadcaster check --connect`: what it says of each thing that is as it should be, or is not; and that it takes and
//! sends nothing.

mod collector;
mod egress;
mod nats;
mod webhooks;

use std::process::Output;

use serde_json::Value;
use testkit::daemon::run;

/// A line of the report: what it is about, what was looked at, the result, what was found and what to do.
#[derive(Debug)]
struct Line(Value);

impl Line {
    fn is(&self, about: &str, what: &str) -> bool {
        self.0["about"] == about && self.0["what"] == what
    }

    /// The result, and all that is said of it.
    fn said(&self) -> (&str, String) {
        let word = |key: &str| self.0[key].as_str().unwrap_or_default();
        (word("result"), format!("{} → {}", word("found"), word("advice")))
    }
}

/// What was found for this configuration, and with which status the command has ended.
struct Found {
    status: Option<i32>,
    lines: Vec<Line>,
}

impl Found {
    /// Checks a configuration that has this text.
    fn of(toml: &str) -> Self {
        Self::with(toml, &[])
    }

    /// The same with these variables.
    fn with(toml: &str, env: &[(&str, &str)]) -> Self {
        let output = checked(&["--json"], toml, env);
        let text = String::from_utf8(output.stdout).expect("the report is text");
        let parse = |line: &str| Line(serde_json::from_str(line).expect("each line is JSON"));
        Self { status: output.status.code(), lines: text.lines().map(parse).collect() }
    }

    /// A panic unless there is one such line, it has this result, and says all these words.
    fn assert(&self, about: &str, what: &str, result: &str, words: &[&str]) {
        let fits = |line: &&Line| {
            let (found, said) = line.said();
            line.is(about, what) && found == result && words.iter().all(|word| said.contains(word))
        };
        let all = &self.lines;
        assert_eq!(
            all.iter().filter(fits).count(),
            1,
            "{about}, {what}: no {result} with {words:?} in {all:#?}"
        );
    }

    /// A panic where a line has this result.
    fn assert_none(&self, result: &str) {
        let found: Vec<_> = self.lines.iter().filter(|line| line.said().0 == result).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// Runs the command over a configuration that has this text.
fn checked(arguments: &[&str], toml: &str, env: &[(&str, &str)]) -> Output {
    let (_directory, path) = super::cli::file(toml);
    let output = run(&[&["check", "--connect", "--config", &path], arguments].concat(), env);
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains("SECRET"), "a secret is shown: {text}");
    }
    output
}
