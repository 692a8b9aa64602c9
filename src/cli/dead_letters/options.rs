//! The options of `broadcaster dead-letters`. Their doc comments are the help text and the manual.

use std::time::SystemTime;

use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser};

use crate::{
    dead_letter::{self, time_or_age},
    message::outcome::Reason,
};

/// Which dead letters, and what to do with them.
#[derive(Debug, Args)]
pub struct DeadLettersOptions {
    /// The route whose dead letters are meant; needed where several routes have some.
    // Behind the options of what is to be done.
    #[arg(long, value_name = "ROUTE", global = true, display_order = 100)]
    pub route: Option<String>,
    /// Write JSON, one object a line.
    #[arg(long, global = true, display_order = 101)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List them, the oldest first.
    List {
        /// Which ones.
        #[command(flatten)]
        selection: Selection,
    },
    /// Show one with its headers and its payload.
    Show {
        /// The id, as `list` shows it.
        id: String,
    },
    /// Deliver them through the route's webhook, and remove what was delivered.
    #[command(group(some_selection()))]
    Replay {
        /// Which ones.
        #[command(flatten)]
        selection: Selection,
        /// Deliver to the webhook of this route instead; also letters of routes that are not configured any more.
        #[arg(long, value_name = "ROUTE")]
        to_route: Option<String>,
        /// Only list what would be delivered.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove them for good.
    #[command(group(some_selection()))]
    Purge {
        /// Which ones.
        #[command(flatten)]
        selection: Selection,
        /// Only list what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters are meant; several of these narrow it down.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct Selection {
    /// Those of the message with this id.
    #[arg(long)]
    pub id: Option<String>,
    /// Those with this reason.
    #[arg(long, value_parser = reasons())]
    pub reason: Option<String>,
    /// Those whose last attempt failed so, such as 422 or timeout.
    #[arg(long)]
    pub failure: Option<String>,
    /// Those that were stored after this time (2026-11-23T12:00:00Z), or in the last so long (2h).
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<SystemTime>,
    /// Those that were stored before this time, or longer ago than this.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<SystemTime>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["id", "reason", "failure", "since", "until"])]
    pub all: bool,
}

impl From<Selection> for dead_letter::Selection {
    fn from(Selection { id, reason, failure, since, until, all: _ }: Selection) -> Self {
        Self { id, reason, failure, since, until, ..Self::default() }
    }
}

/// What changes something needs to be told what is meant.
fn some_selection() -> ArgGroup {
    ArgGroup::new("selection")
        .args(["id", "reason", "failure", "since", "until", "all"])
        .required(true)
        .multiple(true)
}

fn reasons() -> PossibleValuesParser {
    Reason::ALL.map(Reason::label).into()
}

fn time(text: &str) -> Result<SystemTime, String> {
    time_or_age(text, SystemTime::now())
}
