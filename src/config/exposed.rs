//! Secrets that others on the machine can see: on the command line, or in a file that everybody may read.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use url::Url;

use super::{
    ConfigError, ConfigWarning, Place, layers,
    nats_url::NatsUrl,
    tree::{Entry, Table, Value},
};

/// What has to be said about the settings below `root`. `alone` where nobody else is on the machine, as in a pod.
pub(super) fn warnings(root: &Table, alone: bool) -> Vec<ConfigWarning> {
    let mut warnings = Vec::new();
    let mut in_file: Option<(&Path, Vec<String>)> = None;
    for (key, value, place) in texts(root, "") {
        match place {
            Place::Flag(_) if may_be_secret(&key, value) => {
                let problem = format!(
                    "everybody on this machine can see the options of a process: set it by {}, or {}",
                    layers::variable(&key),
                    hidden_twin(&key)
                );
                warnings.push(ConfigWarning(ConfigError { key, place: place.clone(), problem }));
            }
            Place::File { path, .. } if !alone && is_secret(&key, value) => {
                in_file.get_or_insert_with(|| (path, Vec::new())).1.push(key);
            }
            _ => {}
        }
    }
    if let Some((path, keys)) = in_file.filter(|(path, _)| everybody_reads(path)) {
        let twins: Vec<_> = keys.iter().map(|key| hidden_twin(key)).collect();
        let problem = format!(
            "everybody on this machine may read this file, and it has secrets: {}. Take the permission away (chmod o-r), \
             or name files that hold them: {}",
            keys.join(", "),
            twins.join(", ")
        );
        let place = Place::File { path: path.to_owned(), line: None };
        warnings.push(ConfigWarning(ConfigError { key: String::new(), place, problem }));
    }
    warnings
}

/// All texts below a table, those of a list one by one, each with its key and its place.
fn texts<'t>(table: &'t Table, path: &str) -> Vec<(String, &'t str, &'t Place)> {
    let below = |(key, entry): (&String, &'t Entry)| {
        let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let text = |value: &'t Value| match value {
            Value::Text(text) => Some((key.clone(), text.as_str(), &entry.place)),
            _ => None,
        };
        match &entry.value {
            Value::Table(table) => texts(table, &key),
            Value::List(values) => values.iter().filter_map(text).collect(),
            value => text(value).into_iter().collect(),
        }
    };
    table.iter().flat_map(below).collect()
}

/// Whether a value might be a secret, as far as its key can tell.
fn may_be_secret(key: &str, value: &str) -> bool {
    match place_in(key) {
        Known::Header(_) | Known::OfTemplate => true,
        // What follows the host may be one, as in the addresses that chat services give out.
        Known::WebhookUrl => Url::parse(value).is_ok_and(|url| url.path() != "/" || url.query().is_some()),
        _ => is_secret(key, value),
    }
}

/// Whether a value most likely is a secret: a warning at each start about what is none would soon be overlooked.
fn is_secret(key: &str, value: &str) -> bool {
    match place_in(key) {
        Known::Header(name) => has_word(name, HEADERS),
        Known::OfTemplate => true,
        Known::WebhookUrl => Url::parse(&without_placeholders(value)).is_ok_and(|url| has_random_part(&url)),
        Known::NatsUrl => {
            value.split(',').any(|url| url.trim().parse().is_ok_and(|url: NatsUrl| url.has_login()))
        }
        Known::Proxy => value.contains('@'),
        Known::Other(name) => {
            !["_file", "_url"].iter().any(|end| name.ends_with(end)) && has_word(name, NAMES)
        }
    }
}

/// Parts of the names of keys that hold secrets.
const NAMES: &[&str] = &["password", "secret", "token"];

/// Parts of the names of headers that do.
const HEADERS: &[&str] =
    &["auth", "cookie", "credential", "key", "pass", "secret", "session", "signature", "token"];

fn has_word(name: &str, words: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    words.iter().any(|word| name.contains(word))
}

/// A query, or a part of the path that nobody has made up.
fn has_random_part(url: &Url) -> bool {
    let is_random = |part: &str| {
        let digit = part.bytes().any(|b| b.is_ascii_digit());
        part.len() >= 16 && digit && part.bytes().any(|b| b.is_ascii_alphabetic())
    };
    url.query().is_some() || url.path().split('/').any(is_random)
}

/// An address without what messages put into it, which is no secret however it looks.
fn without_placeholders(url: &str) -> String {
    let mut plain = String::new();
    for piece in url.split("{{") {
        plain.push_str(piece.split_once("}}").map_or(piece, |(_, behind)| behind));
    }
    plain
}

enum Known<'k> {
    WebhookUrl,
    NatsUrl,
    /// The address of a proxy.
    Proxy,
    /// What a template may use and nobody may see.
    OfTemplate,
    /// A header with this name.
    Header(&'k str),
    /// Any other key, by its last part.
    Other(&'k str),
}

fn place_in(key: &str) -> Known<'_> {
    let last = key.rsplit('.').next().unwrap_or_default();
    match key.split_once(".webhook.") {
        Some((_, "url")) => Known::WebhookUrl,
        Some((_, "egress.proxy")) => Known::Proxy,
        Some((_, rest)) if rest.starts_with("secrets.") => Known::OfTemplate,
        Some((_, rest)) => rest.strip_prefix("headers.").map_or(Known::Other(last), Known::Header),
        None if key == "nats.url" => Known::NatsUrl,
        None => key.strip_prefix("tracing.headers.").map_or(Known::Other(last), Known::Header),
    }
}

/// The key that names a file with the secret instead.
fn hidden_twin(key: &str) -> String {
    match place_in(key) {
        Known::Header(_) => key.replacen(".headers.", ".headers_file.", 1),
        Known::OfTemplate => key.replacen(".secrets.", ".secrets_file.", 1),
        Known::NatsUrl => "nats.password_file or nats.token_file".to_owned(),
        _ => format!("{key}_file"),
    }
}

/// Whether every user of the machine gets to the file and may read it.
fn everybody_reads(path: &Path) -> bool {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |data| data.permissions().mode());
    let Ok(path) = fs::canonicalize(path) else { return false };
    path.is_file()
        && mode(&path) & 0o004 != 0
        && path.ancestors().skip(1).all(|folder| mode(folder) & 0o001 != 0)
}
