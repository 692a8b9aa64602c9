//! Takes messages from NATS and delivers each one, as an HTTP POST, to a webhook.
//!
//! The way of a message is the list of modules: [`source`] takes it from NATS, [`mod@line`] has it delivered, asking
//! [`dispatch`] what is next and [`deliver`] to attempt it, and [`settle`] counts what became of it. [`lane`] puts these
//! together on one thread, [`app`] puts the lanes together. `ARCHITECTURE.md` has the picture.

pub mod config;

pub mod clock;
pub mod message;
pub mod outcome;
pub mod receipt;

pub mod acks;
pub mod dead_letter;
pub mod deliver;
pub mod dispatch;
pub mod durable;
pub mod hand_over;
pub mod line;
pub mod nats;
pub mod settle;
pub mod source;

pub mod app;
pub mod lane;
pub mod route;

pub mod api;
pub mod cli;
pub mod commands;
pub mod condition;
pub mod health;
pub mod metrics;
pub mod pulse;
pub mod server;
pub mod signals;
pub mod stats;
pub mod supervisor;
pub mod telemetry;
pub mod throttle;

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
