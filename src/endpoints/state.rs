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

/// The value of a `state.NAME`. Nothing of it is the same as no value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    #[test]
    fn a_state_is_read_as_operators_write_it() {
        let held = r#"{"held":{"by":"ada","since":"2026-11-28T12:04:00Z"}}"#;
        let state: FleetState = serde_json::from_str(held).unwrap();
        assert!(state.held.is_some() && state.gone.is_none());
        assert_eq!(serde_json::from_str::<FleetState>("{}").unwrap(), FleetState::default());
        let url: WebhookUrl = "https://h/s3cret".parse().unwrap();
        let (by, webhook) = ("a".to_owned(), Fingerprint::of(&url));
        let gone = FleetState { gone: Some(Gone { since: SystemTime::UNIX_EPOCH, by, webhook }), held: None };
        let text = serde_json::to_string(&gone).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(serde_json::from_str::<FleetState>(&text).unwrap(), gone);
        assert_ne!(Fingerprint::of(&url), Fingerprint::of(&"https://h/other".parse().unwrap()));
    }
}
