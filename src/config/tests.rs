//! One test per rule; where the words matter, the whole error is compared.

mod layers;
mod printing;
mod rules;
mod secrets;
mod shipped;
mod values;

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{Config, Sources};

/// A route that is right, at the start of many a file.
const ROUTE: &str = "[routes.todos.webhook]\nurl = \"https://example.com/hook\"\n";

/// The same as one line, which other lines with whole key paths can stand beside.
const URL: &str = "routes.todos.webhook.url = \"https://example.com/hook\"\n";

/// What a test loads: a file called `config.toml`, variables, flags, and files beside it.
struct Given {
    folder: TempDir,
    sources: Sources,
}

fn given(file: &str) -> Given {
    let given = Given { folder: tempfile::tempdir().unwrap(), sources: Sources::default() };
    let path = given.beside("config.toml", file);
    Given { sources: Sources { file: Some(path), ..Sources::default() }, ..given }
}

fn no_file() -> Given {
    Given { folder: tempfile::tempdir().unwrap(), sources: Sources::default() }
}

impl Given {
    fn var(mut self, name: &str, value: &str) -> Self {
        self.sources.env.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, key: &str, value: &str, flag: &str) -> Self {
        self.sources.flags.push((key.into(), value.into(), flag.into()));
        self
    }

    /// Writes a file into the folder of the configuration.
    fn beside(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    fn load(self) -> Config {
        super::load(self.sources).unwrap_or_else(|errors| panic!("expected a good configuration: {errors}"))
    }

    /// The mistakes, one by one, with `DIR/` for the folder.
    fn errors(self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        match super::load(self.sources) {
            Ok(config) => panic!("expected mistakes, but this was loaded:\n{}", config.to_toml()),
            Err(errors) => errors.iter().map(|error| error.to_string().replace(&folder, "DIR/")).collect(),
        }
    }

    /// The only mistake.
    fn error(self) -> String {
        let mut errors = self.errors();
        assert_eq!(errors.len(), 1, "expected one mistake: {errors:#?}");
        errors.remove(0)
    }
}
