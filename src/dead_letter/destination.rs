//! Finds out how the dead letters of a route have to be published: to a stream that confirms each, or as plain
//! messages. It asks JetStream and may create a stream; it never changes one.

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

/// How long JetStream may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the dead letters of a route go, as the operator wants it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The route.
    pub route: RouteName,
    /// Its settings.
    pub to: DeadLetter,
}

/// How letters are published, as JetStream is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To this stream, which confirms each.
    Stream(Box<str>),
    /// As plain messages, for whoever listens: nobody keeps them.
    Core,
}

/// Why letters can't be published at present, by whatever mode. It may be over the next time.
#[derive(Debug, Error)]
pub(super) enum Unavailable {
    #[error("JetStream does not answer")]
    Silence,
    #[error("JetStream is not available: {0}")]
    Refused(String),
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

/// `JSNotEnabledForAccountErr`, `JSNotEnabledErr`. Others with the same status are about a cluster that looks for a
/// leader.
const NOT_ENABLED: [u64; 2] = [10039, 10076];
/// `JSStreamMessageExceedsMaximumErr`.
const EXCEEDS_MAXIMUM: u64 = 10054;

/// What JetStream says about who keeps a subject.
enum SubjectOwner {
    Stream(String),
    Nobody,
    /// JetStream is not enabled, so that there are no streams at all.
    NoJetStream,
    /// The user of this connection may not ask.
    Forbidden,
}

/// Asks JetStream in which mode to publish to `destination`, and creates the stream where the operator wants that.
/// `before` is the mode that was found the last time.
pub(super) async fn find(
    destination: &Destination,
    before: Option<&Mode>,
    replies: &mut Replies,
    state: &ConnectionState,
) -> Result<Mode, Unavailable> {
    let owner = owner(destination, replies, state).await?;
    match (owner, &destination.to.stream) {
        (SubjectOwner::Stream(found), Some(wanted)) if found != wanted.as_str() => {
            Err(Unavailable::Elsewhere { found, wanted: wanted.clone() })
        }
        (SubjectOwner::Stream(found), _) => Ok(Mode::Stream(found.into())),
        (SubjectOwner::Nobody, Some(wanted)) if destination.to.create => {
            create(wanted, destination, replies).await
        }
        (SubjectOwner::Nobody, Some(wanted)) => Err(Unavailable::Missing(wanted.clone())),
        // The operator names a stream, and its acknowledgements will show whether it is there.
        (SubjectOwner::Forbidden, Some(wanted)) => Ok(Mode::Stream(wanted.as_str().into())),
        (SubjectOwner::NoJetStream, None) if matches!(before, Some(Mode::Stream(_))) => {
            // Letters that a stream has kept so far must not become plain messages only because the connection has
            // moved to a server without JetStream.
            Err(Unavailable::Refused("it is gone from this server".to_owned()))
        }
        (SubjectOwner::NoJetStream, Some(_)) => {
            Err(Unavailable::Refused("it is not enabled on this server, or for this account".to_owned()))
        }
        (SubjectOwner::Nobody | SubjectOwner::NoJetStream | SubjectOwner::Forbidden, None) => Ok(Mode::Core),
    }
}

async fn owner(
    destination: &Destination,
    replies: &mut Replies,
    state: &ConnectionState,
) -> Result<SubjectOwner, Unavailable> {
    const NAMES: &str = "$JS.API.STREAM.NAMES";
    let question = json!({ "subject": destination.to.subject.as_str() }).to_string();
    let answer = tokio::select! {
        // The refusal first: a request that was refused gets no answer, and would be taken for silence.
        biased;
        () = refused(state, NAMES) => return Ok(SubjectOwner::Forbidden),
        answer = replies.ask(NAMES.to_owned(), question.into(), PATIENCE) => answer.ok_or(Unavailable::Silence)?,
    };
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Ok(SubjectOwner::NoJetStream);
    }
    match read(&answer.payload)? {
        ApiResponse { error: Some(refusal), .. } if NOT_ENABLED.contains(&refusal.err_code) => {
            Ok(SubjectOwner::NoJetStream)
        }
        ApiResponse { error: Some(refusal), .. } => Err(Unavailable::Refused(refusal.description)),
        ApiResponse { streams, .. } => {
            let found = streams.unwrap_or_default().into_iter().next();
            Ok(found.map_or(SubjectOwner::Nobody, SubjectOwner::Stream))
        }
    }
}

/// Returns when the server has said that we may not publish to `subject`. It says so in an error of the connection and
/// not in an answer.
async fn refused(state: &ConnectionState, subject: &str) {
    // A look every 20 ms is enough: this runs at most for as long as one request, when the mode is found out.
    while !state.refused_publication(subject) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Creates the stream. One of that name that is there already with other settings is never changed: then the server
/// refuses, and the operator has to decide.
async fn create(
    name: &StreamName,
    destination: &Destination,
    replies: &mut Replies,
) -> Result<Mode, Unavailable> {
    let api = format!("$JS.API.STREAM.CREATE.{name}");
    let config = json!({
        "name": name.as_str(),
        "subjects": [destination.to.subject.as_str()],
        "storage": "file",
        "retention": "limits",
        "description": "dead letters of broadcaster",
    });
    let answer = replies.ask(api, config.to_string().into(), PATIENCE).await.ok_or(Unavailable::Silence)?;
    match read(&answer.payload)?.error {
        None => Ok(Mode::Stream(name.as_str().into())),
        Some(refusal) => Err(Unavailable::NotCreated(name.clone(), refusal.description)),
    }
}

fn read(payload: &[u8]) -> Result<ApiResponse, Unavailable> {
    serde_json::from_slice(payload).map_err(|_| Unavailable::Refused("its answer makes no sense".to_owned()))
}

/// What a stream says about a letter that was published to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PubAck {
    /// It has it.
    Stored,
    /// The letter is larger than the stream takes, so that trying again is of no use.
    TooLarge,
    /// It does not have it at present, for this reason.
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
            // An acknowledgement of another stream does not count: the operator would look for the letter in the wrong
            // one.
            Ok(Raw { stream: found, .. }) if found == stream => Self::Stored,
            Ok(Raw { stream: found, .. }) => {
                Self::Refused(format!("the stream {found} has it, not {stream}"))
            }
            Err(_) => Self::Refused("its answer makes no sense".to_owned()),
        }
    }
}
