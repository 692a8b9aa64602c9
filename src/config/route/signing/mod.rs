//! `[routes.NAME.webhook.signing]`: how a receiver can tell that a request is ours, and unchanged.

mod convention;
mod custom;
mod key;
mod pattern;
mod secret;

use std::{path::Path, time::SystemTime};

pub use self::{
    convention::{Algorithm, Convention, Encoding},
    key::SigningKey,
    pattern::{Part, Pattern},
    secret::{PUBLIC_PREFIX, SECRET_PREFIX, SYMMETRIC_PREFIX, SigningSecret},
};
use crate::config::{
    files,
    parse::{self, Choice},
    reader::{Reported, Section},
};

/// `[routes.NAME.webhook.signing]`: how requests are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// `scheme`: the convention by its name. Default `standard-webhooks`.
    pub scheme: Scheme,
    /// What the scheme means, or for `custom` what the other keys of the section say.
    pub convention: Convention,
    /// `keys.NAME`: what is signed with, sorted by name; never empty.
    pub keys: Vec<SigningKey>,
}

/// The conventions that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks 1.0 (<https://www.standardwebhooks.com>): HMAC-SHA256 or Ed25519.
    StandardWebhooks,
    /// As GitHub's webhooks.
    GitHub,
    /// As Stripe's.
    Stripe,
    /// As Shopify's.
    Shopify,
    /// As Slack's requests to applications.
    Slack,
    /// As the other keys of the section say.
    Custom,
}

impl Signing {
    /// The headers that only the signature may set, as they are written. A publisher's never goes beside them.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        [Some(&self.convention.header), self.convention.timestamp_header.as_ref()]
            .into_iter()
            .flatten()
            .map(|name| &**name)
    }

    /// The secret in the file at `path`, as the file is now.
    ///
    /// # Errors
    /// What is wrong with the file, in words without the secret.
    pub fn read_secret(&self, path: &Path) -> Result<SigningSecret, String> {
        let secret = files::secret_file(path)?;
        self.scheme.secret(&secret).map_err(|problem| format!("{problem} in {}", path.display()))
    }

    /// When the last key ends, so that nothing can be sent any more; none where one never does.
    pub fn until(&self) -> Option<SystemTime> {
        self.keys.iter().map(|key| key.until).max_by_key(|until| (until.is_none(), *until)).flatten()
    }
}

pub(super) fn read(at: &Section<'_>) -> Result<Signing, Reported> {
    let scheme = at.or("scheme", Scheme::StandardWebhooks, parse::choice);
    let custom = match scheme {
        Ok(Scheme::Custom) => custom::read(at).map(Some),
        _ => custom::refuse(at),
    };
    let convention = match (scheme, custom) {
        (Ok(scheme), Ok(custom)) => Ok(custom.unwrap_or_else(|| Convention::of(scheme))),
        (Err(reported), _) | (_, Err(reported)) => Err(reported),
    };
    let keys = at.section("keys", |keys| key::read_all(keys, scheme.ok(), SystemTime::now()));
    let keys = keys.and_then(|keys| key::compare(at, convention.as_ref().ok(), keys));
    Ok(Signing { scheme: scheme?, convention: convention?, keys: keys? })
}

impl Scheme {
    /// The names of all conventions that need no more than a name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(|(_, scheme)| *scheme != Self::Custom).map(|(name, _)| *name)
    }

    /// The convention of this name, where it needs no more than that.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().filter(|(_, scheme)| *scheme != Self::Custom);
        all.find(|(other, _)| *other == name).map(|(_, scheme)| *scheme)
    }

    /// The secret that is written as `text`.
    ///
    /// # Errors
    /// What would be right, in words without the secret.
    pub fn secret(self, text: &str) -> Result<SigningSecret, String> {
        match self {
            Self::StandardWebhooks => SigningSecret::standard(text),
            _ => Ok(SigningSecret::plain(text)),
        }
    }
}

impl Choice for Scheme {
    const ALL: &'static [(&'static str, Self)] = &[
        ("standard-webhooks", Self::StandardWebhooks),
        ("github", Self::GitHub),
        ("stripe", Self::Stripe),
        ("shopify", Self::Shopify),
        ("slack", Self::Slack),
        ("custom", Self::Custom),
    ];
}
