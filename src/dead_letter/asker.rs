//! Asking JetStream about a stream of letters: once, or again for a while where nobody answers.

use std::{rc::Rc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::StoreError;
use crate::nats::jetstream::{Asked, JetStream};

/// For how long what is not answered is asked again, by whoever has begun something: a server may be started anew meanwhile.
const PERSISTENCE: Duration = Duration::from_secs(60);
/// How soon.
const AGAIN: Duration = Duration::from_millis(200);
/// `JSClusterNotAvailErr`: JetStream is there and does not work yet.
const NOT_AVAILABLE: u64 = 10_008;

#[derive(Clone)]
pub(super) struct Asker {
    jetstream: Rc<dyn JetStream>,
    patience: Duration,
    persistence: Duration,
}

impl Asker {
    /// Asks `jetstream`, once, and waits so long for each answer.
    pub(super) fn new(jetstream: Rc<dyn JetStream>, patience: Duration) -> Self {
        Self { jetstream, patience, persistence: Duration::ZERO }
    }

    /// The same, which asks again. To be had only for what may be asked for twice, as all that is asked for here.
    pub(super) fn persistent(self) -> Self {
        Self { persistence: PERSISTENCE, ..self }
    }

    /// Asks `request`, such as `STREAM.NAMES`, which is for `doing`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        request: &str,
        question: &Value,
    ) -> Result<Asked<T>, StoreError> {
        let (question, until) = (question.to_string(), Instant::now() + self.persistence);
        loop {
            let heard = self.jetstream.ask(request, question.as_bytes(), self.patience).await;
            let asked = heard.and_then(|heard| heard.read());
            let is_unheard = match &asked {
                Ok(Asked::NoJetStream) | Err(_) => true,
                Ok(Asked::Refused(refusal)) => refusal.err_code == NOT_AVAILABLE,
                Ok(Asked::Answer(_) | Asked::Forbidden) => false,
            };
            if !is_unheard || Instant::now() >= until {
                return asked
                    .map_err(|unanswered| StoreError::Unanswered { doing, cause: unanswered.to_string() });
            }
            sleep(AGAIN).await;
        }
    }
}
