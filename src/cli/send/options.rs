//! The options of `broadcaster send`. Their doc comments are the help text and the manual.

use std::path::PathBuf;

use clap::Args;

/// What is sent, and where to.
#[derive(Debug, Args)]
pub struct SendOptions {
    /// The route to whose webhook the message goes; may be left out where there is one route.
    #[arg(value_name = "ROUTE")]
    pub route: Option<String>,
    /// Send to this URL instead, as a route does that has no other settings than those of --set.
    #[arg(long, value_name = "URL", conflicts_with = "route")]
    pub url: Option<String>,
    /// The subject of the message; may be left out where that of the route has no wildcards.
    // In the place of the setting with this name.
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// A header of the message, as its publisher would set it: 'Nats-Msg-Id: 17'; may be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The payload.
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    pub body: Option<String>,
    /// The file with the payload; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// Write JSON, in one line.
    #[arg(long)]
    pub json: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    let header = text.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
    let header =
        header.filter(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
    let header = header.map(|(name, value)| (name.to_owned(), value.to_owned()));
    header.ok_or_else(|| "expected NAME: VALUE".to_owned())
}
