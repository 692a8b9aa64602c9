//! The keys of a webhook, ready to sign with.

use std::{fmt, time::SystemTime};

use data_encoding::{BASE64, Encoding as Alphabet, HEXLOWER};
use ring::{hmac, signature::Ed25519KeyPair};

use crate::{
    base::watched_file::{Watched, WatchedFiles},
    config::{Algorithm, Convention, Encoding, Signing, SigningKey, SigningSecret},
};

/// What stands before a signature with Ed25519 (Standard Webhooks, "Signature scheme").
pub(super) const ASYMMETRIC_PREFIX: &str = "v1a,";

#[derive(Debug)]
pub(super) struct Keys(Box<[Key]>);

#[derive(Debug)]
struct Key {
    until: Option<SystemTime>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Settings(Prepared),
    File(Watched<Prepared>),
}

/// A secret, and what it was made into for the sake of speed.
struct Prepared {
    secret: SigningSecret,
    means: Means,
}

enum Means {
    Hmac(hmac::Key),
    // Boxed, since few have one.
    Ed25519(Box<Ed25519KeyPair>),
}

impl Keys {
    /// The keys in the settings, and those in files, which are read again when they change.
    pub(super) fn new(signing: &Signing, files: &WatchedFiles) -> Self {
        let algorithm = signing.convention.algorithm;
        let key = |key: &SigningKey| {
            let prepared = Prepared::new(key.secret.clone(), algorithm);
            let place = match &key.file {
                None => Place::Settings(prepared),
                Some(file) => {
                    let signing = signing.clone();
                    let read = move |path: &_| {
                        signing.read_secret(path).map(|secret| Prepared::new(secret, algorithm))
                    };
                    Place::File(files.watch(file, prepared, read))
                }
            };
            Key { until: key.until, place }
        };
        Self(signing.keys.iter().map(key).collect())
    }

    /// Appends the signatures of `content`, which is in pieces, to `out`, as `convention` writes them. Returns whether
    /// there is one: false where all keys have ended at `now`.
    pub(super) fn sign<'c>(
        &self,
        content: impl Iterator<Item = &'c [u8]> + Clone,
        convention: &Convention,
        now: SystemTime,
        out: &mut String,
    ) -> bool {
        let used = self.0.iter().filter(|key| key.until.is_none_or(|until| now < until));
        let Some(separator) = &convention.separator else {
            // A receiver learns the new key while the old one is used, and the switch comes when that ends.
            let next = used.min_by_key(|key| (key.until.is_none(), key.until));
            next.inspect(|key| key.sign(content, convention, out));
            return next.is_some();
        };
        let mut count = 0;
        for key in used {
            if count > 0 {
                out.push_str(separator);
            }
            key.sign(content.clone(), convention, out);
            count += 1;
        }
        count > 0
    }
}

impl Key {
    fn sign<'c>(&self, content: impl Iterator<Item = &'c [u8]>, convention: &Convention, out: &mut String) {
        match &self.place {
            Place::Settings(prepared) => prepared.sign(content, convention, out),
            Place::File(watched) => watched.current().sign(content, convention, out),
        }
    }
}

impl Prepared {
    fn new(secret: SigningSecret, algorithm: Algorithm) -> Self {
        let means = match secret.key_pair() {
            Some(pair) => Means::Ed25519(Box::new(pair)),
            None => Means::Hmac(hmac::Key::new(hash(algorithm), secret.symmetric().unwrap_or_default())),
        };
        Self { secret, means }
    }

    fn sign<'c>(&self, content: impl Iterator<Item = &'c [u8]>, convention: &Convention, out: &mut String) {
        let alphabet: &Alphabet = match convention.encoding {
            Encoding::Hex => &HEXLOWER,
            Encoding::Base64 => &BASE64,
        };
        match &self.means {
            Means::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                content.for_each(|piece| context.update(piece));
                out.push_str(&convention.prefix);
                alphabet.encode_append(context.sign().as_ref(), out);
            }
            Means::Ed25519(pair) => {
                // It reads the content twice, so that there is no way to give it in pieces.
                let content: Vec<u8> = content.flatten().copied().collect();
                out.push_str(ASYMMETRIC_PREFIX);
                alphabet.encode_append(pair.sign(&content).as_ref(), out);
            }
        }
    }
}

/// The hash of an HMAC, as the library has it.
pub(super) const fn hash(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    }
}

impl PartialEq for Prepared {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret.fmt(f)
    }
}
