//! What daemons have answered, as the commands print it: as it came for programs, in words for people.

use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::{Value, json};

use super::{DaemonError, Replica, Told, options::DaemonOptions};
use crate::cli::terminal::{clean, clean_lines, escaped};

/// Prints what was `told`: as it is for programs, and by `words` for people; of several replicas each by its name.
///
/// # Errors
/// Why it was not done; where several were asked, that was said of each.
pub(in crate::cli) fn print(
    options: &DaemonOptions,
    told: Vec<Told>,
    words: impl Fn(&Value) -> String,
) -> Result<(), DaemonError> {
    let mut out = io::stdout().lock();
    if options.json && told.iter().any(|told| told.replica.is_some()) {
        let facts = told.iter().map(|told| fact(told.replica.as_ref(), told.answer.as_ref()));
        writeln!(out, "{}", escaped(&facts.collect()))?;
    }
    let mut tellings = Vec::new();
    for Told { replica, answer } in told {
        match (&replica, &answer) {
            (None, Ok(done)) if options.json => writeln!(out, "{}", escaped(done))?,
            (None, Ok(done)) => writeln!(out, "{}", clean_lines(&words(done)))?,
            (Some(replica), Ok(done)) if !options.json => {
                let words = clean_lines(&words(done));
                let end = if words.contains('\n') { "\n" } else { " " };
                writeln!(out, "{}:{end}{words}", clean(&replica.name))?;
            }
            _ => {}
        }
        tellings.push((replica, answer.map(drop)));
    }
    out.flush()?;
    told_of(tellings)
}

/// Says of each replica that has not done it why not.
///
/// # Errors
/// That some have not; where only one was asked, why it has not.
pub(in crate::cli) fn told_of(
    all: impl IntoIterator<Item = (Option<Replica>, Result<(), DaemonError>)>,
) -> Result<(), DaemonError> {
    in_part(all.into_iter().inspect(|(replica, told)| {
        if let (Some(replica), Err(error)) = (replica, told) {
            let error = clean_lines(&error.to_string());
            drop(writeln!(io::stderr(), "error: {}: {error}", clean(&replica.name)));
        }
    }))
}

/// Whether all of them have done it.
///
/// # Errors
/// As [`told_of`], which also says more.
pub(in crate::cli) fn in_part(
    all: impl IntoIterator<Item = (Option<Replica>, Result<(), DaemonError>)>,
) -> Result<(), DaemonError> {
    let (mut failed, mut asked, mut status) = (0, 0, 0);
    for (replica, told) in all {
        asked += 1;
        match (replica, told) {
            (_, Ok(())) => {}
            (None, Err(error)) => return Err(error),
            (Some(_), Err(error)) => {
                failed += 1;
                status = error.exit_status().max(status);
            }
        }
    }
    if failed > 0 { Err(DaemonError::InPart { failed, asked, status }) } else { Ok(()) }
}

/// What a replica has told, for programs.
pub(in crate::cli) fn fact(
    replica: Option<&Replica>,
    answer: Result<&impl Serialize, &DaemonError>,
) -> Value {
    let (id, name) = (replica.map(|replica| &replica.id), replica.map(|replica| &replica.name));
    match answer {
        Ok(answer) => json!({ "id": id, "replica": name, "answer": answer }),
        Err(error) => json!({ "id": id, "replica": name, "error": error.to_string() }),
    }
}
