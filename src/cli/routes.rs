//! `broadcaster routes`: the routes of a running daemon, by its API.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    daemon::{Daemon, DaemonError, options::DaemonOptions},
    terminal::{Abilities, clean, clean_lines, escaped},
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
}

/// Prints what the daemon tells of its routes. Needs a runtime that takes local tasks.
///
/// # Errors
/// Why it does not tell.
pub async fn run(options: &RoutesOptions, sources: Sources) -> Result<bool, DaemonError> {
    let daemon = Daemon::new(&options.daemon, sources)?;
    match &options.action {
        RoutesAction::Ls => list(&daemon, &options.daemon).await?,
        RoutesAction::Get { route } => {
            let path = format!("/api/v1/status/routes/{}", utf8_percent_encode(route, NON_ALPHANUMERIC));
            let detail: Value = daemon.get(&path).await?;
            print(&options.daemon, &detail, described)?;
        }
    }
    Ok(true)
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
                writeln!(
                    out,
                    "{:<24}  {:<24}  {:<32}  {in_hand:>9}  {}",
                    clean(&route.name),
                    clean(&route.source.subject),
                    clean(&route.webhook.url),
                    clean(&route.text)
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

/// Prints `done` as it is for machines, and by `words` for people.
fn print(options: &DaemonOptions, done: &Value, words: impl FnOnce(&Value) -> String) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{}", escaped(done))?;
    } else {
        writeln!(out, "{}", clean_lines(&words(done)))?;
    }
    out.flush()
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
