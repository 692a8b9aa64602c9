//! Asks JetStream over a connection of our own: what the daemon has to know for its letters and its endpoints.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;
use tokio::time::sleep;

use super::{ConnectionState, Replies};

/// How long JetStream may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request was not answered, or by nothing that makes sense. It may be answered the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// Nothing came in time.
    #[error("JetStream does not answer")]
    Silence,
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
        if answer.status() == Some(NO_RESPONDERS) {
            return Ok(Asked::NoJetStream);
        }
        let payload = answer.payload();
        match read::<Envelope>(&payload)?.error {
            Some(refusal) if NOT_ENABLED.contains(&refusal.err_code) => Ok(Asked::NoJetStream),
            Some(refusal) => Ok(Asked::Refused(refusal)),
            None => read(&payload).map(Asked::Answer),
        }
    }
}

/// Returns when the server has said once more that we may not publish to `subject`. It says so in an error of the
/// connection and not in an answer.
async fn refused(state: &ConnectionState, subject: &str, before: u64) {
    // A look every 20 ms is enough: this runs at most for as long as one request, when the mode is found out.
    while state.refused_publications(subject) <= before {
        sleep(Duration::from_millis(20)).await;
    }
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unanswered> {
    serde_json::from_slice(payload).map_err(|_| Unanswered::Senseless)
}
