//! Where a configuration came from: what has to be read again to have it as it is now.

use std::{collections::BTreeSet, path::PathBuf, time::SystemTime};

use super::{
    Sources,
    tree::{Table, Value},
};

/// Keys that name a file whose contents stand for a setting. Those of logins, keys, certificates and headers are not among
/// them: whoever uses what is in those files reads them again by itself.
const FILES: [&str; 3] = ["url_file", "proxy_file", "template_file"];
/// Tables of such keys, whose names are the operator's.
const TABLES: [&str; 1] = ["secrets_file"];

/// Where a configuration came from.
///
/// It cannot be printed: there are secrets among it.
#[derive(Clone)]
pub struct Origin {
    /// What it was made of.
    pub sources: Sources,
    /// The files that settings were read from, and from which nobody reads them again.
    pub files: BTreeSet<PathBuf>,
    /// When it was begun to read them.
    pub at: SystemTime,
}

impl Origin {
    /// Of what is read from `sources` now.
    pub fn of(sources: Sources) -> Self {
        let files = sources.file().into_iter().collect();
        Self { sources, files, at: SystemTime::now() }
    }

    /// Adds the files that the settings below `table` name.
    pub(super) fn note(&mut self, table: &Table) {
        for (key, entry) in table {
            match &entry.value {
                Value::Text(path) if FILES.contains(&key.as_str()) => self.add(path),
                Value::Table(below) if TABLES.contains(&key.as_str()) => {
                    for entry in below.values() {
                        if let Value::Text(path) = &entry.value {
                            self.add(path);
                        }
                    }
                }
                Value::Table(below) => self.note(below),
                _ => {}
            }
        }
    }

    fn add(&mut self, path: &str) {
        self.files.insert(PathBuf::from(path));
    }
}
