//! The options of `broadcaster dead-letters`. Their doc comments are the help text and the manual.

use std::time::SystemTime;

use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser};

use crate::message::outcome::Reason;

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
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct Selection {
    /// Those of the message with this id.
    #[arg(long)]
    pub id: Option<String>,
    /// Those with this reason.
    #[arg(long, value_parser = reasons())]
    pub reason: Option<String>,
    /// Those that were stored after this time (2026-11-23T12:00:00Z), or in the last so long (2h).
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<SystemTime>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["id", "reason", "since"])]
    pub all: bool,
}

/// What changes something needs to be told what is meant.
fn some_selection() -> ArgGroup {
    ArgGroup::new("selection").args(["id", "reason", "since", "all"]).required(true).multiple(true)
}

fn reasons() -> PossibleValuesParser {
    Reason::ALL.map(Reason::label).into()
}

fn since(text: &str) -> Result<SystemTime, String> {
    since_at(text, SystemTime::now())
}

fn since_at(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let wrong = |_| "expected a time such as 2026-11-23T12:00:00Z, or a duration such as 2h".to_owned();
    humantime::parse_rfc3339_weak(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn since_is_a_time_or_a_duration() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200);
        assert_eq!(since_at("2026-11-23T12:00:00Z", SystemTime::UNIX_EPOCH), Ok(noon));
        assert_eq!(since_at("1h 30m", noon), Ok(noon - Duration::from_secs(5400)));
        assert!(since_at("yesterday", noon).is_err());
    }
}
