//! `[routes.NAME.webhook.headers]` and `headers_file`: what is sent with every request beside what broadcaster itself sends.

use std::cmp::Ordering;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    config::{
        files, parse,
        reader::{Reported, Section},
        tree::{Entry, Value},
    },
    message::header_names::http as names,
};

/// A header as it was written.
struct Given<'r> {
    header: HeaderName,
    /// The path of its key.
    key: String,
    entry: &'r Entry,
    from_file: bool,
}

/// Reads both tables of the webhook that is `at`.
pub(super) fn read(at: &Section<'_>) -> Result<HeaderMap, Reported> {
    let mut given = Vec::new();
    let direct = at.section("headers", |at| collect(at, false, &mut given));
    let from_files = at.section("headers_file", |at| collect(at, true, &mut given));
    let mut headers = Ok(HeaderMap::new());
    for Given { header, key, entry, from_file } in given {
        match header_value(&entry.value, from_file) {
            Ok(value) => drop(headers.as_mut().map(|headers: &mut HeaderMap| headers.insert(header, value))),
            Err(problem) => headers = Err(at.report_at(key, problem)),
        }
    }
    direct.and(from_files).and(headers)
}

/// Adds the headers of one table, but for those that are not allowed.
fn collect<'r>(at: &Section<'r>, from_file: bool, given: &mut Vec<Given<'r>>) -> Result<(), Reported> {
    let mut result = Ok(());
    for (name, entry) in at.entries() {
        let add = |header| add(at, given, Given { header, key: at.path(name), entry, from_file });
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
        Ordering::Equal if old.from_file != new.from_file => {
            let problem = format!("expected only one of headers_file and headers: {} is set too", old.key);
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

fn header_value(value: &Value, from_file: bool) -> Result<HeaderValue, String> {
    let text = if from_file { files::secret_file(&files::path(value)?)? } else { parse::text(value)? };
    let mut header = HeaderValue::from_str(&text).map_err(|_| "expected no control characters".to_owned())?;
    // `Debug` masks it then.
    header.set_sensitive(true);
    Ok(header)
}
