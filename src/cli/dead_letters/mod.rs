//! `broadcaster dead-letters`: looking at what was not delivered, delivering it after all, removing it.

pub mod options;
mod print;
mod replay;
mod selection;

use std::{io, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;
use tokio::time::timeout;

use super::dead_letters::{
    print::Printer,
    replay::Replay,
    selection::{Orphans, Selected},
};
use super::options::{Action, DeadLettersOptions, Selection};
use crate::{
    base::clock::Clock,
    config::{Config, PublishSubject, Route},
    dead_letter::{Claim, Cursor, Store, StoreError, Stored},
    nats::{Connection, library},
};

/// How long NATS may take to be there: somebody waits for it.
const CONNECTING: Duration = Duration::from_secs(10);

/// Whether everything that was asked for was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All of it was, so that the command ends with success.
    Fully,
    /// Something failed, and was reported.
    InPart,
}

/// The command can't do its work.
#[derive(Debug, Error)]
pub enum CommandError {
    /// `--route` or `--to-route` names no route of the configuration.
    #[error("no route is called {0:?}")]
    NoSuchRoute(String),
    /// There are no dead letters to look at, or it is not clear which: the text says why, and what to do.
    #[error("{0}")]
    NoDeadLetters(String),
    /// No dead letter of the route has the id that was asked for.
    #[error("no dead letter has the id {0:?}")]
    NoSuchLetter(String),
    /// There was no connection within ten seconds; the text is the last reason.
    #[error("cannot connect to NATS: {0}")]
    Unreachable(String),
    /// The route logs in with a token, and there is none; the text is the reason.
    #[error("there is no token to log in to the webhook with: {0}")]
    Login(Arc<str>),
    /// The stream with the dead letters can't be found, read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refuses a runtime or signals, or nobody reads the output any more.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Does what `command` asks for. Needs a runtime that takes local tasks.
pub async fn run(config: &Config, command: DeadLettersOptions, clock: Clock) -> Result<Done, CommandError> {
    let (route, subject) = of_route(config, command.route.as_deref())?;
    let client = library::connect(&config.nats, CONNECTING).await.map_err(CommandError::Unreachable)?;
    let store = Store::open(client, subject).await?;
    let selected = |selection: &Selection, orphans| Selected::new(config, route, selection, orphans);
    let mut printer = Printer::new(command.json);
    match command.action {
        Action::List { selection } => {
            let found = list(&store, &selected(&selection, Orphans::Included), &mut printer).await?;
            any(found, &selection)
        }
        Action::Show { id } => {
            let selection = Selection { id: Some(id), ..Selection::default() };
            let found = show(&store, &selected(&selection, Orphans::Included), &mut printer).await?;
            any(found, &selection)
        }
        Action::Replay { selection, to_route, dry_run } => {
            // Whoever names the route says that it is the right one for them.
            let orphans = if to_route.is_some() { Orphans::Included } else { Orphans::Excluded };
            let to = to_route.map_or(Ok(route), |name| find(config, &name))?;
            let selected = selected(&selection, orphans);
            if dry_run {
                let found = list(&store, &selected, &mut printer).await?;
                return any(found, &selection);
            }
            store.removable()?;
            let _claim = claim(config, store.name(), clock).await?;
            let (replay, stop) = Replay::new(store, selected, to, clock)?;
            let summary = replay.run(stop).await?;
            any(summary.seen(), &selection)?;
            printer.replayed(&summary)?;
            Ok(if summary.is_success() { Done::Fully } else { Done::InPart })
        }
        Action::Purge { selection, dry_run: true } => {
            let found = list(&store, &selected(&selection, Orphans::Included), &mut printer).await?;
            any(found, &selection)
        }
        Action::Purge { selection, .. } => {
            let removed = purge(&store, &selected(&selection, Orphans::Included)).await?;
            any(removed, &selection)?;
            printer.purged(removed)?;
            Ok(Done::Fully)
        }
    }
}

/// Nothing is an answer, but not where a certain letter was asked for.
fn any(found: u64, selection: &Selection) -> Result<Done, CommandError> {
    match &selection.id {
        Some(id) if found == 0 => Err(CommandError::NoSuchLetter(id.clone())),
        _ => Ok(Done::Fully),
    }
}

/// The route that is meant, and the subject of its dead letters.
fn of_route<'c>(
    config: &'c Config,
    name: Option<&str>,
) -> Result<(&'c Route, &'c PublishSubject), CommandError> {
    let none = |text: String| Err(CommandError::NoDeadLetters(text));
    let subject = |route: &'c Route| Some((route, &route.dead_letter.as_ref()?.subject));
    if let Some(name) = name {
        let route = find(config, name)?;
        return subject(route).map_or_else(|| none(format!("the route {name} has no dead letters")), Ok);
    }
    let candidates: Vec<_> = config.routes.iter().filter_map(subject).collect();
    match candidates[..] {
        [only] => Ok(only),
        [] => none("no route has dead letters: set dead_letter.subject".to_owned()),
        // No guess: the next thing may be a purge.
        _ => {
            let names: Vec<_> = candidates.iter().map(|(route, _)| route.name.as_str()).collect();
            none(format!("several routes have dead letters, choose one with --route: {}", names.join(", ")))
        }
    }
}

