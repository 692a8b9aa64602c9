//! Whether a request is signed as a convention has it: what a receiver asks, answered for an operator who plays one.

use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use http::HeaderMap;
use ring::{
    hmac,
    signature::{ED25519, UnparsedPublicKey},
};
use thiserror::Error;

use super::{
    Content,
    keys::{self, ASYMMETRIC_PREFIX},
};
use crate::{
    config::{Convention, Encoding, PUBLIC_PREFIX, Part, Scheme, Signing, SigningSecret},
    message::header_names::http as names,
};

/// How old a signature may be, and how far ahead a clock: receivers take five minutes (Standard Webhooks, "Verifying
/// webhook authenticity").
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Verifies the signatures of requests.
#[derive(Debug)]
pub struct Verifier {
    convention: Convention,
    keys: Vec<VerifyingKey>,
}

/// What a receiver has of a key.
#[derive(Debug)]
enum VerifyingKey {
    Hmac(hmac::Key),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
}

/// Why a request is not taken for one that is signed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotVerified {
    /// There is no signature, or what belongs to it is missing.
    #[error("it has no header {0}")]
    Missing(String),
    /// What stands in the header is not written as the convention has it.
    #[error("{0} is not written as a signature is")]
    Malformed(String),
    /// The time that was signed is not near enough.
    #[error("it was signed {} ago, and receivers take five minutes", humantime::format_duration(*.0))]
    Old(Duration),
    /// The time that was signed has not come yet.
    #[error("it was signed {} ahead of this machine's clock", humantime::format_duration(*.0))]
    Ahead(Duration),
    /// No key has made it.
    #[error("no key fits: it was signed with another one, or the body or the id was changed")]
    Wrong,
}

impl Verifier {
    /// Verifies what is signed by these settings. Keys that have ended at `now` verify nothing.
    pub fn of(signing: &Signing, now: SystemTime) -> Self {
        let convention = signing.convention.clone();
        let used = signing.keys.iter().filter(|key| key.is_used(now));
        let keys = used.map(|key| VerifyingKey::of(&key.secret, &convention)).collect();
        Self { convention, keys }
    }

    /// Verifies by a convention that has a name, with keys that are written as `texts`: for Standard Webhooks a public one
    /// will do.
    ///
    /// # Errors
    /// What would be right in place of a key, in words without it.
    pub fn by_keys<'t>(scheme: Scheme, texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let convention = Convention::of(scheme);
        let key = |text: &str| match text.strip_prefix(PUBLIC_PREFIX) {
            Some(encoded) if scheme == Scheme::StandardWebhooks => {
                let key = BASE64.decode(encoded.as_bytes()).ok().filter(|key| key.len() == 32);
                let key = key.ok_or("expected base64 of 32 bytes after whpk_")?;
                Ok(VerifyingKey::Ed25519(UnparsedPublicKey::new(&ED25519, key)))
            }
            _ => scheme.secret(text).map(|secret| VerifyingKey::of(&secret, &convention)),
        };
        let keys = texts.into_iter().map(key).collect::<Result<_, String>>()?;
        Ok(Self { convention, keys })
    }

    /// Whether a request with these `headers` and this `body`, which is not compressed any more, is signed; `now` is when
    /// it came.
    ///
    /// # Errors
    /// Why a receiver would refuse it.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<(), NotVerified> {
        let Convention { header, timestamp_header, signed, separator, .. } = &self.convention;
        let field = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| NotVerified::Missing(name.to_owned()))
        };
        let id = if signed.has(&Part::Id) { field(names::WEBHOOK_ID)? } else { "" };
        let value = field(header)?;
        let malformed = || NotVerified::Malformed(header.clone().into_owned());
        let (led, signatures) = self.behind_lead(value, id).ok_or_else(malformed)?;
        let timestamp = timestamp_header.as_deref().map_or(Ok(led), field)?;
        if signed.has(&Part::Timestamp) {
            is_near(timestamp.parse().map_err(|_no_number| malformed())?, now)?;
        }
        let content = Content { id: id.as_bytes(), timestamp: timestamp.as_bytes(), body };
        let content: Vec<u8> = content.pieces(signed).flatten().copied().collect();
        let fits =
            |signature: &str| self.keys.iter().any(|key| key.fits(signature, &content, &self.convention));
        let is_signed = match separator {
            Some(separator) => signatures.split(&**separator).any(fits),
            None => fits(signatures),
        };
        if is_signed { Ok(()) } else { Err(NotVerified::Wrong) }
    }

    /// The time in what stands before all signatures, and the signatures.
    fn behind_lead<'v>(&self, value: &'v str, id: &str) -> Option<(&'v str, &'v str)> {
        let (mut timestamp, mut rest) = ("", value);
        for part in self.convention.lead.parts() {
            rest = match part {
                Part::Text(text) => rest.strip_prefix(&**text)?,
                Part::Id => rest.strip_prefix(id)?,
                Part::Timestamp => {
                    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                    let (time, rest) = rest.split_at_checked(digits)?;
                    timestamp = time;
                    rest
                }
                Part::Body => return None,
            };
        }
        Some((timestamp, rest))
    }
}

