//! Which daemon a command talks to, and as whom.

use std::path::PathBuf;

use clap::Args;

use crate::config::Sources;

/// Which daemon is asked, and by which token.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
#[expect(clippy::doc_markdown, reason = "these comments are the help text")]
pub struct DaemonOptions {
    /// The API of the daemon, http://HOST:PORT, https://HOST:PORT or HOST:PORT; without it, the one that the configuration tells on this
    /// machine, however wrong the rest of it may be.
    #[arg(long, value_name = "URL", global = true, display_order = 100)]
    pub url: Option<String>,
    /// The file with the token, where the API asks for one. [env: BROADCASTER_TOKEN_FILE]
    #[arg(long, value_name = "FILE", global = true, display_order = 101)]
    pub token_file: Option<PathBuf>,
    /// A file with certificates to trust beside those of the system, where the API speaks TLS.
    #[arg(long, value_name = "FILE", global = true, display_order = 102)]
    pub ca_file: Option<PathBuf>,
    /// Ask the whole fleet instead, as clients of NATS do where service.access is set: over the servers of URL, or else as
    /// the configuration says, whose login counts.
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        default_missing_value = "",
        value_parser = servers,
        global = true,
        display_order = 103
    )]
    pub nats: Option<String>,
    /// Of the fleet, this replica alone: its name or its id.
    #[arg(long, value_name = "REPLICA", requires = "nats", global = true, display_order = 104)]
    pub replica: Option<String>,
    /// Write JSON, as the API answers it; with --nats, a list of what each replica answers.
    #[arg(long, global = true, display_order = 105)]
    pub json: bool,
}

impl DaemonOptions {
    /// Whether anybody is named who is to be asked.
    pub fn names_somebody(&self) -> bool {
        self.url.is_some() || self.nats.is_some()
    }

    /// `sources`, with the servers that `--nats` names as those of NATS.
    #[must_use]
    pub fn at_servers(&self, mut sources: Sources) -> Sources {
        let servers = self.nats.iter().filter(|servers| !servers.is_empty()).cloned();
        sources.flags.extend(servers.map(|servers| ("nats.url".to_owned(), servers, "--nats".to_owned())));
        sources
    }
}

/// What follows `--nats`, which may be nothing, and then another argument stands in its place.
fn servers(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains("://") {
        return Ok(text.to_owned());
    }
    Err("expected a URL such as nats://127.0.0.1:4222; without one, --nats stands behind the other arguments")
}
