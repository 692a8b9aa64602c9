//! One test per rule; where the words matter, the whole error is compared.

mod auth;
mod batches;
mod credentials;
mod egress;
mod endpoints;
mod equality;
mod exposed;
mod fuzz;
mod layers;
mod mistakes;
mod printing;
mod rules;
mod secrets;
mod shipped;
mod signing;
mod subjects;
mod twins;
mod unread;
mod values;

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{Config, Sources, load, load_with_warnings};

/// A route that is right, at the start of many a file.
const ROUTE: &str = "[routes.todos.webhook]\nurl = \"https://example.com/hook\"\n";

/// The same as one line, which other lines with whole key paths can stand beside.
const URL: &str = "routes.todos.webhook.url = \"https://example.com/hook\"\n";

/// A credentials file as `nsc` writes it.
fn creds(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n\
         {seed}\n------END USER NKEY SEED------\n"
    )
}

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
        load(self.sources).unwrap_or_else(|errors| panic!("expected a good configuration: {errors}"))
    }

    /// The warnings, one by one, with `DIR/` for the folder.
    fn warnings(self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let (_, warnings) = load_with_warnings(self.sources)
            .unwrap_or_else(|errors| panic!("expected a good configuration: {errors}"));
        warnings.iter().map(|warning| warning.to_string().replace(&folder, "DIR/")).collect()
    }

    /// The mistakes, one by one, with `DIR/` for the folder.
    fn errors(self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        match load(self.sources) {
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

/// Every key that the reader knows, those of a route as `routes.todos.KEY`. It is the reader itself that lists them.
fn every_key() -> Vec<String> {
    let keys = |table| keys_below(table).expect("an unknown key is answered by those that are known");
    let outside = keys("").into_iter().filter(|key| key != "routes");
    outside.chain(keys("routes.todos.")).collect()
}

/// The keys below a table, all the way down; `None` for what is no table, or one whose names are the operator's.
fn keys_below(table: &str) -> Option<Vec<String>> {
    let unknown = format!("{table}a_key_that_no_table_has");
    let errors = load(given(&format!("{unknown} = 1\n")).sources).unwrap_err();
    let error = errors.iter().find(|error| error.key == unknown)?;
    let names = error.problem.strip_prefix("unknown key, expected one of ")?;
    let below = |name| {
        let key = format!("{table}{name}");
        keys_below(&format!("{key}.")).unwrap_or_else(|| vec![key])
    };
    Some(names.split(", ").flat_map(below).collect())
}
