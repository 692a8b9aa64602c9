//! The stream that keeps the history: sees that it is there, and tells whether what is published is kept.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::{sync::Notify, time::sleep};
use tracing::{info, warn};

use crate::{
    config::{HistoryStream, PublishSubject, StreamName, Subject},
    nats::{
        Connection, Replies,
        jetstream::{Api, Asked, Unanswered},
    },
};

/// How long it is to the next look at a stream that something is wrong with.
const AGAIN: Duration = Duration::from_secs(10);
/// `JSStreamNotFoundErr`.
const STREAM_NOT_FOUND: u64 = 10_059;

/// Whether what is published is kept, for whoever looks.
#[derive(Debug, Default)]
pub struct Keeping {
    trouble: Mutex<Option<Trouble>>,
    /// Told of each trouble.
    troubles: Notify,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    /// Whether it was found by a look at the stream, which tells more than that something was not kept. Then it is over as soon
    /// as a look finds nothing.
    is_seen: bool,
}

/// Why nothing is kept.
#[derive(Debug, Error)]
pub(super) enum Unkept {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("JetStream is not enabled on this server, or for this account")]
    NoJetStream,
    #[error("there is no stream {0}: make it, or set history.create")]
    Missing(StreamName),
    #[error("the stream {0} does not keep the subject {1}")]
    Elsewhere(StreamName, PublishSubject),
    #[error("the stream {0} confirms nothing (no_ack, or sealed)")]
    Unfit(StreamName),
    #[error("the stream {0} can't be made: {1}")]
    NotCreated(StreamName, String),
    #[error("the stream {0} can't be looked at: {1}")]
    Refused(StreamName, String),
}

impl Keeping {
    /// Why nothing is kept at present, in words for operators; none where it is.
    pub fn trouble(&self) -> Option<String> {
        self.lock().as_ref().map(|trouble| trouble.why.clone())
    }

    /// Takes note that something was not kept. Said once.
    pub(super) fn troubled(&self, why: &str) {
        let is_known = |trouble: &Trouble| trouble.is_seen || trouble.why == why;
        self.note(is_known, Trouble { why: why.to_owned(), is_seen: false });
    }

    /// Takes note of what a look at the stream has found, which keeps it from keeping anything. Said once.
    fn unfit(&self, why: &str) {
        let is_known = |trouble: &Trouble| trouble.is_seen && trouble.why == why;
        self.note(is_known, Trouble { why: why.to_owned(), is_seen: true });
    }

    fn note(&self, is_known: impl FnOnce(&Trouble) -> bool, trouble: Trouble) {
        let mut known = self.lock();
        if !known.as_ref().is_some_and(is_known) {
            warn!(error = trouble.why, "the history is not kept");
            *known = Some(trouble);
        }
        drop(known);
        self.troubles.notify_one();
    }

    /// Takes note that something is kept.
    pub(super) fn kept(&self, stream: &StreamName) {
        self.is_over(stream, |_| true);
    }

    /// Takes note that a look at the stream has found nothing wrong. What it refuses to keep all the same, it may refuse still.
    fn fit(&self, stream: &StreamName) {
        self.is_over(stream, |trouble| trouble.is_seen);
    }

