//! `broadcaster status`: how a running daemon and its routes are doing, once or as it goes on.

mod print;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::sleep;

pub(super) use self::print::line;
use super::{
    daemon::{Daemon, DaemonError, options::DaemonOptions},
    terminal::{Abilities, escaped},
};
use crate::{config::Sources, control::status::model::Status};

/// How long it is from one look to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Begins at the top of the screen again, and clears what is below it.
const HOME: &str = "\u{1b}[H\u{1b}[J";

/// What is shown, and how often.
#[derive(Debug, Args)]
pub struct StatusOptions {
    /// Look again each second, until it is stopped by ^C.
    #[arg(long)]
    pub watch: bool,
    /// Only the routes that something is wrong with.
    #[arg(long)]
    pub troubled: bool,
    /// Only the routes with this in their name, subject, stream or the webhook's host.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub search: String,
    /// How many routes at the most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: u16,
    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Prints the status, and again each second where that is wanted. Returns whether the daemon is ready. Needs a runtime that
/// takes local tasks.
///
/// # Errors
/// Why the daemon does not tell.
pub async fn run(options: &StatusOptions, sources: Sources) -> Result<bool, DaemonError> {
    let daemon = Daemon::new(&options.daemon, sources)?;
    let state = if options.troubled { "troubled" } else { "all" };
    let search = utf8_percent_encode(&options.search, NON_ALPHANUMERIC);
    let path = format!("/api/v1/status?history=true&limit={}&state={state}&search={search}", options.limit);
    loop {
        let looked = daemon.get::<Status>(&path).await;
        let ready = match looked {
            Ok(status) => {
                show(&status, options)?;
                status.health.ready
            }
            // It may be restarting.
            Err(error) if options.watch => {
                write(&format!("{error}\n"), options)?;
                false
            }
            Err(error) => return Err(error),
        };
        if !options.watch {
            return Ok(ready);
        }
        sleep(PAUSE).await;
    }
}

fn show(status: &Status, options: &StatusOptions) -> io::Result<()> {
    if options.daemon.json {
        let line = escaped(&serde_json::to_value(status).unwrap_or_default());
        return write(&(line + "\n"), options);
    }
    write(&print::page(status, Abilities::of_output()), options)
}

fn write(text: &str, options: &StatusOptions) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if options.watch && !options.daemon.json && out.is_terminal() {
        out.write_all(HOME.as_bytes())?;
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}
