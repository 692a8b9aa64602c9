//! `[routes.NAME.webhook.headers]`, `headers_file` and `header_templates`: what is sent with every request beside what
//! broadcaster itself sends.

use std::{
    cmp::Ordering,
    fmt,
    path::{Path, PathBuf},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    config::{
        MASK, files, parse,
        reader::{Reported, Section},
        tree::{Entry, Value},
    },
    message::header_names::http as names,
    template::{Place, Source},
};

/// The headers of the operator.
pub(in crate::config) struct OperatorHeaders {
    /// Those with a value, which stands in a file for some of them.
    pub(in crate::config) values: HeaderMap,
    /// The files of those.
    pub(in crate::config) files: Vec<(HeaderName, PathBuf)>,
    /// Those whose value is made for each message.
    pub(super) templates: Vec<(HeaderName, HeaderTemplate)>,
}

/// What makes the value of a header for each message. It may hold a secret, so that it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderTemplate(Source);

/// A header that is still to be read: a later layer may replace it.
struct Given<'r> {
    header: HeaderName,
    key: String,
    entry: &'r Entry,
    table: &'static str,
}

const DIRECT: &str = "headers";
const IN_FILES: &str = "headers_file";
const MADE: &str = "header_templates";

/// Reads the tables of the webhook that is `at`.
pub(super) fn read(at: &Section<'_>) -> Result<OperatorHeaders, Reported> {
    read_tables(at, &[DIRECT, IN_FILES, MADE])
}

/// Reads the tables of what is `at` whose values are always the same.
pub(in crate::config) fn read_fixed(at: &Section<'_>) -> Result<OperatorHeaders, Reported> {
    read_tables(at, &[DIRECT, IN_FILES])
}

fn read_tables(at: &Section<'_>, tables: &[&'static str]) -> Result<OperatorHeaders, Reported> {
    let mut given = Vec::new();
    let mut result = Ok(());
    for &table in tables {
        let collected = at.section(table, |at| collect(at, table, &mut given));
        result = result.and(collected);
    }
    let mut headers = OperatorHeaders { values: HeaderMap::new(), files: Vec::new(), templates: Vec::new() };
    for Given { header, key, entry, table } in given {
        if let Err(problem) = headers.add(header, &entry.value, table) {
            result = Err(at.report_at(key, problem));
        }
    }
    result.map(|()| headers)
}

impl OperatorHeaders {
    pub(super) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.values.keys().chain(self.templates.iter().map(|(name, _)| name))
    }

    fn add(&mut self, header: HeaderName, value: &Value, table: &str) -> Result<(), String> {
        if table == MADE {
            let source = Source::new(&parse::text(value)?, Place::Header);
            let source = source.map_err(|mistake| mistake.problem)?;
            self.templates.push((header, HeaderTemplate(source)));
            return Ok(());
        }
        let value = if table == IN_FILES {
            let path = files::path(value)?;
            let value = header_in_file(&path)?;
            self.files.push((header.clone(), path));
            value
        } else {
            header_value(&parse::text(value)?)?
        };
        self.values.insert(header, value);
        Ok(())
    }
}

impl HeaderTemplate {
    /// The template of the value, compiled for a header.
    pub const fn source(&self) -> &Source {
        &self.0
    }
}

impl fmt::Debug for HeaderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderTemplate({MASK})")
    }
}

/// The value of a header that stands in the file at `path`.
///
/// # Errors
/// What is wrong with it, without what is in it.
pub fn header_in_file(path: &Path) -> Result<HeaderValue, String> {
    header_value(&files::secret_file(path)?)
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    let mut header = HeaderValue::from_str(text).map_err(|_| "expected no control characters".to_owned())?;
    // `Debug` masks it then.
    header.set_sensitive(true);
    Ok(header)
}

/// Adds the headers of one table, but for those that are not allowed.
fn collect<'r>(at: &Section<'r>, table: &'static str, given: &mut Vec<Given<'r>>) -> Result<(), Reported> {
    let mut result = Ok(());
    for (name, entry) in at.entries() {
        let add = |header| add(at, given, Given { header, key: at.path(name), entry, table });
        if let Err(reported) = header_name(at, name).and_then(add) {
            result = Err(reported);
        }
    }
    result
}

/// Adds a header. Of two layers that set it, in whatever case and table, the later one wins.
fn add<'r>(at: &Section<'_>, given: &mut Vec<Given<'r>>, new: Given<'r>) -> Result<(), Reported> {
    let Some(old) = given.iter_mut().find(|old| old.header == new.header) else {
        given.push(new);
        return Ok(());
    };
    match old.entry.place.layer().cmp(&new.entry.place.layer()) {
        Ordering::Less => *old = new,
        Ordering::Greater => {}
        Ordering::Equal if old.table != new.table => {
            let problem =
                format!("expected only one of {} and {}: {} is set too", new.table, old.table, old.key);
            return Err(at.report_at(new.key, problem));
        }
        Ordering::Equal => {
            let problem = "expected each header once: write it in lower case, case makes no difference";
            return Err(at.report_at(new.key, problem.to_owned()));
        }
    }
    Ok(())
}

fn header_name(at: &Section<'_>, name: &str) -> Result<HeaderName, Reported> {
    // A name that is none may hold a whole header with its secret, so it is not shown.
    let Ok(header) = name.parse::<HeaderName>() else {
        return Err(
            at.report_table("expected names of headers such as \"x-token\" as the keys of this table")
        );
    };
    if names::is_set_by_us(header.as_str()) {
        return Err(at.report(name, "expected another header: broadcaster sets this one itself"));
    }
    if names::is_kept(header.as_str()) {
        let problem = "expected another header: this name is kept for signatures, traces and CloudEvents";
        return Err(at.report(name, problem));
    }
    if let Some(meant) = header.as_str().strip_suffix("_file") {
        let problem =
            format!("expected a header: for a value that stands in a file, set webhook.headers_file.{meant}");
        return Err(at.report(name, problem));
    }
    Ok(header)
}
