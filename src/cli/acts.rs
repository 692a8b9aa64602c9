//! `broadcaster pause`, `drain`, `resume`, `reload` and `log-level`: what an operator has a running daemon do, or all of a fleet.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::daemon::{DaemonError, Daemons, options::DaemonOptions, print, question};
use crate::{
    config::Sources,
    control::service::acts::{self as service, Question},
};

/// Which route is held.
#[derive(Debug, Args)]
pub struct PauseOptions {
    /// The name of the route.
    pub route: String,
    /// Why, for whoever sees it held.
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Which route is drained.
#[derive(Debug, Args)]
pub struct DrainOptions {
    /// The name of the route.
    pub route: String,
    /// Why, for whoever sees it drained.
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Which route goes on.
#[derive(Debug, Args)]
pub struct ResumeOptions {
    /// The name of the route.
    pub route: String,
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Whose configuration is read again.
#[derive(Debug, Args)]
pub struct ReloadOptions {
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Which level the log has.
#[derive(Debug, Args)]
pub struct LogLevelOptions {
    /// error, warn, info, debug or trace; without it, the level is only told.
    pub level: Option<String>,
    /// For how long; then it is again as configured.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, requires = "level")]
    pub time: Option<Duration>,
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Something that a daemon is to do, or to tell.
#[derive(Debug)]
pub enum Act {
    /// See [`PauseOptions`].
    Pause(PauseOptions),
    /// See [`DrainOptions`].
    Drain(DrainOptions),
    /// See [`ResumeOptions`].
    Resume(ResumeOptions),
    /// See [`ReloadOptions`].
    Reload(ReloadOptions),
    /// See [`LogLevelOptions`].
    LogLevel(LogLevelOptions),
}

/// Has the daemon do what `act` says, and prints what comes of it. Needs a runtime that takes local tasks.
///
/// # Errors
/// Why it is not done.
pub async fn run(act: Act, sources: Sources) -> Result<bool, DaemonError> {
    let (options, asked, question, words): (_, _, _, fn(&Value) -> String) = match act {
        Act::Pause(PauseOptions { route, why, daemon }) => {
            (daemon, service::Act::Pause, holding(&route, why.as_deref()), held)
        }
        Act::Drain(DrainOptions { route, why, daemon }) => {
            (daemon, service::Act::Drain, holding(&route, why.as_deref()), held)
        }
        Act::Resume(ResumeOptions { route, daemon }) => {
            (daemon, service::Act::Resume, question([("route", route.into())]), held)
        }
        Act::Reload(ReloadOptions { daemon }) => (daemon, service::Act::Reload, question([]), reloaded),
        Act::LogLevel(LogLevelOptions { level: None, daemon, .. }) => {
            (daemon, service::Act::LogLevel, question([]), level_told)
        }
        Act::LogLevel(LogLevelOptions { level: Some(level), time, daemon }) => {
            let mut level = question([("level", level.into())]);
            if let Some(time) = time {
                level.insert("for".to_owned(), humantime::format_duration(time).to_string().into());
            }
            (daemon, service::Act::SetLogLevel, level, level_told)
        }
    };
    let told = Daemons::reach(&options, sources).await?.ask(asked, &question).await?;
    print(&options, told, words)?;
    Ok(true)
}

/// What asks to hold `route`, or to drain it.
pub(super) fn holding(route: &str, why: Option<&str>) -> Question {
    let mut question = question([("route", route.into())]);
    question.extend(why.map(|why| ("why".to_owned(), why.into())));
    question
}

/// A text of an answer; empty where it has none.
fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// What has become of the hold of a route, in words.
pub(super) fn held(done: &Value) -> String {
    let (name, hold) = (text(done, "name"), &done["held"]);
    let state = if hold.is_null() {
        format!("{name} goes on")
    } else {
        let why = hold["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        let what = if hold["act"] == "drain" { "drained" } else { "held" };
        format!("{name} is {what} by {} since {}{why}", text(hold, "by"), text(hold, "since"))
    };
    let late = if done["applied"] == false { "; some lanes have not followed yet" } else { "" };
    format!("{state}{late}")
}

fn reloaded(done: &Value) -> String {
    let names = |key: &str| {
        let names = done[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    let changes = [("added", "added"), ("changed", "changed"), ("removed", "removed")]
        .map(|(key, word)| (word, names(key)))
        .into_iter()
        .filter(|(_, names)| !names.is_empty());
    let mut words: Vec<_> = changes.map(|(word, names)| format!("{word}: {names}")).collect();
    if words.is_empty() {
        words.push("no route has changed".to_owned());
    }
    let restart = names("need_restart");
    if !restart.is_empty() {
        words.push(format!("needs a restart: {restart}"));
    }
    format!("generation {}; {}", done["generation"], words.join("; "))
}

fn level_told(done: &Value) -> String {
    let level = text(done, "level");
    match done["until"].as_str() {
        Some(until) => format!("{level} until {until}, then {}", text(done, "configured")),
        None => level.to_owned(),
    }
}
