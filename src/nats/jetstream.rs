//! Asks JetStream: what the daemon has to know for its letters and its endpoints, and what is in a stream of letters.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;
use tokio::time::sleep;

use super::{ConnectionState, Incoming, Replies};

/// How long JetStream may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request was not answered, or by nothing that makes sense. It may be answered the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// Nothing came in time.
    #[error("JetStream does not answer")]
    Silence,
    /// There is nobody to ask.
    #[error("there is no connection to NATS")]
    Disconnected,
    /// What came can't be read.
    #[error("JetStream is not available: its answer makes no sense")]
    Senseless,
}

/// What came of a request.
pub enum Asked<T> {
    /// It answers.
    Answer(T),
    /// JetStream says no, with a code and in words.
    Refused(Refusal),
    /// There is no JetStream on this server, or for this account.
    NoJetStream,
    /// The user of this connection may not ask.
    Forbidden,
}

/// An error of JetStream.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    /// Which one, as errors.json of nats-server has it.
    #[serde(default)]
    pub err_code: u64,
    /// In its own words.
    #[serde(default)]
    pub description: String,
}

/// An answer or an error.
#[derive(Deserialize)]
struct Envelope {
    error: Option<Refusal>,
}

/// The status by which the server says that nobody listens.
pub const NO_RESPONDERS: u16 = 503;
/// `JSNotEnabledForAccountErr`, `JSNotEnabledErr`. Others with the same status are about a cluster that looks for a
/// leader.
const NOT_ENABLED: [u64; 2] = [10039, 10076];

/// Whoever can ask JetStream many questions at the same time: the daemon by its own client, the commands by the library.
pub trait JetStream {
    /// Asks `request`, such as `STREAM.NAMES`, and waits so long for the answer.
    fn ask<'a>(&'a self, request: &'a str, question: &'a [u8], patience: Duration) -> Hearing<'a>;
}

/// A question on its way, until it is answered.
pub type Hearing<'a> = Pin<Box<dyn Future<Output = Result<Heard, Unanswered>> + 'a>>;

/// What is heard after a question.
pub enum Heard {
    /// An answer, as it came.
    Answer(Bytes),
    /// Nobody is there to answer.
    NoResponders,
    /// The user of this connection may not ask.
    Forbidden,
}

impl Heard {
    /// What it says.
    ///
    /// # Errors
    /// That makes no sense.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Asked<T>, Unanswered> {
        let payload = match self {
            Self::Answer(payload) => payload,
            Self::NoResponders => return Ok(Asked::NoJetStream),
            Self::Forbidden => return Ok(Asked::Forbidden),
        };
        match read::<Envelope>(payload)?.error {
            Some(refusal) if NOT_ENABLED.contains(&refusal.err_code) => Ok(Asked::NoJetStream),
            Some(refusal) => Ok(Asked::Refused(refusal)),
            None => read(payload).map(Asked::Answer),
        }
    }
}

/// Requests over one connection, one after the other.
pub struct Api<'a> {
    /// Where the answers come.
    pub replies: &'a mut Replies,
    /// What is known of the connection that they come over.
    pub state: &'a ConnectionState,
}

impl Api<'_> {
    /// Asks `request`, such as `STREAM.NAMES`.
    ///
    /// # Errors
    /// No answer came in time, or one that makes no sense.
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        request: &str,
        question: &Value,
    ) -> Result<Asked<T>, Unanswered> {
        let subject = format!("$JS.API.{request}");
        let refusals = self.state.refused_publications(&subject);
        let question = question.to_string();
        let answer = tokio::select! {
            // The refusal first: a request that was refused gets no answer, and would be taken for silence.
            biased;
            () = refused(self.state, &subject, refusals) => return Ok(Asked::Forbidden),
            answer = self.replies.ask(&subject, question.as_bytes(), PATIENCE) => answer.ok_or(Unanswered::Silence)?,
        };
        heard(&answer).read()
    }
}

/// What `answer` is, which came to the inbox of a question.
pub(super) fn heard(answer: &Incoming) -> Heard {
    if answer.status() == Some(NO_RESPONDERS) { Heard::NoResponders } else { Heard::Answer(answer.payload()) }
}

/// Returns when the server has said once more that we may not publish to `subject`. It says so in an error of the
/// connection and not in an answer.
pub(super) async fn refused(state: &ConnectionState, subject: &str, before: u64) {
    // A look every 20 ms is enough: this runs at most for as long as one request, when the mode is found out.
    while state.refused_publications(subject) <= before {
        sleep(Duration::from_millis(20)).await;
    }
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unanswered> {
    serde_json::from_slice(payload).map_err(|_| Unanswered::Senseless)
}
