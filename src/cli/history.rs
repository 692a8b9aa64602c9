//! `broadcaster history`: what is known of a message, from what the daemons have published of its attempts (`[history]`),
//! from the dead letters, and from the daemons that have it in hand.

use std::{
    io::{self, Write as _},
    rc::Rc,
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use thiserror::Error;

use super::{
    bucket,
    daemon::{DaemonError, Daemons, Replica, Told, options::DaemonOptions, question, told_of},
    terminal::{Abilities, clean, escaped},
};
use crate::{
    base::clock::{Clock, rfc3339},
    config::{Kept, PublishSubject, Sources},
    control::service::acts::Act,
    dead_letter::{Cursor, Store, StoreError, Stored},
    endpoints,
    history::record::Line,
    nats::library,
};

/// How long NATS may take to be there: somebody waits for it.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long a request may take: a server that is busy with a large stream needs more than a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which message is asked for.
#[derive(Debug, Args)]
pub struct HistoryOptions {
    /// The id of the message: webhook-id of its requests.
    pub id: String,
    /// Which daemons are asked for it as well.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Nothing can be told of the message.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// Neither the history nor dead letters are kept anywhere.
    #[error(
        "nothing is kept of any message: set history.subject and history.stream, or dead_letter.subject; or have the daemons \
         asked for what they have in hand, by --nats or --url"
    )]
    NothingKept,
    /// There was no connection within ten seconds; the text is the last reason.
    #[error("cannot connect to NATS: {0}")]
    Unreachable(String),
    /// Where the letters of its routes go is not known.
    #[error("the routes of the bucket can't be read: {0}")]
    Bucket(#[from] endpoints::StoreError),
    /// A stream can't be found or read.
    #[error("{subject}: {source}")]
    Store {
        /// The subject that it keeps.
        subject: PublishSubject,
        /// Why that stream can't be read.
        source: StoreError,
    },
    /// A daemon does not tell what it has in hand. What else is known was told.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The system refuses a runtime, or nobody reads the output any more.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// No stream has the subject of the history.
#[derive(Debug, Error)]
#[error(
    "warning: no stream keeps history.subject {0}, and nothing is known of attempts: set history.stream, and \
     history.create to have the daemon make it"
)]
struct NotKept<'c>(&'c PublishSubject);

/// What is known of a message.
#[derive(Debug, Default)]
struct Known {
    /// Where it is in hand: the name of the replica, where several were asked, and what that says.
    in_hand: Vec<(Option<Replica>, Value)>,
    attempts: Vec<Line>,
    letters: Vec<Stored>,
}

/// Prints what is known of the message, and returns whether anything is. Needs a runtime that takes local tasks.
///
/// # Errors
/// Why nothing can be told.
pub async fn run(options: &HistoryOptions, kept: &Kept, sources: Sources) -> Result<bool, HistoryError> {
    let is_kept = kept.history.is_some() || !kept.letters.is_empty() || kept.endpoints.is_some();
    if !is_kept && !options.daemon.names_somebody() {
        return Err(HistoryError::NothingKept);
    }
    let mut known = Known::default();
    let mut tellings = Vec::new();
    if options.daemon.names_somebody() {
        let mut daemons = Daemons::reach(&options.daemon, sources).await?;
        let asked = question([("id", options.id.as_str().into())]);
        for Told { replica, answer } in daemons.ask(Act::Message, &asked).await? {
            let told = answer.map(|found| known.is_in_hand(replica.as_ref(), &found));
            tellings.push((replica, told));
        }
    }
    let looked_up = match is_kept {
        true => known.look_up(options, kept).await,
        false => Ok(()),
    };
    // What is known from elsewhere is told all the same.
    if looked_up.is_ok() || !known.is_empty() {
        print(&known, options)?;
    }
    looked_up?;
    told_of(tellings)?;
    Ok(!known.is_empty())
}

impl Known {
    fn is_empty(&self) -> bool {
        self.in_hand.is_empty() && self.attempts.is_empty() && self.letters.is_empty()
    }

    /// Takes note of what `replica` has `found`.
    fn is_in_hand(&mut self, replica: Option<&Replica>, found: &Value) {
        let messages = found["messages"].as_array().into_iter().flatten();
        self.in_hand.extend(messages.map(|message| (replica.cloned(), message.clone())));
    }

