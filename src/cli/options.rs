//! The command line: options and commands, as clap parses them. Their doc comments are the help text and the manual.

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use thiserror::Error;

pub use super::acts::{DrainOptions, LogLevelOptions, PauseOptions, ReloadOptions, ResumeOptions};
pub use super::check::options::CheckOptions;
pub use super::dead_letters::options::{Action, DeadLettersOptions, Selection};
pub use super::history::HistoryOptions;
pub use super::keys::{KeysAction, KeysOptions};
pub use super::listen::options::ListenOptions;
pub use super::routes::RoutesOptions;
pub use super::send::options::SendOptions;
pub use super::status::StatusOptions;
pub use super::tail::TailOptions;
use crate::config::{self, Sources};

/// Takes messages from NATS and delivers each one, as an HTTP POST, to a webhook.
#[derive(Debug, Parser)]
#[command(
    name = "broadcaster",
    version = crate::LONG_VERSION,
    after_help = "Settings come from built-in defaults, the file, the environment (WEBHOOK_URL, NATS_URL, NATS_SUBJECT, \
                  NATS_QUEUE_GROUP, LOG_LEVEL, and BROADCASTER__SECTION__KEY for everything else) and these options; \
                  later ones win.\n\nSIGTERM, SIGINT and SIGQUIT stop it in order, a second one at once; \
                  SIGHUP has it read its configuration again. \
                  Exit status: 0 after a clean stop, 1 when it could not start or failed, 2 for a wrong option, \
                  3 where what was sent would not be sent again, 69 where the daemon can't be reached, \
                  77 where it wants a token, 78 for a wrong configuration."
)]
pub struct Cli {
    /// What to do; without a command, deliver.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings that are given here, in the help behind the options of a command.
    #[command(flatten, next_display_order = 200)]
    pub settings: Settings,
}

/// What else the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the configuration and print it as it would be used, with secrets masked.
    Check(CheckOptions),
    /// Look at the dead letters in a stream, deliver them after all, or remove them.
    DeadLetters(DeadLettersOptions),
    /// Drain a route of the running daemon: it takes nothing from NATS any more, and delivers what it has.
    Drain(DrainOptions),
    /// Ask the running daemon whether it is ready: status 0 if it is, else 1 and the reasons.
    Health(HealthOptions),
    /// Tell what is known of a message: its attempts, as published by history.subject, its dead letter, and who has it in hand.
    History(HistoryOptions),
    /// Make keys to sign requests with, or to seal secrets, and seal them.
    Keys(KeysOptions),
    /// Receive what is sent, as a webhook for trying things out: show it, verify signatures, and fail as told.
    Listen(ListenOptions),
    /// Tell the level of the log of the running daemon, or set another one for a while.
    LogLevel(LogLevelOptions),
    /// Hold a route of the running daemon: nothing is attempted any more, its messages wait.
    Pause(PauseOptions),
    /// Have the running daemon read its configuration again.
    Reload(ReloadOptions),
    /// Let a route go on that was held or drained.
    Resume(ResumeOptions),
    /// List the routes of the running daemon, look at one, hold or drain it, or have it send a message.
    Routes(RoutesOptions),
    /// Send one message to the webhook of a route, as the daemon would, and show the request and the answer.
    Send(SendOptions),
    /// Show how the running daemon and its routes are doing: status 0 if it is ready, else 1.
    Status(StatusOptions),
    /// Show the attempts of the running daemon as they happen.
    Tail(TailOptions),
}

/// Which daemon is asked, and what.
#[derive(Debug, Args)]
pub struct HealthOptions {
    /// Ask whether it is alive instead, as a service manager does before it restarts a process.
    #[arg(long)]
    pub live: bool,
    /// The API of the daemon, http://HOST:PORT, https://HOST:PORT or HOST:PORT; without it, the one that the
    /// configuration tells on this machine, however wrong the rest of it may be.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// The settings that can be given as options.
#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "these comments are the help text")]
pub struct Settings {
    /// The configuration file, in TOML. [env: BROADCASTER_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The webhook of the route `default`. [env: WEBHOOK_URL]
    #[arg(long, value_name = "URL", global = true)]
    webhook_url: Option<String>,
    /// The NATS servers, separated by commas. [env: NATS_URL]
    #[arg(long, value_name = "URL", global = true)]
    nats_url: Option<String>,
    /// The subject of the route `default`. [env: NATS_SUBJECT]
    #[arg(long, value_name = "SUBJECT", global = true)]
    subject: Option<String>,
    /// The queue group of the route `default`. [env: NATS_QUEUE_GROUP]
    #[arg(long, value_name = "NAME", global = true)]
    queue_group: Option<String>,
    /// error, warn, info, debug or trace. [env: LOG_LEVEL]
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// Any setting by its key, such as routes.todos.webhook.timeout=5s; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

/// `--set` without `=` or a key before it. What was given is not repeated: it may be a secret.
#[derive(Debug, Error)]
#[error("--set: expected KEY=VALUE, such as routes.todos.webhook.timeout=5s")]
pub struct SetError;

impl Cli {
    /// The arguments of this process; where they are wrong, the process ends with a message. What is no option is not
    /// repeated there: it may be a secret that lost its option, as in `--set nats.token= SECRET`.
    pub fn from_arguments() -> Self {
        Self::try_parse().unwrap_or_else(|mut error| {
            for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
                if matches!(error.get(kind), Some(ContextValue::String(word)) if !may_be_shown(word)) {
                    error.insert(kind, ContextValue::String("…".to_owned()));
                }
            }
            error.exit()
        })
    }
}

/// Whether a word is an option, or a command that was mistyped, most likely. After an option that ends with `=` it is
/// not: then it is the value.
fn may_be_shown(word: &str) -> bool {
    let is_word = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && config::is_name(word);
    let lost_its_option = || {
        let arguments: Vec<_> = std::env::args_os().collect();
        let pairs = arguments.windows(2).filter(|pair| pair[1] == word);
        pairs.into_iter().any(|pair| pair[0].to_string_lossy().contains('='))
    };
    word.starts_with('-') || is_word && !lost_its_option()
}

impl Settings {
    /// These without `--subject`, which is another thing for the command that has it too.
    #[must_use]
    pub fn without_subject(self) -> Self {
        Self { subject: None, ..self }
    }

    /// All sources of settings: these options, and the environment of the process.
    pub fn sources(self) -> Result<Sources, SetError> {
        let named = [
            ("routes.default.webhook.url", self.webhook_url, "--webhook-url"),
            ("nats.url", self.nats_url, "--nats-url"),
            ("routes.default.subject", self.subject, "--subject"),
            ("routes.default.queue_group", self.queue_group, "--queue-group"),
            ("log.level", self.log_level, "--log-level"),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value, flag)| Some((key.to_owned(), value?, flag.to_owned())));
        let mut flags: Vec<_> = named.collect();
        for setting in self.set {
            let (key, value) =
                setting.split_once('=').filter(|(key, _)| !key.trim().is_empty()).ok_or(SetError)?;
            flags.push((key.trim().to_owned(), value.to_owned(), "--set".to_owned()));
        }
        Ok(Sources { file: self.config, env: std::env::vars_os().collect(), flags })
    }
}
