//! Which daemon a command talks to, and as whom.

use std::path::PathBuf;

use clap::Args;

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
    /// Write JSON, as the API answers it.
    #[arg(long, global = true, display_order = 103)]
    pub json: bool,
}
