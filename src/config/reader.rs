//! Reading the merged tree field by field: what is wrong is noted, and reading goes on.

use std::cell::RefCell;

use super::{
    ConfigError, ConfigWarning, Place, layers,
    tree::{Entry, Table, Value},
};

/// The merged tree, and the mistakes found in it so far.
pub(super) struct Reader {
    root: Table,
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigWarning>>,
}

/// A table that is being read. Every key that is asked for is known; what is left at the end is a mistake.
///
/// A mistake is noted where it is found, and [`Reported`] stands for the value from there on. So that all mistakes are
/// found at once, read all fields first, and use `?` after that.
pub(super) struct Section<'r> {
    reader: &'r Reader,
    path: String,
    table: &'r Table,
    known: RefCell<Vec<&'static str>>,
}

/// Stands where a value could not be read: the proof that the reason was noted, since only noting one makes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported(());

static EMPTY: Table = Table::new();

// === impl Reader ===

impl Reader {
    pub(super) fn new(root: Table) -> Self {
        Self { root, errors: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Section<'_>) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        Section::read(self, String::new(), &self.root, read)
    }

    /// The mistakes and the warnings, in the order in which they were found.
    pub(super) fn into_findings(self) -> (Vec<ConfigError>, Vec<ConfigWarning>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }

    /// Notes a mistake about `key`, which is set where the tree says, or by default in the nearest table that is set.
    fn report(&self, key: String, problem: String) -> Reported {
        let place = self.place(&key);
        self.note(ConfigError { key, place, problem })
    }

    /// Notes a mistake that has no place: something is not set.
    fn report_unset(&self, key: String, problem: String) -> Reported {
        self.note(ConfigError { key, place: Place::Unset, problem })
    }

    fn note(&self, error: ConfigError) -> Reported {
        self.errors.borrow_mut().push(error);
        Reported(())
    }

    fn place(&self, key: &str) -> Place {
        let mut place = &Place::Unset;
        let mut table = &self.root;
        for part in key.split('.') {
            let Some(entry) = table.get(part) else { break };
            place = &entry.place;
            let Value::Table(below) = &entry.value else { break };
            table = below;
        }
        place.clone()
    }
}

// === impl Section ===

impl<'r> Section<'r> {
    fn read<T>(
        reader: &'r Reader,
        path: String,
        table: &'r Table,
        read: impl FnOnce(&Self) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        let section = Section { reader, path, table, known: RefCell::default() };
        let result = read(&section);
        section.report_unknown();
        result
    }

    /// The path of this table.
    pub(super) fn here(&self) -> &str {
        &self.path
    }

    /// The path of a key of this table.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes a mistake about a key of this table.
    pub(super) fn report(&self, key: &str, problem: impl Into<String>) -> Reported {
        self.reader.report(self.path(key), problem.into())
    }

    /// Notes a mistake about no key in particular.
    pub(super) fn report_general(&self, problem: &str) -> Reported {
        self.reader.report_unset(String::new(), problem.to_owned())
    }

    /// Notes a mistake about a key anywhere, by its whole path.
    pub(super) fn report_at(&self, path: String, problem: String) -> Reported {
        self.reader.report(path, problem)
    }

    /// Notes what is no mistake about a key anywhere, by its whole path, but has to be said.
    pub(super) fn warn_at(&self, key: String, problem: String) {
        let place = self.reader.place(&key);
        self.reader.warnings.borrow_mut().push(ConfigWarning(ConfigError { key, place, problem }));
    }

    /// Notes that a key has to be set, and how.
    pub(super) fn missing(&self, key: &str) -> Reported {
        let key = self.path(key);
        // A value of a bucket is written whole, and nothing else sets a part of it.
        if let Some(Place::Bucket { .. }) = self.reader.root.get("routes").map(|routes| &routes.place) {
            return self.reader.report(key, "is missing".to_owned());
        }
        let problem =
            format!("is missing: set it in the file or by environment variable {}", layers::variable(&key));
        self.reader.report_unset(key, problem)
    }

    /// Notes a mistake about this table itself.
    pub(super) fn report_table(&self, problem: &str) -> Reported {
        self.reader.report(self.path.clone(), problem.to_owned())
    }

    /// The entry of a key, which is known from now on.
    fn entry(&self, key: &'static str) -> Option<&'r Entry> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Where a key of this table is set, if it is.
    pub(super) fn place(&self, key: &str) -> Option<&'r Place> {
        self.table.get(key).map(|entry| &entry.place)
    }

    /// A key that counts as left out, since another one of a later layer stands for it.
    pub(super) fn replaced<T>(&self, key: &'static str) -> Result<Option<T>, Reported> {
        self.known.borrow_mut().push(key);
        Ok(None)
    }

    /// A key that may be left out.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, Reported> {
        let Some(entry) = self.entry(key) else {
            return Ok(None);
        };
        parse(&entry.value).map(Some).map_err(|problem| self.report(key, problem))
    }

    /// A key that has a default.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<T, Reported> {
        self.optional(key, parse).map(|value| value.unwrap_or(default))
    }

    /// A key that has to be set.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<T, Reported> {
        self.optional(key, parse)?.ok_or_else(|| self.missing(key))
    }

    /// A table below this one; an absent one is read as if it were empty.
    pub(super) fn section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Self) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        match self.entry(key) {
            Some(entry) => self.below(key, entry, read),
            None => Section::read(self.reader, self.path(key), &EMPTY, read),
        }
    }

    /// A table below this one that may be left out.
    pub(super) fn optional_section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Self) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        self.entry(key).map(|entry| self.below(key, entry, read)).transpose()
    }

    /// A table below this one, whose name is the operator's.
    pub(super) fn below<T>(
        &self,
        key: &str,
        entry: &'r Entry,
        read: impl FnOnce(&Self) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        match &entry.value {
            Value::Table(table) => Section::read(self.reader, self.path(key), table, read),
            other => Err(self.report(key, other.unexpected_kind("a table"))),
        }
    }

    /// All entries of this table: the names are the operator's, so that none is unknown.
    pub(super) fn entries(&self) -> &'r Table {
        self.table
    }

    fn report_unknown(&self) {
        let known = self.known.borrow();
        // A table whose keys are the operator's is read by `entries` alone.
        if known.is_empty() {
            return;
        }
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            // A near miss is a typo of two letters at most, and of no more than half of a short key: else every short
            // key would look like another one.
            let near = known.iter().map(|known| (distance(key, known), known)).min();
            let problem = match near {
                Some((distance, near)) if distance <= 2.min(key.len() / 2) => {
                    format!("unknown key, expected {near}")
                }
                _ => format!("unknown key, expected one of {}", known.join(", ")),
            };
            self.report(key, problem);
        }
    }
}

/// How many letters have to be put in, left out or changed to make one word of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
