//! Asks JetStream, as far as the daemon has to for its letters.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::sleep;

use super::destination::Unavailable;
use crate::nats::{ConnectionState, Replies};

/// How long JetStream may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a request.
pub(super) enum Asked<T> {
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
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

/// An answer or an error.
#[derive(Deserialize)]
struct Envelope {
    error: Option<Refusal>,
}

/// The status by which the server says that nobody listens.
pub(super) const NO_RESPONDERS: u16 = 503;
/// `JSNotEnabledForAccountErr`, `JSNotEnabledErr`. Others with the same status are about a cluster that looks for a
/// leader.
const NOT_ENABLED: [u64; 2] = [10039, 10076];

/// Requests over one connection, one after the other.
pub(super) struct Api<'a> {
    pub(super) replies: &'a mut Replies,
    pub(super) state: &'a ConnectionState,
}

impl Api<'_> {
    /// Asks `request`, such as `STREAM.NAMES`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        request: &str,
        question: &Value,
    ) -> Result<Asked<T>, Unavailable> {
        let subject = format!("$JS.API.{request}");
        let refusals = self.state.refused_publications(&subject);
        let question = question.to_string();
        let answer = tokio::select! {
            // The refusal first: a request that was refused gets no answer, and would be taken for silence.
            biased;
            () = refused(self.state, &subject, refusals) => return Ok(Asked::Forbidden),
            answer = self.replies.ask(&subject, question.as_bytes(), PATIENCE) => answer.ok_or(Unavailable::Silence)?,
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

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unavailable> {
    serde_json::from_slice(payload).map_err(|_| Unavailable::Refused("its answer makes no sense".to_owned()))
}
