//! The options of `broadcaster listen`. Their doc comments are the help text and the manual.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};

use clap::{ArgGroup, Args, builder::PossibleValuesParser};
use http::StatusCode;

use crate::config::Scheme;

/// What is taken, verified and answered.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("failing").args(["status", "fail", "every"]).multiple(true))]
#[expect(clippy::doc_markdown, reason = "these comments are the help text")]
pub struct ListenOptions {
    /// The port; 0 leaves it to the system. The URL is printed.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The address to listen on; 0.0.0.0 or :: for those of all networks.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
    /// Speak TLS, with a certificate that is made up now and written to this file, for webhook.tls.ca_file.
    #[arg(long, value_name = "FILE")]
    pub tls: Option<PathBuf>,
    /// Verify signatures as webhook.signing of this route has them made.
    #[arg(long, value_name = "ROUTE", conflicts_with = "secret_file")]
    pub route: Option<String>,
    /// Verify signatures with the key in this file, for Standard Webhooks also a public one; may be repeated.
    #[arg(long, value_name = "FILE", visible_alias = "key-file")]
    pub secret_file: Vec<PathBuf>,
    /// The convention by which those keys sign.
    #[arg(long, value_name = "NAME", default_value = "standard-webhooks", value_parser = schemes(), requires = "secret_file")]
    pub scheme: String,
    /// How requests are answered.
    #[command(flatten)]
    pub answers: Answers,
    /// End after so many requests.
    #[arg(long, value_name = "N")]
    pub count: Option<NonZeroU64>,
    /// Write JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// How requests are answered: with 200, unless some of these say otherwise.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct Answers {
    /// Fail with this status, all requests or those that --fail or --every choose.
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub status: Option<StatusCode>,
    /// Fail this share of the requests, by chance, such as 20%; with 503, unless --status or --close says otherwise.
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "every")]
    pub fail: Option<f64>,
    /// Fail each Nth request; with 503, unless --status or --close says otherwise.
    #[arg(long, value_name = "N")]
    pub every: Option<NonZeroU64>,
    /// Fail by closing the connection without an answer.
    #[arg(long, conflicts_with_all = ["status", "retry_after"])]
    pub close: bool,
    /// Ask for so long a wait with each failure, in the header Retry-After; in whole seconds.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "failing")]
    pub retry_after: Option<Duration>,
    /// Wait for so long before each answer.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub delay: Option<Duration>,
}

fn schemes() -> PossibleValuesParser {
    Scheme::names().collect::<Vec<_>>().into()
}

fn status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()));
    status.ok_or_else(|| "expected a status from 200 to 599".to_owned())
}

/// A share such as `20%`, as a number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = percent.map(|percent| percent / 100.0).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0% to 100%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!([share("0%"), share("20 %"), share("100%")], [Ok(0.0), Ok(0.2), Ok(1.0)]);
        for text in ["20", "0.2", "-1%", "101%", "%", "NaN%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
