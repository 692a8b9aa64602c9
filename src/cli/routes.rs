//! `broadcaster routes`: the routes of a running daemon, or of a fleet, to look at and to act on.

use std::{
    fmt::Display,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    acts::{held, holding},
    daemon::{DaemonError, Daemons, Told, fact, options::DaemonOptions, print, question, told_of},
    status::{Merged, merged},
    terminal::{Abilities, clean, escaped},
};
use crate::{
    base::json::Object,
    config::Sources,
    control::{
        server::LARGEST_BODY,
        service::acts::{Act, Question},
        status::model::{Route, RouteDetail},
    },
};

/// What is done with routes.
#[derive(Debug, Args)]
pub struct RoutesOptions {
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
    /// What to do.
    #[command(subcommand)]
    pub action: RoutesAction,
}

/// What is done with routes.
#[derive(Debug, Subcommand)]
pub enum RoutesAction {
    /// List all of them: those in the worst trouble first.
    Ls,
    /// Show one, with its settings and the latest failures.
    Get {
        /// The name of the route.
        route: String,
    },
    /// Hold one: nothing is attempted any more, its messages wait.
    Pause {
        /// The name of the route.
        route: String,
        /// Why, for whoever sees it held.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Drain one: it takes nothing from NATS any more, and delivers what it has.
    Drain {
        /// The name of the route.
        route: String,
        /// Why, for whoever sees it drained.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Let one go on that was held or drained.
    Resume {
        /// The name of the route.
        route: String,
    },
    /// Write one to the bucket of endpoints, which all replicas follow.
    Put {
        /// The name of the route.
        route: String,
        /// The file with its settings as JSON, the keys below routes.NAME; - is standard input.
        file: PathBuf,
        /// Write only where the bucket has this revision of it; 0: where it has none.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
    /// Remove one from the bucket of endpoints.
    Rm {
        /// The name of the route.
        route: String,
    },
    /// Have the daemon send a message to the webhook of one, past all queues, and show the answer.
    Test {
        /// The name of the route.
        route: String,
        /// The payload, as JSON; {"test":true} unless it is given.
        #[arg(long, value_name = "JSON", value_parser = payload)]
        body: Option<Value>,
        /// The subject of the message; may be left out.
        // In the place of the setting with this name.
        #[arg(long, value_name = "SUBJECT")]
        subject: Option<String>,
    },
}

/// Does what is asked for, and prints what the daemon says to that. Returns whether that is good. Needs a runtime that takes local tasks.
///
/// # Errors
/// Why it does not tell, or do it.
pub async fn run(options: &RoutesOptions, sources: Sources) -> Result<bool, DaemonError> {
    let (act, question, words): (_, _, fn(&Value) -> String) = match &options.action {
        RoutesAction::Ls => {
            let told = Daemons::reach(&options.daemon, sources).await?.routes().await?;
            list(told, &options.daemon)?;
            return Ok(true);
        }
        RoutesAction::Get { route } => (Act::Route, of(route), described),
        RoutesAction::Pause { route, why } => (Act::Pause, holding(route, why.as_deref()), held),
        RoutesAction::Drain { route, why } => (Act::Drain, holding(route, why.as_deref()), held),
        RoutesAction::Resume { route } => (Act::Resume, of(route), held),
        RoutesAction::Put { route, file, revision } => {
            let mut put = of(route);
            put.insert("settings".to_owned(), settings(file)?);
            put.extend(revision.map(|revision| ("revision".to_owned(), revision.into())));
            (Act::Put, put, written)
        }
        RoutesAction::Rm { route } => (Act::Remove, of(route), removed),
        RoutesAction::Test { route, body, subject } => {
            let mut trial = of(route);
            trial.extend(body.clone().map(|body| ("payload".to_owned(), body)));
            trial.extend(subject.clone().map(|subject| ("subject".to_owned(), subject.into())));
            (Act::Test, trial, tested)
        }
    };
    let told = Daemons::reach(&options.daemon, sources).await?.ask(act, &question).await?;
    let fails = |told: &Told| told.answer.as_ref().is_ok_and(|done| done["delivered"] == false);
    let is_good = !(act == Act::Test && told.iter().any(fails));
    print(&options.daemon, told, words)?;
    Ok(is_good)
}

/// What asks for `route`.
fn of(route: &str) -> Question {
    question([("route", route.into())])
}

fn payload(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("expected JSON: {error}"))
}

/// What is in `file`, which has to be JSON: what else is wrong with it, the daemon says.
fn settings(file: &Path) -> Result<Value, DaemonError> {
    let unread = |error: &dyn Display| DaemonError::Problem(format!("{}: {error}", file.display()));
    let mut text = String::new();
    // No more than the daemon takes, and a byte: what the name leads to may have no end.
    let most = LARGEST_BODY as u64 + 1;
    let read = if file == Path::new("-") {
        io::stdin().take(most).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    if read.map_err(|error| unread(&error))? > LARGEST_BODY {
        return Err(unread(&format_args!("expected {} KiB at the most", LARGEST_BODY / 1024)));
    }
    // What the daemon is sent has each key once, whatever stands here.
    let read = serde_json::from_str(&text).map_err(|error| unread(&error));
    read.map(|Object(settings)| settings.into())
}

fn removed(done: &Value) -> String {
    format!("{} is removed, revision {}", done["name"].as_str().unwrap_or_default(), done["revision"])
}

fn written(done: &Value) -> String {
    format!("{} is written, revision {}", done["name"].as_str().unwrap_or_default(), done["revision"])
}

/// All routes, each once; for programs as each replica has them.
fn list(told: Vec<Told<Vec<Route>>>, options: &DaemonOptions) -> Result<(), DaemonError> {
    let mut out = io::stdout().lock();
    if options.json && told.iter().any(|told| told.replica.is_some()) {
        let facts = told.iter().map(|told| fact(told.replica.as_ref(), told.answer.as_ref()));
        writeln!(out, "{}", escaped(&facts.collect()))?;
    } else {
        let replicas = told.iter().filter(|told| told.answer.is_ok()).count();
        let routes = told.iter().filter_map(|told| told.answer.as_ref().ok());
        for Merged { route, note } in merged(routes.map(Vec::as_slice), Some(replicas)) {
            let line = if options.json {
                escaped(&serde_json::to_value(&route).unwrap_or_default())
            } else {
                listed(&route) + &note
            };
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    told_of(told.into_iter().map(|Told { replica, answer }| (replica, answer.map(drop))))
}

fn listed(route: &Route) -> String {
    let in_hand = route.messages.in_hand;
    let cause = route.cause.as_ref().map(|cause| format!(" ({})", clean(cause))).unwrap_or_default();
    let (name, subject, url) = (clean(&route.name), clean(&route.source.subject), clean(&route.webhook.url));
    format!("{name:<24}  {subject:<24}  {url:<32}  {in_hand:>9}  {}{cause}", clean(&route.text))
}

fn tested(done: &Value) -> String {
    let millis = done["seconds"].as_f64().unwrap_or_default() * 1_000.0;
    let what = match (done["status"].as_u64(), done["failure"].as_str()) {
        (Some(status), _) => status.to_string(),
        (None, failure) => failure.unwrap_or("no answer").to_owned(),
    };
    let cause = done["cause"].as_str().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let body = done["answer"]["body"].as_str().filter(|body| !body.is_empty());
    let body = body.map(|body| format!("\n{body}")).unwrap_or_default();
    let result = if done["delivered"] == true { "delivered" } else { "not delivered" };
    format!("{result}: {what} in {millis:.1} ms{cause}{body}")
}

fn described(detail: &Value) -> String {
    let Ok(RouteDetail { route, failures, warnings, settings, .. }) = serde_json::from_value(detail.clone())
    else {
        return detail.to_string();
    };
    let abilities = Abilities { colours: false, ..Abilities::of_output() };
    let mut words = format!("{}\n", super::status::line(&route, abilities));
    for failure in failures {
        let cause = failure.cause.map(|cause| format!("  ({cause})")).unwrap_or_default();
        let (at, id, attempt, reason) = (failure.at, failure.id, failure.attempt, failure.reason);
        words.push_str(&format!("  {at}  {id}  attempt {attempt}  failed: {reason}{cause}\n"));
    }
    warnings.iter().for_each(|warning| words.push_str(&format!("  warning: {warning}\n")));
    words.push_str(&format!("\n{}", settings.trim_end()));
    words
}
