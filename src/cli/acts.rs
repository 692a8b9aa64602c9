//! `broadcaster pause`, `resume`, `reload` and `log-level`: what an operator has a running daemon do, by its API.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{
    daemon::{Daemon, DaemonError, options::DaemonOptions, route_path},
    terminal::{clean_lines, escaped},
};
use crate::config::Sources;

const LOG_LEVEL: &str = "/api/v1/log-level";

/// Which route is held.
#[derive(Debug, Args)]
pub struct PauseOptions {
    /// The route.
    pub route: String,
    /// Why, for whoever sees it held.
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Which route goes on.
#[derive(Debug, Args)]
pub struct ResumeOptions {
    /// The route.
    pub route: String,
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Whose configuration is read again.
#[derive(Debug, Args)]
pub struct ReloadOptions {
    /// Which daemon.
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
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Something that a daemon is to do, or to tell.
#[derive(Debug)]
pub enum Act {
    /// See [`PauseOptions`].
    Pause(PauseOptions),
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
    match act {
        Act::Pause(PauseOptions { route, why, daemon }) => {
            pause(&Daemon::new(&daemon, sources)?, &route, why.as_deref(), &daemon).await?;
        }
        Act::Resume(ResumeOptions { route, daemon }) => {
            resume(&Daemon::new(&daemon, sources)?, &route, &daemon).await?;
        }
        Act::Reload(ReloadOptions { daemon }) => {
            let asked = Daemon::new(&daemon, sources)?;
            let done: Value = asked.call(Method::POST, "/api/v1/reload", None).await?;
            print(&daemon, &done, reloaded)?;
        }
        Act::LogLevel(LogLevelOptions { level, time, daemon }) => {
            let asked = Daemon::new(&daemon, sources)?;
            let done: Value = match level {
                None => asked.get(LOG_LEVEL).await?,
                Some(level) => {
                    let time = time.map(|time| humantime::format_duration(time).to_string());
                    let mut body = json!({ "level": level });
                    if let Some(time) = time {
                        body["for"] = time.into();
                    }
                    asked.call(Method::PUT, LOG_LEVEL, Some(&body)).await?
                }
            };
            print(&daemon, &done, level_told)?;
        }
    }
    Ok(true)
}

/// Holds `route`, and prints what the daemon says to that.
pub(super) async fn pause(
    daemon: &Daemon,
    route: &str,
    why: Option<&str>,
    options: &DaemonOptions,
) -> Result<(), DaemonError> {
    let body = why.map_or_else(|| json!({}), |why| json!({ "why": why }));
    let done: Value = daemon.call(Method::POST, &route_path(route, "pause"), Some(&body)).await?;
    Ok(print(options, &done, held)?)
}

/// Lets `route` go on, and prints what the daemon says to that.
pub(super) async fn resume(daemon: &Daemon, route: &str, options: &DaemonOptions) -> Result<(), DaemonError> {
    let done: Value = daemon.call(Method::POST, &route_path(route, "resume"), Some(&json!({}))).await?;
    Ok(print(options, &done, held)?)
}

/// Prints `done` as it is for machines, and by `words` for people.
pub(super) fn print(
    options: &DaemonOptions,
    done: &Value,
    words: impl FnOnce(&Value) -> String,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{}", escaped(done))?;
    } else {
        writeln!(out, "{}", clean_lines(&words(done)))?;
    }
    out.flush()
}

/// A text of an answer; empty where it has none.
fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn held(done: &Value) -> String {
    let (name, hold) = (text(done, "name"), &done["held"]);
    let state = if hold.is_null() {
        format!("{name} goes on")
    } else {
        let why = hold["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{name} is held by {} since {}{why}", text(hold, "by"), text(hold, "since"))
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
