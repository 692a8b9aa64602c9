//! The layers: file, environment, flags, merged by figment into one [`Table`] that knows where each value was set.
//!
//! The built-in defaults are not among them: they stand with the fields they are for, since some depend on other
//! fields and those of a route on which routes there are.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use figment::{
    Error, Figment, Metadata, Profile, Provider, Source,
    value::{Dict, Map, Tag, Value as Raw},
};

use super::{
    ConfigError, Place, Sources,
    lines::{LineStarts, Lines},
    tree::{Entry, Table, Value},
};

/// Variables start with this, and two underscores separate the parts of the key. Kubernetes puts variables such as
/// `BROADCASTER_SVC_PORT` into a pod, which are no settings.
const PREFIX: &str = "BROADCASTER__";

/// The variable that names the file when no flag does.
pub(super) const FILE_VARIABLE: &str = "BROADCASTER_CONFIG";

/// Variables with a name of their own, for the most common settings.
const PLAIN: [(&str, &str); 6] = [
    ("LOG_LEVEL", "log.level"),
    ("NATS_QUEUE_GROUP", "routes.default.queue_group"),
    ("NATS_SUBJECT", "routes.default.subject"),
    ("NATS_URL", "nats.url"),
    ("WEBHOOK_URL", "routes.default.webhook.url"),
    ("WEBHOOK_URL_FILE", "routes.default.webhook.url_file"),
];

/// The name of the variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    let plain = PLAIN.iter().find(|(_, path)| *path == key);
    plain.map_or_else(
        || format!("{PREFIX}{}", key.to_uppercase().replace('.', "__")),
        |(name, _)| (*name).to_owned(),
    )
}

/// Merges the sources. `None` when the file is of no use: without it, everything else would look wrong.
pub(super) fn merge(sources: Sources, errors: &mut Vec<ConfigError>) -> Option<Table> {
    let file = File::open(sources.file, &sources.env).map_err(|error| errors.push(error)).ok();
    let mut variables = Vec::new();
    for (name, value) in sources.env {
        // An empty variable counts as not set: templates leave one where they have no value.
        if value.is_empty() {
            continue;
        }
        match Setting::from_variable(&name, value) {
            Ok(setting) => variables.extend(setting),
            Err(error) => errors.push(error),
        }
    }
    // Plain variables first, so that the long form wins.
    variables
        .sort_by(|a, b| (a.name.starts_with(PREFIX), &a.name).cmp(&(b.name.starts_with(PREFIX), &b.name)));
    let flags = sources.flags.into_iter().map(|(key, value, flag)| Setting {
        path: key.split('.').map(str::to_owned).collect(),
        value,
        kind: FLAG,
        name: flag,
    });

    let file = file?;
    let figment = variables.into_iter().chain(flags).fold(Figment::from(&file), Figment::merge);
    let root = figment.find_value("").ok().and_then(Raw::into_dict).unwrap_or_default();
    Some(Merged { figment, file }.table(root, &[]))
}

// === File ===

/// The TOML file, parsed; nothing when no file is named.
#[derive(Default)]
struct File {
    path: PathBuf,
    values: Dict,
    lines: Lines,
    starts: LineStarts,
}

impl File {
    fn open(named: Option<PathBuf>, env: &[(OsString, OsString)]) -> Result<Self, ConfigError> {
        let variable = env.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        let (path, named_by) = match (named, variable) {
            (Some(path), _) => (path, Place::Flag("--config".to_owned())),
            (None, Some((_, path))) => (path.into(), Place::Variable(FILE_VARIABLE.to_owned())),
            (None, None) => return Ok(Self::default()),
        };
        let text =
            read(&path).map_err(|problem| ConfigError { key: String::new(), place: named_by, problem })?;
        // What figment or toml would print quotes the line, which may hold a secret.
        let values = toml::from_str(&text).map_err(|error| syntax_error(&path, &text, &error))?;
        let (lines, starts) = (Lines::of(&text), LineStarts::of(&text));
        Ok(Self { path, values, lines, starts })
    }