    /// Looks for the message in what is kept.
    async fn look_up(&mut self, options: &HistoryOptions, kept: &Kept) -> Result<(), HistoryError> {
        let Kept { nats, history, letters, endpoints } = kept;
        let mut letters = letters.clone();
        let in_bucket = match endpoints {
            Some(endpoints) => {
                let connection = bucket::connected(nats, "history", Clock::start()).await;
                bucket::letters(&connection.map_err(HistoryError::Unreachable)?, endpoints).await
            }
            None => Ok(Vec::new()),
        };
        letters.extend(in_bucket.iter().flatten().cloned());
        letters.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        letters.dedup();
        let client = library::connect(nats, CONNECTING).await.map_err(HistoryError::Unreachable)?;
        let client = Rc::new(client);
        for subject in history.iter().chain(&letters) {
            let failed = |source| HistoryError::Store { subject: subject.clone(), source };
            let store = match Store::open(Rc::clone(&client) as _, subject, PATIENCE).await {
                // Letters may go to whoever listens, and be kept by nobody; so may the history, of which that is said.
                Err(StoreError::NoStream(_)) => {
                    if history.as_ref() == Some(subject) {
                        drop(writeln!(io::stderr(), "{}", NotKept(subject)));
                    }
                    continue;
                }
                store => store.map_err(failed)?,
            };
            self.read(&store, &options.id).await.map_err(failed)?;
        }
        // Of several replicas each has told its own.
        self.attempts.sort_by(|one, other| one.at.cmp(&other.at));
        in_bucket?;
        Ok(())
    }
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
    if options.daemon.json {
        let in_hand = known.in_hand.iter().map(|(replica, message)| {
            let mut fact = with_kind("in_hand", Ok(message.clone()));
            if let Some(replica) = replica {
                fact["replica"] = replica.name.as_str().into();
            }
            fact
        });
        let attempts = known.attempts.iter().map(|line| with_kind("attempt", serde_json::to_value(line)));
        let letters = known.letters.iter().map(|letter| with_kind("dead_letter", Ok(letter_facts(letter))));
        for fact in attempts.chain(letters).chain(in_hand) {
            writeln!(out, "{}", escaped(&fact))?;
        }
        return out.flush();
    }
    let abilities = Abilities::of_output();
    let attempt = known.attempts.first().map(|line| (line.subject.as_str(), line.route.as_str()));
    let in_hand = || {
        let (_, message) = known.in_hand.first()?;
        Some((message["subject"].as_str()?, message["route"].as_str()?))
    };
    if let Some((subject, route)) = attempt.or_else(in_hand) {
        writeln!(out, "{} of {} on the route {}", clean(&options.id), clean(subject), clean(route))?;
    }
    for line in &known.attempts {
        writeln!(out, "  {}", attempt_text(line, abilities))?;
    }
    for letter in &known.letters {
        let reason = clean(letter.reason().as_deref().unwrap_or("-"));
        let (at, number, attempts) = (rfc3339(letter.at), letter.sequence, letter.attempts());
        writeln!(out, "  {at}  dead letter {number}: {reason} after {attempts} attempts")?;
    }
    for (replica, message) in &known.in_hand {
        writeln!(out, "  {}", clean(&in_hand_text(replica.as_ref(), message)))?;
    }
    if known.is_empty() {
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

/// A line about a message that has no end yet, as the API tells it.
fn in_hand_text(replica: Option<&Replica>, message: &Value) -> String {
    let seconds = |key: &str| {
        let time = Duration::try_from_secs_f64(message[key].as_f64().unwrap_or_default()).unwrap_or_default();
        humantime::format_duration(Duration::from_millis(
            time.as_secs() * 1_000 + u64::from(time.subsec_millis()),
        ))
    };
    let what = match message["where"].as_str() {
        Some("queue") => "waits for its first attempt".to_owned(),
        Some("in_flight") => "an attempt is under way".to_owned(),
        _ => format!("waits for another attempt, in {}", seconds("due")),
    };
    let by = replica.map(|replica| format!(" of {replica}")).unwrap_or_default();
    let (received, age) = (message["received"].as_str().unwrap_or_default(), seconds("age"));
    let attempts = &message["attempts"];
    let failure = message["last_failure"].as_str().map(|failure| format!(", last failure: {failure}"));
    let failure = failure.unwrap_or_default();
    format!("{received}  in hand{by} for {age}: {what}; attempts that count: {attempts}{failure}")
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
