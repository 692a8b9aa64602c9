//! One route out of a value of a key-value bucket: JSON with the same keys as a route of the file, read by the same code.
//!
//! Whoever writes the bucket is not whoever runs the machine: a value names files of one folder only.

use std::path::{Component, Path, PathBuf};

use serde_json::Value as Json;

use super::{
    ConfigError, ConfigErrors, Endpoints, Place, PublishSubject, Route, RouteName,
    reader::{Reader, Section},
    route, sealed,
    tree::{Entry, Table, Value},
};
use crate::base::json::Object;

/// No value is larger, in bytes.
const LARGEST: usize = 256 << 10;
/// The only key of what stands for a secret that is sealed.
const SEALED: &str = "sealed";

impl Endpoints {
    /// The route `name` out of the value that is `key` in the bucket since `revision`.
    ///
    /// # Errors
    /// All mistakes in it, each with the key within the value. None shows a secret.
    pub fn route(
        &self,
        name: &RouteName,
        value: &[u8],
        key: &str,
        revision: u64,
    ) -> Result<Route, ConfigErrors> {
        let place = Place::Bucket { bucket: self.bucket.as_str().to_owned(), key: key.to_owned(), revision };
        let mistake = |problem: String| {
            ConfigErrors(vec![ConfigError { key: String::new(), place: place.clone(), problem }])
        };
        if value.len() > LARGEST {
            return Err(mistake(format!("expected a value of at most {} KiB", LARGEST >> 10)));
        }
        let Object(json) = serde_json::from_slice(value).map_err(|error| {
            // What the library says of text that is no JSON may quote the value, which may be a secret.
            let (line, column) = (error.line(), error.column());
            let syntax = || format!("expected JSON, at line {line}, column {column}");
            mistake(if error.is_data() { error.to_string() } else { syntax() })
        })?;
        let mut errors = Vec::new();
        let mut tree = tree(Json::Object(json), &place);
        if let Value::Table(table) = &mut tree {
            let path = format!("routes.{name}");
            self.unseal(table, &path, name, &place, &mut errors);
            self.confine(table, &path, false, &place, &mut errors);
            self.limits.fill(table, &place);
        }
        let routes = Table::from([(name.to_string(), Entry { place: place.clone(), value: tree })]);
        let routes = Entry { place: place.clone(), value: Value::Table(routes) };
        let root = Table::from([("routes".to_owned(), routes)]);
        let reader = Reader::new(root);
        let read = reader.read(|at| at.section("routes", |at| route::read_alone(at, name, &self.around)));
        errors.extend(reader.into_findings().0);
        let exceeded = read.as_ref().map(|route| self.limits.exceeded(route)).unwrap_or_default();
        let beyond = |(key, problem)| ConfigError { key, place: place.clone(), problem };
        errors.extend(exceeded.into_iter().map(beyond));
        read.ok().filter(|_| errors.is_empty()).ok_or(ConfigErrors(errors))
    }

    /// Where the dead letters of the route `name` go by its value, whatever else is wrong with that; none where they are dropped.
    pub fn letters(&self, name: &RouteName, value: &[u8]) -> Option<PublishSubject> {
        let Object(json) = serde_json::from_slice(value).ok()?;
        let Value::Table(table) = tree(Json::Object(json), &Place::Unset) else { return None };
        let letters = |at: &Section<'_>| route::dead_letters(at, name.as_str());
        let read = Reader::new(table).read(|at| at.optional_section("dead_letter", letters));
        read.ok().flatten().map(|letters| letters.subject)
    }

    /// Puts what is sealed in a value in its place.
    fn unseal(
        &self,
        table: &mut Table,
        path: &str,
        route: &RouteName,
        place: &Place,
        errors: &mut Vec<ConfigError>,
    ) {
        let identity = self.identity.as_ref().map(|(_, identity)| identity);
        for (key, entry) in table {
            let path = format!("{path}.{key}");
            let Value::Table(below) = &mut entry.value else { continue };
            let sealed = match below.first_key_value() {
                Some((only, Entry { value: Value::Text(text), .. }))
                    if only == SEALED && below.len() == 1 =>
                {
                    Some(text).filter(|text| sealed::is_sealed(text))
                }
                _ => None,
            };
            match sealed.map(|sealed| sealed::open(identity, sealed, route)) {
                None => self.unseal(below, &path, route, place, errors),
                Some(Ok(secret)) => entry.value = Value::Text(secret),
                Some(Err(problem)) => errors.push(ConfigError { key: path, place: place.clone(), problem }),
            }
        }
    }

    /// Has each file that a value names be one of the folder for them: a path begins there, and leads nowhere else.
    fn confine(
        &self,
        table: &mut Table,
        path: &str,
        is_of_files: bool,
        place: &Place,
        errors: &mut Vec<ConfigError>,
    ) {
        for (key, entry) in table {
            let path = format!("{path}.{key}");
            let names_files = is_of_files || key.ends_with("_file");
            match &mut entry.value {
                Value::Table(below) => self.confine(below, &path, names_files, place, errors),
                Value::Text(text) if names_files => match self.within(text) {
                    Ok(file) => *text = file.display().to_string(),
                    Err(problem) => errors.push(ConfigError { key: path, place: place.clone(), problem }),
                },
                _ => {}
            }
        }
    }

    fn within(&self, name: &str) -> Result<PathBuf, String> {
        let Some(folder) = &self.secrets_dir else {
            return Err("expected no file: the operator has set no endpoints.secrets_dir for them".to_owned());
        };
        let wrong = || "expected the name of a file in endpoints.secrets_dir".to_owned();
        let name = Path::new(name);
        let is_plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || name.as_os_str().is_empty() {
            return Err(wrong());
        }
        let file = folder.join(name);
        // Mounted secrets are links within their folder. One that leads out of it would be a way to any file.
        let leads_out = |file: PathBuf| folder.canonicalize().is_ok_and(|folder| !file.starts_with(folder));
        // What is not there is told by whoever reads it.
        if file.canonicalize().is_ok_and(leads_out) { Err(wrong()) } else { Ok(file) }
    }
}

/// `json` as settings that all stand in `place`. A `null` is as good as left out.
fn tree(json: Json, place: &Place) -> Value {
    match json {
        Json::Null => Value::Text(String::new()),
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match number.as_i128() {
            Some(number) => Value::Integer(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(|item| tree(item, place)).collect()),
        Json::Object(members) => {
            let set = members.into_iter().filter(|(_, value)| !value.is_null());
            let entry = |(key, value)| (key, Entry { place: place.clone(), value: tree(value, place) });
            Value::Table(set.map(entry).collect())
        }
    }
}
