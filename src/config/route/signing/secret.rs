//! The secret of a key, as the conventions write it.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use secrecy::{ExposeSecret, SecretSlice, zeroize::Zeroizing};

use crate::config::MASK;

/// What a symmetric secret of Standard Webhooks begins with; base64 of the key follows.
pub const SYMMETRIC_PREFIX: &str = "whsec_";
/// What the secret of an asymmetric key begins with; base64 of its seed and its public key follows.
pub const SECRET_PREFIX: &str = "whsk_";
/// What the public key of an asymmetric key begins with; base64 of it follows.
pub const PUBLIC_PREFIX: &str = "whpk_";

/// So many bytes has a symmetric key (Standard Webhooks, "Signature scheme").
const SYMMETRIC: std::ops::RangeInclusive<usize> = 24..=64;
/// So many bytes has the seed of an Ed25519 key (RFC 8032, section 5.1.5).
const SEED: usize = 32;

/// What is signed with. It does not print, and its memory is wiped when it goes.
#[derive(Clone)]
pub struct SigningSecret {
    bytes: SecretSlice<u8>,
    is_asymmetric: bool,
}

impl SigningSecret {
    /// The secret that is written as Standard Webhooks has it: `whsec_…`, or `whsk_…` for Ed25519.
    ///
    /// # Errors
    /// What would be right, in words without the secret.
    pub fn standard(text: &str) -> Result<Self, String> {
        if let Some(encoded) = text.strip_prefix(SYMMETRIC_PREFIX) {
            let key = decode(encoded).filter(|key| SYMMETRIC.contains(&key.len()));
            let key = key.ok_or("expected base64 of 24 to 64 bytes after whsec_")?;
            return Ok(Self::of(&key, false));
        }
        if let Some(encoded) = text.strip_prefix(SECRET_PREFIX) {
            let key = decode(encoded).filter(|key| is_key(key));
            let key = key.ok_or("expected base64 of an Ed25519 key after whsk_: its seed of 32 bytes, alone or with its public key")?;
            return Ok(Self::of(key.get(..SEED).unwrap_or_default(), true));
        }
        Err(if text.starts_with(PUBLIC_PREFIX) {
            "expected the secret key, whsk_…, and not the public one, whpk_…".to_owned()
        } else {
            "expected a key that begins with whsec_ or whsk_".to_owned()
        })
    }

    /// The text itself, as the other conventions take it.
    pub fn plain(text: &str) -> Self {
        Self::of(text.as_bytes(), false)
    }

    fn of(bytes: &[u8], is_asymmetric: bool) -> Self {
        Self { bytes: bytes.to_vec().into(), is_asymmetric }
    }

    /// The key of an HMAC; none where it is an asymmetric one.
    pub fn symmetric(&self) -> Option<&[u8]> {
        (!self.is_asymmetric).then(|| self.bytes.expose_secret())
    }

    /// The pair of an asymmetric key; none where it is a symmetric one.
    pub fn key_pair(&self) -> Option<Ed25519KeyPair> {
        // Of 32 bytes any are a seed.
        self.is_asymmetric.then(|| Ed25519KeyPair::from_seed_unchecked(self.bytes.expose_secret()).ok())?
    }

    /// The public key that receivers verify with, `whpk_…`; none where the key is a symmetric one.
    pub fn public_key(&self) -> Option<String> {
        let pair = self.key_pair()?;
        Some(format!("{PUBLIC_PREFIX}{}", BASE64.encode(pair.public_key().as_ref())))
    }
}

/// Whether it is a seed, or one with its public key behind it.
fn is_key(key: &[u8]) -> bool {
    match key.split_at_checked(SEED) {
        Some((_, [])) => true,
        Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public).is_ok(),
        None => false,
    }
}

/// Base64, with padding or without: the libraries of receivers take both.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    BASE64_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok().map(Zeroizing::new)
}

// It takes longer the more is equal. That tells nobody anything: both sides are the operator's own.
impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        self.is_asymmetric == other.is_asymmetric && self.bytes.expose_secret() == other.bytes.expose_secret()
    }
}

impl Eq for SigningSecret {}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecret({MASK})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Svix, whose signature is the one in the specification.
    const PAIR: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const SEED_ALONE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";

    #[test]
    fn a_secret_is_read_as_the_libraries_take_it() {
        for text in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &format!("whsec_{}", BASE64.encode(&[7; 64]))]
        {
            let secret = SigningSecret::standard(text).unwrap();
            assert!(secret.symmetric().is_some() && secret.public_key().is_none(), "{text}");
        }
        for text in [PAIR, SEED_ALONE, SEED_ALONE.trim_end_matches('=')] {
            let secret = SigningSecret::standard(text).unwrap();
            let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
            assert_eq!((secret.symmetric(), secret.public_key().as_deref()), (None, Some(public)));
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        let of = |prefix: &str, length: usize| format!("{prefix}{}", BASE64.encode(&vec![7; length]));
        let wrong_pair = of("whsk_", 64);
        for (text, expected) in [
            ("hunter2", "begins with whsec_ or whsk_"),
            ("whsec_", "24 to 64 bytes"),
            ("whsec_hunter2!hunter2!hunter2!hunter2!", "24 to 64 bytes"),
            (&of("whsec_", 23), "24 to 64 bytes"),
            (&of("whsec_", 65), "24 to 64 bytes"),
            (&of("whsk_", 31), "its seed of 32 bytes"),
            (&of("whsk_", 33), "its seed of 32 bytes"),
            (&wrong_pair, "its seed of 32 bytes"),
            (&of("whpk_", 32), "not the public one"),
        ] {
            let error = SigningSecret::standard(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains("Bwc"), "{error}");
        }
        assert!(!format!("{:?}", SigningSecret::plain("hunter2")).contains("hunter2"));
    }
}
