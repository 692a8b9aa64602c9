//! `broadcaster routes`: the routes of a running daemon, to look at and to act on, by its API.

use std::{
    fmt::Display,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    acts::{pause, print, resume},
    daemon::{Daemon, DaemonError, options::DaemonOptions, route_path},
    terminal::{Abilities, clean, escaped},
};
use crate::{
    config::Sources,
    control::status::model::{RouteDetail, Status},
};

/// What is done with routes.
#[derive(Debug, Args)]
pub struct RoutesOptions {
    /// Which daemon.
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
        /// The route.
        route: String,
    },
    /// Hold one: nothing is attempted any more, its messages wait.
    Pause {
        /// The route.
        route: String,
        /// Why, for whoever sees it held.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Let one go on that was held.
    Resume {
        /// The route.
        route: String,
    },
    /// Write one to the bucket of endpoints, which all replicas follow.
    Put {
        /// The route.
        route: String,
        /// The file with its settings as JSON, the keys below routes.NAME; - is standard input.
        file: PathBuf,
        /// Write only where the bucket has this revision of it; 0: where it has none.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
    /// Remove one from the bucket of endpoints.
    Rm {
        /// The route.
        route: String,
    },
    /// Have the daemon send a message to the webhook of one, past all queues, and show the answer.
    Test {
        /// The route.
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
    let daemon = Daemon::new(&options.daemon, sources)?;
    match &options.action {
        RoutesAction::Ls => list(&daemon, &options.daemon).await?,
        RoutesAction::Get { route } => {
            let path = format!("/api/v1/status/routes/{}", utf8_percent_encode(route, NON_ALPHANUMERIC));
            let detail: Value = daemon.get(&path).await?;
            print(&options.daemon, &detail, described)?;
        }
        RoutesAction::Pause { route, why } => {
            pause(&daemon, route, why.as_deref(), &options.daemon).await?;
        }
        RoutesAction::Resume { route } => resume(&daemon, route, &options.daemon).await?,
        RoutesAction::Put { route, file, revision } => {
            let settings = settings(file)?;
            let revision = revision.map(|revision| format!("?revision={revision}")).unwrap_or_default();
            let path = format!("{}{revision}", path_of(route));
            let done: Value = daemon.call(Method::PUT, &path, Some(&settings)).await?;
            print(&options.daemon, &done, written)?;
        }
        RoutesAction::Rm { route } => {
            let done: Value = daemon.call(Method::DELETE, &path_of(route), None).await?;
            print(&options.daemon, &done, written)?;
        }
        RoutesAction::Test { route, body, subject } => {
            let mut asked = serde_json::Map::new();
            asked.extend(body.clone().map(|body| ("payload".to_owned(), body)));
            asked.extend(subject.clone().map(|subject| ("subject".to_owned(), subject.into())));
            let path = route_path(route, "test");
            let done: Value = daemon.call(Method::POST, &path, Some(&asked.into())).await?;
            print(&options.daemon, &done, tested)?;
            return Ok(done["delivered"] == true);
        }
    }
    Ok(true)
}

fn payload(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("expected JSON: {error}"))
}

fn path_of(route: &str) -> String {
    format!("/api/v1/routes/{}", utf8_percent_encode(route, NON_ALPHANUMERIC))
}

/// What is in `file`, which has to be JSON: what else is wrong with it, the daemon says.
fn settings(file: &Path) -> Result<Value, DaemonError> {
    let read =
        if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let unread = |error: &dyn Display| DaemonError::Problem(format!("{}: {error}", file.display()));
    serde_json::from_str(&read.map_err(|error| unread(&error))?).map_err(|error| unread(&error))
}

fn written(done: &Value) -> String {
    format!("{} is written, revision {}", done["name"].as_str().unwrap_or_default(), done["revision"])
}

/// All routes, page by page.
async fn list(daemon: &Daemon, options: &DaemonOptions) -> Result<(), DaemonError> {
    let mut after = String::new();
    loop {
        let path =
            format!("/api/v1/status?limit=500&after={}", utf8_percent_encode(&after, NON_ALPHANUMERIC));
        let page: Status = daemon.get(&path).await?;
        let mut out = io::stdout().lock();
        for route in &page.routes {
            if options.json {
                writeln!(out, "{}", escaped(&serde_json::to_value(route).unwrap_or_default()))?;
            } else {
                let in_hand = route.messages.in_hand;
                let cause = route.cause.as_ref().map(|cause| format!(" ({})", clean(cause)));
                writeln!(
                    out,
                    "{:<24}  {:<24}  {:<32}  {in_hand:>9}  {}{}",
                    clean(&route.name),
                    clean(&route.source.subject),
                    clean(&route.webhook.url),
                    clean(&route.text),
                    cause.unwrap_or_default()
                )?;
            }
        }
        out.flush()?;
        match page.next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
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