fn find<'c>(config: &'c Config, name: &str) -> Result<&'c Route, CommandError> {
    let found = config.routes.iter().find(|route| route.name.as_str() == name);
    found.ok_or_else(|| CommandError::NoSuchRoute(name.to_owned()))
}

/// Claims the stream, over a connection of its own: anybody may ask for the claim, whatever bytes that consists of, and the
/// client library ends the process over some.
async fn claim(config: &Config, stream: &str, clock: Clock) -> Result<Claim, CommandError> {
    let connection = Connection::open(&config.nats, "dead-letters", clock);
    if timeout(CONNECTING, connection.state().connected()).await.is_err() {
        let trouble = connection.state().trouble();
        return Err(CommandError::Unreachable(trouble.unwrap_or_else(|| "no answer".to_owned())));
    }
    Ok(Claim::take(&connection, stream).await?)
}

/// Calls `each` with every selected letter.
async fn for_each(
    store: &Store,
    selected: &Selected,
    mut each: impl AsyncFnMut(Stored) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    // What is stored meanwhile is left out: where messages go on failing, this would never end.
    let (mut cursor, last) = (Cursor::START, store.last());
    loop {
        let letters = store.page(&mut cursor).await?;
        if letters.is_empty() && cursor.is_at_end() {
            return Ok(());
        }
        for letter in letters {
            if letter.sequence > last {
                return Ok(());
            }
            if selected.has(&letter) {
                each(letter).await?;
            }
        }
    }
}

/// Lists what is selected, and returns how many that are.
async fn list(store: &Store, selected: &Selected, printer: &mut Printer) -> Result<u64, CommandError> {
    let mut count = 0;
    for_each(store, selected, async |letter| {
        count += 1;
        Ok(printer.row(&letter)?)
    })
    .await?;
    printer.end(count)?;
    Ok(count)
}

/// Shows what is selected, and returns how many that are.
async fn show(store: &Store, selected: &Selected, printer: &mut Printer) -> Result<u64, CommandError> {
    // A stream finds its messages by their sequence or subject, and not by a header: so all are looked through.
    let mut count = 0;
    for_each(store, selected, async |letter| {
        count += 1;
        Ok(printer.whole(&letter)?)
    })
    .await?;
    Ok(count)
}

async fn purge(store: &Store, selected: &Selected) -> Result<u64, CommandError> {
    // One request instead of one for each letter.
    if selected.is_all()
        && let Some(purged) = store.purge().await?
    {
        return Ok(purged);
    }
    store.removable()?;
    let bar = progress(store.count().await?);
    let mut removed = 0;
    for_each(store, selected, async |letter| {
        store.remove(letter.sequence).await?;
        removed += 1;
        bar.inc(1);
        Ok(())
    })
    .await?;
    bar.finish_and_clear();
    Ok(removed)
}

/// A bar on standard error, where that is a terminal.
fn progress(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {per_sec} {eta} {msg}");
    let bar = ProgressBar::new(length);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
