//! Conventions of signing: what is signed, and how the signature stands in the request.

use std::borrow::Cow;

use super::{Pattern, Scheme};
use crate::config::parse::Choice;

/// What is signed, and how the signature stands in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convention {
    /// `header`: the header that has the signatures, as it is written.
    pub header: Cow<'static, str>,
    /// `timestamp_header`: the header that has the time of the attempt, in seconds since 1970.
    pub timestamp_header: Option<Cow<'static, str>>,
    /// `signed`: what is signed.
    pub signed: Pattern,
    /// `lead`: what stands before all signatures.
    pub lead: Pattern,
    /// `prefix`: what stands before each signature; those of Ed25519 have a prefix of their own.
    pub prefix: Cow<'static, str>,
    /// `separator`: what stands between signatures; none where there is room for one only.
    pub separator: Option<Cow<'static, str>>,
    /// `algorithm`: the hash of the HMAC.
    pub algorithm: Algorithm,
    /// `encoding`: how the bytes of a signature are written.
    pub encoding: Encoding,
}

/// The hash of an HMAC (RFC 2104).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1, for receivers that know no other.
    Sha1,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// In hexadecimal digits, in lower case.
    Hex,
    /// In base64, with padding (RFC 4648, section 4).
    Base64,
}

impl Convention {
    /// The convention of this name. `Custom` has none: it is the one that the others are variations of.
    pub fn of(scheme: Scheme) -> Self {
        let plain = Self {
            header: "".into(),
            timestamp_header: None,
            signed: pattern("{body}"),
            lead: Pattern::default(),
            prefix: "".into(),
            separator: None,
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
        };
        match scheme {
            Scheme::StandardWebhooks => Self {
                header: "webhook-signature".into(),
                timestamp_header: Some("webhook-timestamp".into()),
                signed: pattern("{id}.{timestamp}.{body}"),
                prefix: "v1,".into(),
                separator: Some(" ".into()),
                encoding: Encoding::Base64,
                ..plain
            },
            Scheme::GitHub => {
                Self { header: "X-Hub-Signature-256".into(), prefix: "sha256=".into(), ..plain }
            }
            Scheme::Stripe => Self {
                header: "Stripe-Signature".into(),
                signed: pattern("{timestamp}.{body}"),
                lead: pattern("t={timestamp},"),
                prefix: "v1=".into(),
                separator: Some(",".into()),
                ..plain
            },
            Scheme::Shopify => {
                Self { header: "X-Shopify-Hmac-Sha256".into(), encoding: Encoding::Base64, ..plain }
            }
            Scheme::Slack => Self {
                header: "X-Slack-Signature".into(),
                timestamp_header: Some("X-Slack-Request-Timestamp".into()),
                signed: pattern("v0:{timestamp}:{body}"),
                prefix: "v0=".into(),
                ..plain
            },
            Scheme::Custom => plain,
        }
    }
}

fn pattern(text: &str) -> Pattern {
    text.parse().expect("the patterns of the conventions are good")
}

impl Choice for Algorithm {
    const ALL: &'static [(&'static str, Self)] =
        &[("sha256", Self::Sha256), ("sha512", Self::Sha512), ("sha1", Self::Sha1)];
}

impl Choice for Encoding {
    const ALL: &'static [(&'static str, Self)] = &[("hex", Self::Hex), ("base64", Self::Base64)];
}
