//! How the dead letters of a route get to where they are kept: through a stream, or not.

use std::time::Duration;

use async_nats::StatusCode;
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tokio::time::sleep;

use crate::{
    config::{DeadLetter, RouteName, StreamName},
    nats::{ConnectionState, Replies},
};

/// How long JetStream may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the dead letters of a route go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The route.
    pub route: RouteName,
    /// Its settings.
    pub to: DeadLetter,
}

/// How letters are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To this stream, which confirms each.
    Stream(Box<str>),
    /// As plain messages, for whoever listens.
    Core,
}

/// Why there is no way at present.
#[derive(Debug, Error)]
pub(super) enum NoWay {
    #[error("JetStream does not answer")]
    Silence,
    #[error("JetStream is not available: {0}")]
    Unavailable(String),
    #[error("the stream {0} is missing, or does not keep the subject")]
    Missing(StreamName),
    #[error("the stream {found} keeps the subject, not {wanted}")]
    Elsewhere { found: String, wanted: StreamName },
    #[error("the stream {0} can't be created: {1}")]
    NotCreated(StreamName, String),
}

/// What JetStream answers, as far as it matters here.
#[derive(Deserialize)]
struct ApiResponse {
    #[serde(default)]
    streams: Option<Vec<String>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    description: String,
}

/// `JSNotEnabledForAccountErr`, `JSNotEnabledErr`. Others with the same status are about a cluster that looks for a leader.
const NOT_ENABLED: [u64; 2] = [10039, 10076];
/// `JSStreamMessageExceedsMaximumErr`.
const EXCEEDS_MAXIMUM: u64 = 10054;

/// What is known of the stream that keeps a subject.
enum Keeper {
    Stream(String),
    Nobody,
    /// There are no streams here at all.
    NoJetStream,
    /// We may not ask.
    Forbidden,
}

/// Asks JetStream about the way to `place`, and makes the stream where that is wanted. `before` is the way that was taken
/// before.
pub(super) async fn find(
    destination: &Destination,
    before: Option<&Mode>,
    replies: &mut Replies,
    state: &ConnectionState,
) -> Result<Mode, NoWay> {
    let keeper = keeper(destination, replies, state).await?;
    match (keeper, &destination.to.stream) {
        (Keeper::Stream(found), Some(wanted)) if found != wanted.as_str() => {
            Err(NoWay::Elsewhere { found, wanted: wanted.clone() })
        }
        (Keeper::Stream(found), _) => Ok(Mode::Stream(found.into())),
        (Keeper::Nobody, Some(wanted)) if destination.to.create => create(wanted, destination, replies).await,
        (Keeper::Nobody, Some(wanted)) => Err(NoWay::Missing(wanted.clone())),
        // The acknowledgements will show whether it is there.
        (Keeper::Forbidden, Some(wanted)) => Ok(Mode::Stream(wanted.as_str().into())),
        (Keeper::NoJetStream, None) if matches!(before, Some(Mode::Stream(_))) => {
            Err(NoWay::Unavailable("it is gone from this server".to_owned()))
        }
        (Keeper::NoJetStream, Some(_)) => {
            Err(NoWay::Unavailable("it is not enabled on this server, or for this account".to_owned()))
        }
        (Keeper::Nobody | Keeper::NoJetStream | Keeper::Forbidden, None) => Ok(Mode::Core),
    }
}

async fn keeper(
    destination: &Destination,
    replies: &mut Replies,
    state: &ConnectionState,
) -> Result<Keeper, NoWay> {
    const NAMES: &str = "$JS.API.STREAM.NAMES";
    let question = json!({ "subject": destination.to.subject.as_str() }).to_string();
    let answer = tokio::select! {
        biased;
        () = refused(state, NAMES) => return Ok(Keeper::Forbidden),
        answer = replies.ask(NAMES.to_owned(), question.into(), PATIENCE) => answer.ok_or(NoWay::Silence)?,
    };
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Ok(Keeper::NoJetStream);
    }
    match read(&answer.payload)? {
        ApiResponse { error: Some(refusal), .. } if NOT_ENABLED.contains(&refusal.err_code) => {
            Ok(Keeper::NoJetStream)
        }
        ApiResponse { error: Some(refusal), .. } => Err(NoWay::Unavailable(refusal.description)),
        ApiResponse { streams, .. } => {
            let found = streams.unwrap_or_default().into_iter().next();
            Ok(found.map_or(Keeper::Nobody, Keeper::Stream))
        }
    }
}

/// Returns when the server has said that we may not publish to `subject`. It says so beside the answers.
async fn refused(state: &ConnectionState, subject: &str) {
    while !state.refused_publication(subject) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Makes the stream. One of that name that is there already is never changed: then the server refuses.
async fn create(name: &StreamName, destination: &Destination, replies: &mut Replies) -> Result<Mode, NoWay> {
    let api = format!("$JS.API.STREAM.CREATE.{name}");
    let config = json!({
        "name": name.as_str(),
        "subjects": [destination.to.subject.as_str()],
        "storage": "file",
        "retention": "limits",
        "description": "dead letters of broadcaster",
    });
    let answer = replies.ask(api, config.to_string().into(), PATIENCE).await.ok_or(NoWay::Silence)?;
    match read(&answer.payload)?.error {
        None => Ok(Mode::Stream(name.as_str().into())),
        Some(refusal) => Err(NoWay::NotCreated(name.clone(), refusal.description)),
    }
}

fn read(payload: &[u8]) -> Result<ApiResponse, NoWay> {
    serde_json::from_slice(payload).map_err(|_| NoWay::Unavailable("its answer makes no sense".to_owned()))
}

/// What a stream says about a letter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PubAck {
    /// It has it.
    Stored,
    /// It is larger than the stream takes.
    TooLarge,
    /// It does not have it, for this reason.
    Refused(String),
}

impl PubAck {
    /// Reads what came back for a letter that was published to `stream`.
    pub(super) fn read(answer: &async_nats::Message, stream: &str) -> Self {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            stream: String,
            error: Option<Refusal>,
        }

        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Self::Refused("no stream keeps the subject".to_owned());
        }
        match serde_json::from_slice(&answer.payload) {
            Ok(Raw { error: Some(Refusal { err_code: EXCEEDS_MAXIMUM, .. }), .. }) => Self::TooLarge,
            Ok(Raw { error: Some(refused), .. }) => Self::Refused(refused.description),
            Ok(Raw { stream: found, .. }) if found == stream => Self::Stored,
            Ok(Raw { stream: found, .. }) => {
                Self::Refused(format!("the stream {found} has it, not {stream}"))
            }
            Err(_) => Self::Refused("its answer makes no sense".to_owned()),
        }
    }
}
