//! Takes messages from NATS and delivers each one, as an HTTP POST, to a webhook.
//!
//! The modules below stand in the order of the way of a message. A module may use only those that
//! `tests/it/invariants.rs` names for it. `ARCHITECTURE.md` has the picture and the reasons.

// What travels, and what it is counted and traced by.
pub mod message;
pub mod stats;
pub mod template;
pub mod trace;

// What operators write about it.
pub mod expression;

// The way: taken from NATS, queued and scheduled, attempted, settled.
pub mod source;

pub mod route;

pub mod endpoints;

pub mod deliver;

pub mod otlp;

pub mod dead_letter;

pub mod replay;

pub mod history;

pub mod handover;

// The threads that this runs on, and their connections.
pub mod lane;
pub mod nats;

// What an operator sees and decides.
pub mod app;
pub mod cli;
pub mod config;
pub mod control;

// What knows nothing of all that.
pub mod base;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this build was made from, with a `+` where the tree had changes: what `BROADCASTER_COMMIT` says (the image
/// is built without `.git`, which would spoil its cache), else what git says; `unknown` outside a git checkout.
pub const COMMIT: &str = match option_env!("BROADCASTER_COMMIT") {
    Some(commit) => commit,
    None => git_version::git_version!(
        args = ["--always", "--dirty=+", "--abbrev=9", "--exclude=*"],
        fallback = "unknown"
    ),
};

/// The version and the commit, as `--version` prints them.
pub const LONG_VERSION: &str = const_format::concatcp!(VERSION, " (", COMMIT, ")");
