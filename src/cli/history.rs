//! `broadcaster history`: what is known of a message, from what the daemons have published of its attempts (`[history]`) and
//! from the dead letters.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use thiserror::Error;

use super::terminal::{Abilities, clean, escaped};
use crate::{
    base::clock::rfc3339,
    config::{Config, PublishSubject},
    dead_letter::{Cursor, Store, StoreError, Stored},
    history::record::Line,
    nats::library,
};

/// How long NATS may take to be there: somebody waits for it.
const CONNECTING: Duration = Duration::from_secs(10);

/// Which message is asked for.
#[derive(Debug, Args)]
pub struct HistoryOptions {
    /// The id of the message: webhook-id of its requests.
    pub id: String,
    /// Write JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// Nothing can be told of the message.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// Neither the history nor dead letters are kept anywhere.
    #[error(
        "nothing is kept of any message: set history.subject, and have a stream keep that subject, or dead_letter.subject"
    )]
    NothingKept,
    /// There was no connection within ten seconds; the text is the last reason.
    #[error("cannot connect to NATS: {0}")]
    Unreachable(String),
    /// A stream can't be found or read.
    #[error("{subject}: {source}")]
    Store {
        /// The subject that it keeps.
        subject: PublishSubject,
        /// Why that stream can't be read.
        source: StoreError,
    },
    /// The system refuses a runtime, or nobody reads the output any more.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What is known of a message.
#[derive(Debug, Default)]
struct Known {
    attempts: Vec<Line>,
    letters: Vec<Stored>,
}

/// Prints what is known of the message, and returns whether anything is. Needs a runtime that takes local tasks.
///
/// # Errors
/// Why nothing can be told.
pub async fn run(options: &HistoryOptions, config: &Config) -> Result<bool, HistoryError> {
    let history = config.history.as_ref().map(|history| &history.subject);
    let letters = letter_subjects(config);
    if history.is_none() && letters.is_empty() {
        return Err(HistoryError::NothingKept);
    }
    let client = library::connect(&config.nats, CONNECTING).await.map_err(HistoryError::Unreachable)?;
    let mut known = Known::default();
    for subject in history.into_iter().chain(letters) {
        let failed = |source| HistoryError::Store { subject: subject.clone(), source };
        let store = match Store::open(client.clone(), subject).await {
            // Letters may go to whoever listens, and be kept by nobody.
            Err(StoreError::NoStream(_)) if history != Some(subject) => continue,
            store => store.map_err(failed)?,
        };
        known.read(&store, &options.id).await.map_err(failed)?;
    }
    // Of several replicas each has told its own.
    known.attempts.sort_by(|one, other| one.at.cmp(&other.at));
    print(&known, options)?;
    Ok(!known.attempts.is_empty() || !known.letters.is_empty())
}

/// Where the dead letters of the routes go, each subject once.
fn letter_subjects(config: &Config) -> Vec<&PublishSubject> {
    let mut subjects = Vec::new();
    for letters in config.routes.iter().filter_map(|route| route.dead_letter.as_ref()) {
        if !subjects.contains(&&letters.subject) {
            subjects.push(&letters.subject);
        }
    }
    subjects
}

impl Known {
    /// Looks through all that `store` keeps: a stream finds its messages by their sequence or subject, and not by an id.
    async fn read(&mut self, store: &Store, id: &str) -> Result<(), StoreError> {
        let mut cursor = Cursor::START;
        loop {
            let page = store.page(&mut cursor).await?;
            if page.is_empty() && cursor.is_at_end() {
                return Ok(());
            }
            for stored in page {
                if stored.sequence > store.last() {
                    return Ok(());
                }
                match serde_json::from_slice::<Line>(&stored.payload) {
                    Ok(line) if line.id == id => self.attempts.push(line),
                    _ if stored.reason().is_some() && stored.id().to_string() == id => {
                        self.letters.push(stored.without_payload());
                    }
                    _ => {}
                }
            }
        }
    }
}

fn print(known: &Known, options: &HistoryOptions) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if options.json {
        let attempts = known.attempts.iter().map(|line| with_kind("attempt", serde_json::to_value(line)));
        let letters = known.letters.iter().map(|letter| with_kind("dead_letter", Ok(letter_facts(letter))));
        for fact in attempts.chain(letters) {
            writeln!(out, "{}", escaped(&fact))?;
        }
        return out.flush();
    }
    let abilities = Abilities::of_output();
    if let Some(Line { id, subject, route, .. }) = known.attempts.first() {
        writeln!(out, "{} of {} on the route {}", clean(id), clean(subject), clean(route))?;
    }
    for line in &known.attempts {
        writeln!(out, "  {}", attempt_text(line, abilities))?;
    }
    for letter in &known.letters {
        let reason = clean(letter.reason().as_deref().unwrap_or("-"));
        let (at, number, attempts) = (rfc3339(letter.at), letter.sequence, letter.attempts());
        writeln!(out, "  {at}  dead letter {number}: {reason} after {attempts} attempts")?;
    }
    if known.attempts.is_empty() && known.letters.is_empty() {
        writeln!(out, "nothing is known of {}", clean(&options.id))?;
    }
    out.flush()
}

/// A line about one attempt, for people: also what `tail` shows.
pub(super) fn attempt_text(line: &Line, abilities: Abilities) -> String {
    let what = match (&line.reason, line.status) {
        (Some(reason), _) => format!("{}: {reason}", line.outcome),
        (None, Some(status)) => format!("{}: {status}", line.outcome),
        (None, None) => line.outcome.clone(),
    };
    let what =
        if line.outcome == "failed" { abilities.red(&clean(&what)) } else { abilities.green(&clean(&what)) };
    let cause = line.cause.as_ref().map(|cause| format!("  ({})", clean(cause))).unwrap_or_default();
    let millis = line.seconds * 1_000.0;
    format!(
        "{}  attempt {}  {what}  {millis:.1} ms  {}{cause}",
        clean(&line.at),
        line.attempt,
        clean(&line.replica)
    )
}

fn letter_facts(letter: &Stored) -> Value {
    json!({
        "at": rfc3339(letter.at), "route": letter.route(), "id": letter.id().to_string(),
        "subject": letter.original_subject(), "sequence": letter.sequence, "reason": letter.reason(),
        "last_failure": letter.last_failure(), "attempts": letter.attempts(),
    })
}

fn with_kind(kind: &str, fact: serde_json::Result<Value>) -> Value {
    let mut fact = fact.unwrap_or_default();
    fact["kind"] = kind.into();
    fact
}
