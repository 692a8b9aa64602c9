//! `broadcaster dead-letters`: looking at what was not delivered, delivering it after all, removing it.

pub mod options;
mod print;

use std::{cell::Cell, io, rc::Rc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::print::{Outcome, Printer};
use super::{
    bucket::{self, Bucket},
    options::{Action, DeadLettersOptions, Selection},
    terminal::clean,
};
use crate::{
    base::clock::Clock,
    config::{Config, PublishSubject, Route},
    control::signals::{self, Signals},
    dead_letter::{Claim, Orphans, Selected, Store, StoreError, Stored, Walk, discard},
    endpoints,
    message::outcome::Failure,
    nats::{Connection, library},
    replay::{News, Replay, ReplayError, Summary, Watcher, Webhook},
};

/// How long NATS may take to be there: somebody waits for it.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long a request may take: a server that is busy with a large stream needs more than a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many failures are named one by one: the summary has their number, and a list of thousands helps nobody.
const NAMED: u64 = 20;

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
    /// The bucket has routes, and it is not known which: whose letters there are is not known then, either.
    #[error("the routes of the bucket can't be read: {0}")]
    Bucket(#[from] endpoints::StoreError),
    /// The stream with the dead letters can't be found, read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The system refuses a runtime or signals, or nobody reads the output any more.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Does what `command` asks for. Needs a runtime that takes local tasks.
pub async fn run(
    mut config: Config,
    command: DeadLettersOptions,
    clock: Clock,
) -> Result<Done, CommandError> {
    let in_bucket = match &config.endpoints {
        Some(endpoints) => {
            let connection = connected(&config, clock).await?;
            Bucket::read(&connection, endpoints, &config.routes).await?
        }
        None => Bucket::default(),
    };
    config.routes.extend(in_bucket.routes);
    let config = &config;
    let (route, subject) = of_route(config, command.route.as_deref())?;
    let client = library::connect(&config.nats, CONNECTING).await.map_err(CommandError::Unreachable)?;
    let store = Store::open(Rc::new(client), subject, PATIENCE).await?;
    let selected = |selection: &Selection, orphans| {
        let selected = Selected::new(&config.routes, route, selection.clone().into(), orphans);
        selected.sparing(in_bucket.others.iter().cloned())
    };
    let mut printer = Printer::new(command.json);
    match command.action {
        Action::List { selection } => {
            let found = list(&store, selected(&selection, Orphans::Included), &mut printer).await?;
            any(found, &selection)
        }
        Action::Show { id } => {
            let selection = Selection { id: Some(id), ..Selection::default() };
            let found = show(&store, selected(&selection, Orphans::Included), &mut printer).await?;
            any(found, &selection)
        }
        Action::Replay { selection, to_route, dry_run } => {
            // Whoever names the route says that it is the right one for them.
            let orphans = if to_route.is_some() { Orphans::Included } else { Orphans::Excluded };
            let to = to_route.map_or(Ok(route), |name| find(config, &name))?;
            let selected = selected(&selection, orphans);
            if dry_run {
                let found = list(&store, selected, &mut printer).await?;
                return any(found, &selection);
            }
            store.removable().await?;
            let _claim = claim(config, store.name(), clock).await?;
            let outcome = replay(store, selected, Webhook::alone(to, clock), signals::listen()?).await?;
            any(outcome.summary.tried(), &selection)?;
            printer.replayed(&outcome)?;
            Ok(if outcome.is_success() { Done::Fully } else { Done::InPart })
        }
        Action::Purge { selection, dry_run: true } => {
            let found = list(&store, selected(&selection, Orphans::Included), &mut printer).await?;
            any(found, &selection)
        }
        Action::Purge { selection, .. } => {
            let removed = purge(&store, selected(&selection, Orphans::Included)).await?;
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

async fn claim(config: &Config, stream: &str, clock: Clock) -> Result<Claim, CommandError> {
    Ok(Claim::take(&connected(config, clock).await?, stream).await?)
}

async fn connected(config: &Config, clock: Clock) -> Result<Connection, CommandError> {
    bucket::connected(&config.nats, "dead-letters", clock).await.map_err(CommandError::Unreachable)
}

/// Lists what is selected, and returns how many that are.
async fn list(store: &Store, selected: Selected, printer: &mut Printer) -> Result<u64, CommandError> {
    let (mut walk, mut count) = (Walk::behind(0, selected), 0);
    while let Some(letter) = walk.next(store).await? {
        count += 1;
        printer.row(&letter)?;
    }
    printer.end(count)?;
    Ok(count)
}

/// Shows what is selected, and returns how many that are.
async fn show(store: &Store, selected: Selected, printer: &mut Printer) -> Result<u64, CommandError> {
    // A stream finds its messages by their sequence or subject, and not by a header: so all are looked through.
    let (mut walk, mut count) = (Walk::behind(0, selected), 0);
    while let Some(letter) = walk.next(store).await? {
        if let Some(letter) = store.get(letter.sequence).await? {
            count += 1;
            printer.whole(&letter)?;
        }
    }
    Ok(count)
}

/// Delivers what is selected, until a signal; what is under way is finished then, and with a second signal broken off.
async fn replay(
    store: Store,
    selected: Selected,
    webhook: Webhook,
    signals: Signals,
) -> Result<Outcome, CommandError> {
    let bar = progress(store.count().await?);
    let (walk, stop) = (Walk::behind(0, selected), signals.stop.clone());
    let replay = Replay::new(store.clone(), walk, webhook, u64::MAX, stop, watcher(bar.clone()));
    let (summary, error) = tokio::select! {
        replayed = replay.run() => replayed,
        () = signals.abort.cancelled() => return Err(io::Error::from(io::ErrorKind::Interrupted).into()),
    };
    bar.finish_and_clear();
    match error {
        Some(error @ ReplayError::Login(_)) => return Err(error.into()),
        Some(error) => eprintln!("error: {error}"),
        None => {}
    }
    let left = store.count().await?;
    Ok(Outcome { summary, left, is_interrupted: signals.stop.is_cancelled() })
}

/// Shows on `bar` how far a replay is, and names what fails.
fn watcher(bar: ProgressBar) -> Watcher {
    Box::new(move |summary: &Summary, news| {
        bar.set_position(summary.seen());
        let say = |text: String| bar.suspend(|| eprintln!("{text}"));
        match news {
            News::Failed(letter, failure) if summary.failed <= NAMED => say(failed(letter, failure)),
            News::Unreachable => say("the webhook can't be reached, stopping".to_owned()),
            News::Failed(..) | News::Progress => {}
        }
    })
}

fn failed(letter: &Stored, failure: Failure) -> String {
    format!("failed: {} ({})", clean(&letter.id().to_string()), failure.label())
}

async fn purge(store: &Store, selected: Selected) -> Result<u64, CommandError> {
    // One request instead of one for each letter.
    if selected.is_all()
        && let Some(purged) = store.purge().await?
    {
        return Ok(purged);
    }
    store.removable().await?;
    let (bar, removed) = (progress(store.count().await?), Cell::new(0));
    let told = |so_far, walk: &Walk| {
        removed.set(so_far);
        bar.set_position(so_far + walk.passed());
    };
    let mut walk = Walk::behind(0, selected);
    discard(store, &mut walk, u64::MAX, &CancellationToken::new(), told).await?;
    bar.finish_and_clear();
    Ok(removed.get())
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
