//! `broadcaster tail`: the attempts of a running daemon as they happen.

use std::io::{self, Write as _};

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    daemon::{Daemon, DaemonError, Event, options::DaemonOptions},
    history::attempt_text,
    terminal::{Abilities, clean, escaped},
};
use crate::{config::Sources, history::record::Line};

/// Which attempts are shown.
#[derive(Debug, Args)]
pub struct TailOptions {
    /// Those of this route only.
    #[arg(long, value_name = "ROUTE")]
    pub route: Option<String>,
    /// Failed ones only.
    #[arg(long)]
    pub failed: bool,
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Prints attempts until the daemon ends, or somebody ends this by ^C. Needs a runtime that takes local tasks.
///
/// # Errors
/// Why the daemon does not tell.
pub async fn run(options: &TailOptions, sources: Sources) -> Result<bool, DaemonError> {
    if options.daemon.nats.is_some() {
        return Err(DaemonError::OneOnly("tail"));
    }
    let daemon = Daemon::new(&options.daemon, sources)?;
    let mut path = format!("/api/v1/attempts?failed={}", options.failed);
    if let Some(route) = &options.route {
        path.push_str(&format!("&route={}", utf8_percent_encode(route, NON_ALPHANUMERIC)));
    }
    let mut events = daemon.events(&path).await?;
    let abilities = Abilities::of_output();
    while let Some(event) = events.next().await? {
        print(&event, options.daemon.json, abilities)?;
    }
    drop(writeln!(io::stderr(), "the daemon has ended the stream"));
    Ok(true)
}

fn print(event: &Event, json: bool, abilities: Abilities) -> io::Result<()> {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    if event.name == "left-out" {
        // On standard error, so that a pipe gets attempts and nothing else.
        drop(writeln!(io::stderr(), "{} more attempts, too many to show", data["count"]));
        return Ok(());
    }
    let line = if json { escaped(&data) } else { shown(data, abilities) };
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn shown(data: Value, abilities: Abilities) -> String {
    let line: Line = serde_json::from_value(data).unwrap_or_default();
    format!("{} {}  {}", clean(&line.route), clean(&line.id), attempt_text(&line, abilities))
}
