//! What the fleet knows of a route beside its settings: the value of `state.NAME`.

use std::time::SystemTime;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::{
    base::clock::timestamp,
    config::WebhookUrl,
    route::hold::{Hold, rfc3339},
};

/// No name or reason is shown longer than this, in characters.
const LONGEST: usize = 500;

/// The value of a `state.NAME`. Nothing of it is the same as no value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
// Who writes "pause" for "held" means to hold the route, and is not to find out by its messages that nothing is.
#[serde(deny_unknown_fields)]
pub(super) struct FleetState {
    /// The hold of an operator, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<Hold>,
    /// What a replica has heard of the webhook, where that is its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<Gone>,
}

/// A webhook has said that it is gone for good (410).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gone {
    /// When, in RFC 3339.
    #[serde(with = "rfc3339")]
    pub(super) since: SystemTime,
    /// Which replica has heard it.
    pub(super) by: String,
    /// Which webhook: with another one the route is a new one.
    pub(super) webhook: Fingerprint,
}

/// Tells the address of a webhook from others, and does not tell the secret that may be in it: it is too short to find that
/// by trying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint(String);

impl FleetState {
    /// Reads a value. Anything may stand in it; what is shown of that, in a log and on pages, is on one line and not long.
    ///
    /// # Errors
    /// What is wrong with it, in words for operators.
    pub(super) fn read(value: &[u8]) -> Result<Self, String> {
        let read = serde_json::from_slice(value).map_err(|error| line(&error.to_string()));
        let Self { held, gone } = read?;
        let held = held.map(|held| Hold { by: line(&held.by), why: held.why.as_deref().map(line), ..held });
        let gone = gone.map(|gone| Gone { by: line(&gone.by), ..gone });
        Ok(Self { held, gone })
    }
}

fn line(text: &str) -> String {
    text.chars().take(LONGEST).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

impl Fingerprint {
    pub(super) fn of(url: &WebhookUrl) -> Self {
        let scheme = if url.server_name().is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}:{}{}", url.host(), url.port(), url.path_and_query());
        Self(HEXLOWER.encode(&digest(&SHA256, address.as_bytes()).as_ref()[..4]))
    }
}

impl Gone {
    /// In words for operators.
    pub(super) fn told(&self) -> String {
        format!("as replica {} has heard at {}", self.by, timestamp(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::hold::HoldAct;

    #[test]
    fn a_state_is_read_as_operators_write_it() {
        let held = r#"{"held":{"by":"ada","since":"2026-11-28T12:04:00Z"}}"#;
        let state = FleetState::read(held.as_bytes()).unwrap();
        assert!(state.held.is_some() && state.gone.is_none());
        assert_eq!(FleetState::read(b"{}").unwrap(), FleetState::default());
        for (wrong, told) in [
            (r#"{"paused":{"by":"ada"}}"#, "unknown field `paused`, expected `held` or `gone`"),
            (r#"{"held":{"by":"ada"}}"#, "missing field `since`"),
            (r#"{"held":null,"held":null}"#, "duplicate field `held`"),
        ] {
            assert!(FleetState::read(wrong.as_bytes()).unwrap_err().contains(told), "{wrong}");
        }
        let url: WebhookUrl = "https://h/s3cret".parse().unwrap();
        let (by, webhook) = ("a".to_owned(), Fingerprint::of(&url));
        let gone = FleetState { gone: Some(Gone { since: SystemTime::UNIX_EPOCH, by, webhook }), held: None };
        let text = serde_json::to_string(&gone).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(serde_json::from_str::<FleetState>(&text).unwrap(), gone);
        assert_ne!(Fingerprint::of(&url), Fingerprint::of(&"https://h/other".parse().unwrap()));
    }

    #[test]
    fn what_is_shown_of_a_state_is_on_one_line_and_not_long() {
        let by = "ada\n2026-11-28 ERROR \u{1b}[31m".to_owned();
        let since = SystemTime::UNIX_EPOCH;
        let held = Hold { act: HoldAct::Drain, why: Some("x".repeat(900_000)), by: by.clone(), since };
        let gone = Gone { since, by, webhook: Fingerprint(String::new()) };
        let value = serde_json::to_vec(&FleetState { held: Some(held), gone: Some(gone) }).unwrap();
        let FleetState { held, gone } = FleetState::read(&value).unwrap();
        let told = [held.unwrap().to_string(), gone.unwrap().told()];
        assert!(told.iter().all(|told| told.len() < 1_000 && !told.contains(char::is_control)), "{told:?}");
    }
}
