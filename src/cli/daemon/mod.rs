//! Whom the commands ask: one daemon by its API, or all replicas of a fleet as the service that they are for clients of NATS.

mod api;
mod fleet;
pub mod options;
mod print;

use std::{error::Error, io, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

pub(super) use self::{
    api::{Daemon, Event},
    fleet::Replica,
    print::{fact, in_part, print, told_of},
};
use self::{fleet::Fleet, options::DaemonOptions};
use crate::{
    config::{ConfigErrors, Sources},
    control::{
        service::acts::{Act, Question},
        status::model::{Route, Status},
    },
    nats::PublishError,
};

/// How long the daemon may take to answer. An act may take it 30 seconds.
const PATIENCE: Duration = Duration::from_secs(35);

/// How many routes are asked for at a time.
const PAGE: usize = 500;

/// The daemon did not do what it was asked for.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The URL of `--url` is neither `http` nor `https`, or has no host.
    #[error("--url: expected http://HOST:PORT, https://HOST:PORT or HOST:PORT")]
    Url,
    /// The token can't be read, or is none.
    #[error("the token of --token-file, or BROADCASTER_TOKEN_FILE: {0}")]
    Token(String),
    /// There are no certificates in the file of `--ca-file`.
    #[error("--ca-file: expected certificates in PEM in {0}")]
    Authorities(String),
    /// Nobody listens there, most likely.
    #[error("cannot reach the daemon at {0}: {1}")]
    Unreachable(String, #[source] io::Error),
    /// Something listens, and has not answered in time.
    #[error("no answer from {0}")]
    Silent(String),
    /// Something listens that does not answer as the daemon does.
    #[error("{0} does not answer as broadcaster does: {1}")]
    Garbage(String, #[source] Box<dyn Error + Send + Sync>),
    /// The daemon wants a token, or another one.
    #[error("refused: {0}")]
    Refused(String),
    /// The daemon says why not.
    #[error("{0}")]
    Problem(String),
    /// The answer would be larger than what it has to come by takes.
    #[error("{0}")]
    TooLarge(String),
    /// `--url` and `--nats` are both given.
    #[error("--nats asks the fleet, and --url one daemon: give one of them")]
    Both,
    /// `--nats` is given for what one process alone can tell.
    #[error("{0} is about one process: name it by --url")]
    OneOnly(&'static str),
    /// What is to be known of NATS is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// There was no connection to NATS in time; the text is the last reason.
    #[error("cannot connect to NATS: {0}")]
    Nats(String),
    /// NATS has lost the question, or says so.
    #[error("NATS does not take the question: {0}")]
    Lost(#[from] PublishError),
    /// NATS refuses what asking needs.
    #[error("NATS refuses it: this user needs to {0} (docs/service.md)")]
    Forbidden(String),
    /// NATS is there, and no daemon answers.
    #[error(
        "no daemon answers as the service {0:?}: see that service.access is set there, that service.name is the same, and \
         that this user has the account of theirs"
    )]
    Nobody(String),
    /// No replica is called so, or several are.
    #[error("{wanted:?} is not one of the replicas: {known}")]
    Replica {
        /// What was asked for.
        wanted: String,
        /// The names and ids of the replicas that have answered.
        known: String,
    },
    /// The replica is not allowed to do it by its configuration.
    #[error("it does not take {0:?} from clients of NATS: service.access")]
    NotTaken(&'static str),
    /// Some replicas have not done it; why was said of each.
    #[error("{failed} of {asked} replicas have not done it")]
    InPart {
        /// How many have not.
        failed: usize,
        /// How many were asked.
        asked: usize,
        /// The status of the process.
        status: u8,
    },
    /// Nobody reads the output any more, or the system refuses a runtime.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl DaemonError {
    /// The status of the process.
    pub fn exit_status(&self) -> u8 {
        match self {
            // EX_UNAVAILABLE and EX_NOPERM of sysexits.h.
            Self::Unreachable(..) | Self::Silent(_) | Self::Nats(_) | Self::Lost(_) | Self::Nobody(_) => 69,
            Self::Refused(_) | Self::Forbidden(_) | Self::NotTaken(_) => 77,
            // EX_CONFIG.
            Self::Config(_) => 78,
            Self::Url | Self::Both | Self::OneOnly(_) | Self::Replica { .. } => 2,
            Self::InPart { status, .. } => *status,
            // Whoever read the output has seen enough.
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => 1,
        }
    }
}

/// What the API says of what it does not do (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    mistakes: Vec<String>,
}

/// Whom a command asks.
pub(super) enum Daemons {
    /// The one that `--url` names, or the one of this machine.
    One(Daemon),
    /// All replicas that clients of NATS find.
    Fleet(Box<Fleet>),
}

/// What somebody has answered.
pub(super) struct Told<T = Value> {
    /// The replica; none where one daemon was asked by its address.
    pub(super) replica: Option<Replica>,
    /// Its answer, or why there is none.
    pub(super) answer: Result<T, DaemonError>,
}

impl Daemons {
    /// Those that `options` name, or else `sources`, which need not be a good configuration.
    ///
    /// # Errors
    /// There is nobody who could be asked.
    pub(super) async fn reach(options: &DaemonOptions, sources: Sources) -> Result<Self, DaemonError> {
        match &options.nats {
            None => Daemon::new(options, sources).map(Self::One),
            Some(_) if options.url.is_some() => Err(DaemonError::Both),
            Some(_) => {
                let fleet = Fleet::join(options.replica.clone(), options.at_servers(sources)).await?;
                Ok(Self::Fleet(Box::new(fleet)))
            }
        }
    }

    /// Asks for `act`; there is one answer at least.
    ///
    /// # Errors
    /// Nobody can be asked. What is wrong with one of several is its answer.
    pub(super) async fn ask(&mut self, act: Act, question: &Question) -> Result<Vec<Told>, DaemonError> {
        match self {
            Self::One(daemon) => {
                Ok(vec![Told { replica: None, answer: Ok(daemon.ask(act, question.clone()).await?) }])
            }
            Self::Fleet(fleet) => fleet.ask(act, question).await,
        }
    }

    /// All routes that each of them has.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub(super) async fn routes(&mut self) -> Result<Vec<Told<Vec<Route>>>, DaemonError> {
        match self {
            Self::One(daemon) => {
                let routes = pages(async |question| daemon.ask(Act::Status, question).await).await?;
                Ok(vec![Told { replica: None, answer: Ok(routes) }])
            }
            Self::Fleet(fleet) => {
                let mut all = Vec::new();
                for replica in fleet.find(Act::Status).await? {
                    let answer =
                        pages(async |question| fleet.ask_one(&replica, Act::Status, question).await).await;
                    all.push(Told { replica: Some(replica), answer });
                }
                Ok(all)
            }
        }
    }
}

/// All routes that are told page by page to whoever asks by `ask`.
async fn pages(
    mut ask: impl AsyncFnMut(Question) -> Result<Value, DaemonError>,
) -> Result<Vec<Route>, DaemonError> {
    let (mut routes, mut after) = (Vec::new(), String::new());
    loop {
        let page = ask(question([("limit", PAGE.into()), ("after", after.into())])).await?;
        let page: Status = serde_json::from_value(page)
            .map_err(|error| DaemonError::Garbage("the daemon".to_owned(), error.into()))?;
        routes.extend(page.routes);
        match page.next {
            Some(next) => after = next,
            None => return Ok(routes),
        }
    }
}

/// A question that says this.
pub(super) fn question<const N: usize>(members: [(&str, Value); N]) -> Question {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What the daemon says of what it does not do, in words.
fn refused(status: StatusCode, body: &[u8], authority: &str) -> DaemonError {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let mut words = match (problem.detail.as_str(), problem.title.as_str()) {
        ("", "") => format!("{authority} answers {status}"),
        ("", title) => title.to_owned(),
        (detail, _) => detail.to_owned(),
    };
    problem.mistakes.iter().for_each(|mistake| words.push_str(&format!("\n  {mistake}")));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => DaemonError::Refused(words),
        StatusCode::PAYLOAD_TOO_LARGE => DaemonError::TooLarge(words),
        _ => DaemonError::Problem(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let told = |status: u16, body: &str| {
            let error = refused(StatusCode::from_u16(status).unwrap(), body.as_bytes(), "a:1");
            (error.exit_status(), error.to_string())
        };
        let detail = r#"{"title":"t","detail":"no route has this name"}"#;
        assert_eq!(told(404, detail), (1, "no route has this name".to_owned()));
        assert_eq!(told(401, r#"{"title":"t"}"#), (77, "refused: t".to_owned()));
        assert_eq!(told(502, "<html>"), (1, "a:1 answers 502 Bad Gateway".to_owned()));
        let mistakes = r#"{"detail":"wrong","mistakes":["a: b"]}"#;
        assert_eq!(told(422, mistakes), (1, "wrong\n  a: b".to_owned()));
    }
}