    fn line(&self, path: &[&str]) -> Option<usize> {
        self.lines.offset(path).map(|offset| self.starts.line(offset))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("expected UTF-8 text in {}", path.display()))
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = LineStarts::of(text).position(text, error.span().map_or(0, |span| span.start));
    ConfigError {
        key: String::new(),
        place: Place::File { path: path.to_owned(), line: Some(line) },
        problem: format!("expected TOML, at column {column}: {}", error.message().replace('\n', ", ")),
    }
}

impl Provider for File {
    fn metadata(&self) -> Metadata {
        Metadata::from("file", self.path.as_path())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

// === Setting ===

const VARIABLE: &str = "environment variable";
const FLAG: &str = "flag";

/// One variable or flag. Each is a layer of its own, so that figment can tell where a value came from.
struct Setting {
    path: Vec<String>,
    value: String,
    kind: &'static str,
    name: String,
}

impl Setting {
    /// The setting that a variable makes; `None` when the variable is not ours.
    fn from_variable(name: &OsString, value: OsString) -> Result<Option<Self>, ConfigError> {
        let name = name.to_string_lossy();
        let plain = PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, key)| (*key).to_owned());
        let long = || name.strip_prefix(PREFIX).map(|rest| rest.to_lowercase().replace("__", "."));
        let Some(key) = plain.or_else(long) else {
            return Ok(None);
        };
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        let problem = match value.into_string() {
            Err(_) => "expected UTF-8 text",
            Ok(_) if path.iter().any(String::is_empty) => "expected a name such as BROADCASTER__SECTION__KEY",
            Ok(value) => {
                return Ok(Some(Self { path, value, kind: VARIABLE, name: name.into_owned() }));
            }
        };
        Err(ConfigError { key, place: Place::Variable(name.into_owned()), problem: problem.to_owned() })
    }
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::from(self.kind, Source::Custom(self.name.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        // As text: figment's own environment would make a number of the password 0123, and lose the 0.
        let value = Raw::from(self.value.as_str());
        let nested =
            self.path.iter().rev().fold(value, |value, key| Dict::from([(key.clone(), value)]).into());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

// === Merged ===

/// The layers after merging, on the way to a [`Table`].
struct Merged {
    figment: Figment,
    file: File,
}

impl Merged {
    fn table(&self, dict: Dict, path: &[&str]) -> Table {
        let entry = |(key, raw): (String, Raw)| {
            let path = [path, &[key.as_str()]].concat();
            let place = self.place(&raw, &path);
            let value = self.value(raw, &path);
            (key, Entry { place, value })
        };
        dict.into_iter().map(entry).collect()
    }

    fn value(&self, raw: Raw, path: &[&str]) -> Value {
        match raw {
            Raw::String(_, text) => Value::Text(text),
            Raw::Char(_, char) => Value::Text(char.to_string()),
            Raw::Bool(_, flag) => Value::Bool(flag),
            Raw::Num(_, number) => match number.to_i128() {
                Some(number) => Value::Integer(number),
                None => Value::Float(number.to_f64().unwrap_or(f64::NAN)),
            },
            Raw::Empty(..) => Value::Text(String::new()),
            Raw::Dict(_, dict) => Value::Table(self.table(dict, path)),
            Raw::Array(_, items) => {
                Value::List(items.into_iter().map(|item| self.value(item, path)).collect())
            }
        }
    }

    /// Where a value was set. Figment gives a table that several layers add to the last one's tag; an operator looks
    /// for it in the file.
    fn place(&self, raw: &Raw, path: &[&str]) -> Place {
        let in_file = |line| Place::File { path: self.file.path.clone(), line };
        match (raw, self.file.line(path)) {
            (Raw::Dict(..), Some(line)) => in_file(Some(line)),
            (_, line) => self.tagged(raw.tag()).unwrap_or_else(|| in_file(line)),
        }
    }

    /// The variable or the flag that a tag stands for.
    fn tagged(&self, tag: Tag) -> Option<Place> {
        let metadata = self.figment.get_metadata(tag)?;
        let name = metadata.source.as_ref()?.custom()?.to_owned();
        Some(if metadata.name == FLAG { Place::Flag(name) } else { Place::Variable(name) })
    }
}