    fn is_over(&self, stream: &StreamName, ends: impl FnOnce(&Trouble) -> bool) {
        if self.lock().take_if(|trouble| ends(trouble)).is_some() {
            info!(stream = stream.as_str(), "the history is kept again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees that the stream of `keeper` is there and has `subject`, and looks again when something turns out to be wrong with
/// it, for as long as it is polled.
pub(super) async fn see_to(
    keeper: HistoryStream,
    subject: PublishSubject,
    connection: Connection,
    keeping: Arc<Keeping>,
) {
    loop {
        connection.state().connected().await;
        let mut replies = Replies::over(&connection);
        let mut api = Api { replies: &mut replies, state: connection.state() };
        match find(&keeper, &subject, &mut api).await {
            Ok(()) => keeping.fit(&keeper.name),
            Err(unkept) => keeping.unfit(&unkept.to_string()),
        }
        keeping.troubles.notified().await;
        sleep(AGAIN).await;
    }
}

/// The settings of a stream, as far as they matter here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    subjects: Vec<String>,
    no_ack: bool,
    sealed: bool,
}

/// Whether the stream of `keeper` keeps `subject`; it is made where it is missing and may be.
async fn find(keeper: &HistoryStream, subject: &PublishSubject, api: &mut Api<'_>) -> Result<(), Unkept> {
    #[derive(Deserialize)]
    struct Info {
        config: Settings,
    }

    let name = &keeper.name;
    match api.ask(&format!("STREAM.INFO.{name}"), &json!({})).await? {
        Asked::Answer(Info { config }) => config.keeps(name, subject),
        // What it confirms will show whether it is there.
        Asked::Forbidden => Ok(()),
        Asked::NoJetStream => Err(Unkept::NoJetStream),
        Asked::Refused(refusal) if refusal.err_code == STREAM_NOT_FOUND && keeper.create => {
            create(keeper, subject, api).await
        }
        Asked::Refused(refusal) if refusal.err_code == STREAM_NOT_FOUND => Err(Unkept::Missing(name.clone())),
        Asked::Refused(refusal) => Err(Unkept::Refused(name.clone(), refusal.description)),
    }
}

impl Settings {
    fn keeps(&self, name: &StreamName, subject: &PublishSubject) -> Result<(), Unkept> {
        let has = |pattern: &String| pattern.parse::<Subject>().is_ok_and(|pattern| pattern.matches(subject));
        if self.no_ack || self.sealed {
            return Err(Unkept::Unfit(name.clone()));
        }
        if self.subjects.iter().any(has) {
            return Ok(());
        }
        Err(Unkept::Elsewhere(name.clone(), subject.clone()))
    }
}

async fn create(keeper: &HistoryStream, subject: &PublishSubject, api: &mut Api<'_>) -> Result<(), Unkept> {
    let HistoryStream { name, max_age, max_bytes, .. } = keeper;
    let config = json!({
        "name": name.as_str(),
        "description": "history of broadcaster",
        "subjects": [subject.as_str()],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_age": u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX),
        "max_bytes": max_bytes,
    });
    let refused = |why: String| Err(Unkept::NotCreated(name.clone(), why));
    match api.ask::<Value>(&format!("STREAM.CREATE.{name}"), &config).await? {
        Asked::Answer(_) => {
            info!(stream = name.as_str(), "the stream of the history is made");
            Ok(())
        }
        Asked::Refused(refusal) => refused(refusal.description),
        Asked::NoJetStream => Err(Unkept::NoJetStream),
        Asked::Forbidden => refused(format!("the user may not publish to $JS.API.STREAM.CREATE.{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_what_its_subjects_stand_for() {
        let keeps = |settings: Value| {
            let settings: Settings = serde_json::from_value(settings).expect("settings");
            let kept =
                settings.keeps(&"H".parse().expect("a name"), &"a.history".parse().expect("a subject"));
            kept.map_err(|unkept| unkept.to_string())
        };
        for subjects in [json!(["a.history"]), json!(["x", "a.*"]), json!(["a.>"]), json!([">"])] {
            assert_eq!(keeps(json!({ "subjects": subjects })), Ok(()));
        }
        let elsewhere = Err("the stream H does not keep the subject a.history".to_owned());
        assert_eq!(keeps(json!({ "subjects": ["a", "a.history.>", "\u{0}"] })), elsewhere);
        let unfit = Err("the stream H confirms nothing (no_ack, or sealed)".to_owned());
        assert_eq!(keeps(json!({ "subjects": ["a.history"], "no_ack": true })), unfit);
    }

    #[test]
    fn trouble_is_known_until_something_is_kept() {
        let (keeping, stream) = (Keeping::default(), "H".parse().expect("a name"));
        let is = |why: Option<&str>| assert_eq!(keeping.trouble().as_deref(), why);
        keeping.troubled("no room");
        // That it is there does not mean that there is room.
        keeping.fit(&stream);
        is(Some("no room"));
        keeping.kept(&stream);
        is(None);
        // Two sides of the same are no news of each other, by turns.
        keeping.troubled("nobody keeps it");
        keeping.unfit("no stream");
        keeping.troubled("nobody keeps it");
        is(Some("no stream"));
        keeping.fit(&stream);
        is(None);
    }
}