impl VerifyingKey {
    fn of(secret: &SigningSecret, convention: &Convention) -> Self {
        use ring::signature::KeyPair as _;
        match secret.key_pair() {
            Some(pair) => {
                Self::Ed25519(UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec()))
            }
            None => {
                let hash = keys::hash(convention.algorithm);
                Self::Hmac(hmac::Key::new(hash, secret.symmetric().unwrap_or_default()))
            }
        }
    }

    /// Whether `signature`, as it is written, is one of `content` by this key.
    fn fits(&self, signature: &str, content: &[u8], convention: &Convention) -> bool {
        let prefix = match self {
            Self::Hmac(_) => &convention.prefix,
            Self::Ed25519(_) => ASYMMETRIC_PREFIX,
        };
        let encoded = signature.trim().strip_prefix(prefix);
        let bytes = encoded.and_then(|text| match convention.encoding {
            Encoding::Hex => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
            Encoding::Base64 => BASE64.decode(text.as_bytes()).ok(),
        });
        bytes.is_some_and(|bytes| match self {
            Self::Hmac(key) => hmac::verify(key, content, &bytes).is_ok(),
            Self::Ed25519(key) => key.verify(content, &bytes).is_ok(),
        })
    }
}

/// Whether the time of a signature, in seconds since 1970, is near enough to `now`.
fn is_near(seconds: u64, now: SystemTime) -> Result<(), NotVerified> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (age, lead) = (now.saturating_sub(seconds), seconds.saturating_sub(now));
    if age > TOLERANCE.as_secs() {
        return Err(NotVerified::Old(Duration::from_secs(age)));
    }
    if lead > TOLERANCE.as_secs() {
        return Err(NotVerified::Ahead(Duration::from_secs(lead)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::{
        base::watched_file::WatchedFiles,
        config::{self, Sources},
        deliver::sign::Signer,
    };

    const SYMMETRIC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ASYMMETRIC: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn signing(settings: &[(&str, &str)]) -> Signing {
        let flag = |(key, value): &(&str, &str)| {
            (format!("routes.a.webhook.signing.{key}"), (*value).to_owned(), "--set".to_owned())
        };
        let mut flags: Vec<_> = settings.iter().map(flag).collect();
        flags.push((
            "routes.a.webhook.url".to_owned(),
            "https://example.com/".to_owned(),
            "--set".to_owned(),
        ));
        let config = config::load(Sources { flags, ..Sources::default() }).unwrap();
        config.routes[0].webhook.signing.clone().unwrap()
    }

    /// The headers of a request with the id `1` and this body, signed at `now`.
    fn signed(signing: &Signing, body: &[u8], now: SystemTime) -> HeaderMap {
        let signer = Signer::new(signing, &WatchedFiles::default());
        let fields = signer.sign(b"1", body, now).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static("1"));
        for (name, value) in fields.into_iter().flatten() {
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(&value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let custom = [
            ("scheme", "custom"),
            ("header", "x-signature"),
            ("signed", "v1:{id}:{timestamp}:{body}"),
            ("lead", "id={id};t={timestamp};"),
            ("prefix", "s="),
            ("separator", ";"),
            ("algorithm", "sha512"),
            ("encoding", "base64"),
            ("keys.a.secret", "k"),
            ("keys.b.secret", "l"),
        ];
        for settings in [
            &[("keys.a.secret", SYMMETRIC)][..],
            &[("keys.a.secret", ASYMMETRIC)],
            &[("keys.a.secret", ASYMMETRIC), ("keys.b.secret", SYMMETRIC)],
            &[("scheme", "github"), ("keys.a.secret", "k")],
            &[("scheme", "stripe"), ("keys.a.secret", "k"), ("keys.b.secret", "l")],
            &[("scheme", "shopify"), ("keys.a.secret", "k")],
            &[("scheme", "slack"), ("keys.a.secret", "k")],
            &custom,
        ] {
            let signing = signing(settings);
            let headers = signed(&signing, b"body", at(1_000));
            let verifier = Verifier::of(&signing, at(1_000));
            assert_eq!(verifier.verify(&headers, b"body", at(1_010)), Ok(()), "{settings:?}");
            let forged = verifier.verify(&headers, b"bodY", at(1_010));
            assert_eq!(forged, Err(NotVerified::Wrong), "{settings:?}");
            let missing = verifier.verify(&HeaderMap::new(), b"body", at(1_010));
            assert!(matches!(missing, Err(NotVerified::Missing(_))), "{settings:?}: {missing:?}");
            if signing.convention.signed.has(&Part::Timestamp) {
                let late = verifier.verify(&headers, b"body", at(1_301));
                assert_eq!(late, Err(NotVerified::Old(Duration::from_secs(301))), "{settings:?}");
                let early = verifier.verify(&headers, b"body", at(699));
                assert_eq!(early, Err(NotVerified::Ahead(Duration::from_secs(301))), "{settings:?}");
            }
        }
    }

    #[test]
    fn a_public_key_will_do() {
        let headers = signed(&signing(&[("keys.a.secret", ASYMMETRIC)]), b"body", at(1_000));
        for (keys, verified) in [
            (&[PUBLIC][..], true),
            (&[ASYMMETRIC], true),
            (&[SYMMETRIC], false),
            (&[SYMMETRIC, PUBLIC], true),
        ] {
            let verifier = Verifier::by_keys(Scheme::StandardWebhooks, keys.iter().copied()).unwrap();
            assert_eq!(verifier.verify(&headers, b"body", at(1_000)).is_ok(), verified, "{keys:?}");
        }
        let wrong = Verifier::by_keys(Scheme::StandardWebhooks, ["whpk_hunter2"]).unwrap_err();
        assert!(wrong.contains("32 bytes") && !wrong.contains("hunter2"), "{wrong}");
    }

    #[test]
    fn what_is_no_signature_is_not_taken_for_one() {
        let signing = signing(&[("scheme", "stripe"), ("keys.a.secret", "k")]);
        let verifier = Verifier::of(&signing, at(1_000));
        for (value, expected) in [
            ("", NotVerified::Malformed("Stripe-Signature".to_owned())),
            ("t=,v1=00", NotVerified::Malformed("Stripe-Signature".to_owned())),
            ("v1=00,t=1000", NotVerified::Malformed("Stripe-Signature".to_owned())),
            ("t=1000,v1=zz,v1=,=", NotVerified::Wrong),
            ("t=1000,", NotVerified::Wrong),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("stripe-signature", HeaderValue::from_static(value));
            assert_eq!(verifier.verify(&headers, b"body", at(1_000)), Err(expected), "{value}");
        }
    }
}
