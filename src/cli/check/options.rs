//! The options of `broadcaster check`; their doc comments are the help text.

use clap::Args;

/// What is checked beside the configuration, and how it is told.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// See whether what it says would work, in place of printing it: NATS, permissions, streams and consumers, and the
    /// way to each webhook. Nothing is sent to webhooks or subjects.
    #[arg(long)]
    pub connect: bool,
    /// With --connect: one JSON object a line, for machines.
    #[arg(long, requires = "connect")]
    pub json: bool,
}
