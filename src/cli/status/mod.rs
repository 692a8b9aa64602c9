//! `broadcaster status`: how a running daemon and its routes are doing, once or as it goes on.

mod fleet;
mod print;

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use tokio::time::sleep;

pub(super) use self::{
    fleet::{Merged, merged},
    print::line,
};
use super::{
    daemon::{DaemonError, Daemons, Told, fact, in_part, options::DaemonOptions, question},
    terminal::{Abilities, Window, escaped},
};
use crate::{
    config::Sources,
    control::{service::acts::Act, status::model::Status},
};

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
    /// Where the running daemon, or the fleet, is reached.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// Prints the status, and again each second where that is wanted. Returns whether the daemon is ready. Needs a runtime that
/// takes local tasks.
///
/// # Errors
/// Why the daemon does not tell.
pub async fn run(options: &StatusOptions, sources: Sources) -> Result<bool, DaemonError> {
    let mut daemons = Daemons::reach(&options.daemon, sources).await?;
    loop {
        let looked = look(&mut daemons, options).await;
        if !options.watch {
            return looked;
        }
        match looked {
            Ok(_) | Err(DaemonError::InPart { .. }) => {}
            // A pipe gets JSON and nothing else.
            Err(error) if options.daemon.json => drop(writeln!(io::stderr(), "{error}")),
            // It may be restarting.
            Err(error) => write(&format!("{error}\n"), options)?,
        }
        sleep(PAUSE).await;
    }
}

/// Looks once, and shows what there is. Returns whether all are ready.
async fn look(daemons: &mut Daemons, options: &StatusOptions) -> Result<bool, DaemonError> {
    let state = if options.troubled { "troubled" } else { "all" };
    let question = question([
        ("history", true.into()),
        ("limit", options.limit.into()),
        ("state", state.into()),
        ("search", options.search.as_str().into()),
    ]);
    let told = daemons.ask(Act::Status, &question).await?;
    let told: Vec<_> = told.into_iter().map(read).collect();
    let is_ready = told.iter().all(|told| told.answer.as_ref().is_ok_and(|status| status.health.ready));
    let page = match (&told[..], options.daemon.json) {
        ([Told { replica: None, answer: Ok(status) }], true) => json_line(status),
        ([Told { replica: None, answer: Ok(status) }], false) => print::page(status, Abilities::of_output()),
        (_, true) => {
            let facts = told.iter().map(|told| fact(told.replica.as_ref(), told.answer.as_ref()));
            json_line(&facts.collect::<Vec<_>>())
        }
        (_, false) => fleet::page(&told, options.limit.into(), Abilities::of_output()),
    };
    write(&page, options)?;
    // What is wrong with each is on the page.
    in_part(told.into_iter().map(|Told { replica, answer }| (replica, answer.map(drop))))?;
    Ok(is_ready)
}

fn read(Told { replica, answer }: Told) -> Told<Status> {
    let answer = answer.and_then(|answer| {
        let odd = |error: serde_json::Error| DaemonError::Garbage("the daemon".to_owned(), error.into());
        serde_json::from_value(answer).map_err(odd)
    });
    Told { replica, answer }
}

fn json_line(value: &impl Serialize) -> String {
    escaped(&serde_json::to_value(value).unwrap_or_default()) + "\n"
}

fn write(text: &str, options: &StatusOptions) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if options.watch && !options.daemon.json && Abilities::of_output().clears {
        let fitting = Window::of_output().map(|window| window.fitting(text));
        write!(out, "{HOME}{}", fitting.as_deref().unwrap_or(text))?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}
