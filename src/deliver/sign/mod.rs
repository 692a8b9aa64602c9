//! Signatures of requests, as a convention has them: of the id, the time of the attempt and the body.

mod keys;
#[cfg(test)]
mod tests;
pub mod verify;

use std::{fmt::Write as _, time::SystemTime};

use self::keys::Keys;
use super::{fault::Fault, request::Field};
use crate::{
    base::watched_file::WatchedFiles,
    config::{Convention, Part, Pattern, Signing},
    message::outcome::Failure,
};

/// Signs the requests to one webhook.
#[derive(Debug)]
pub struct Signer {
    convention: Convention,
    /// What must not be in an id, since it separates the id from what follows it where both are signed.
    separators: Box<[u8]>,
    keys: Keys,
}

/// A signature has one field, or two where the time stands in another than the signature itself.
pub(super) type Fields<'s> = [Option<Field<'s>>; 2];

impl Signer {
    /// Signs as configured. Keys that stand in files are read again with the others of `files`.
    pub fn new(signing: &Signing, files: &WatchedFiles) -> Self {
        let convention = signing.convention.clone();
        let signs_id = convention.signed.has(&Part::Id);
        let separators = convention.signed.separators().filter(|_| signs_id).collect();
        Self { keys: Keys::new(signing, files), separators, convention }
    }

    /// `id` with the separators percent-encoded, so that nobody can move a part of the id into what is signed behind it;
    /// none where it has none. What is decoded once is the id as unsigned requests have it, in which `%` is encoded.
    pub(super) fn escaped(&self, id: &[u8]) -> Option<String> {
        if !id.iter().any(|byte| self.separators.contains(byte)) {
            return None;
        }
        let mut escaped = String::with_capacity(id.len() + 8);
        for &byte in id {
            if self.separators.contains(&byte) {
                // Writing to a string can't fail.
                write!(escaped, "%{byte:02X}").unwrap_or_default();
            } else {
                escaped.push(char::from(byte));
            }
        }
        Some(escaped)
    }

    /// The fields that sign a request with this `id`, escaped, and this `body`, which is attempted at `now`.
    ///
    /// # Errors
    /// All keys have ended: nothing is sent unsigned, and since no message is to blame for that, they wait.
    pub(super) fn sign(&self, id: &[u8], body: &[u8], now: SystemTime) -> Result<Fields<'_>, Fault> {
        let Convention { header, timestamp_header, signed, lead, .. } = &self.convention;
        let mut digits = itoa::Buffer::new();
        let timestamp =
            digits.format(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs());
        let content = Content { id, timestamp: timestamp.as_bytes(), body };
        let mut value = String::with_capacity(128);
        for piece in content.pieces(lead) {
            value.push_str(str::from_utf8(piece).unwrap_or_default());
        }
        if !self.keys.sign(content.pieces(signed), &self.convention, now, &mut value) {
            return Err(Fault::new(
                Failure::Local,
                "all keys of webhook.signing have ended, and nothing is sent unsigned",
            ));
        }
        let timestamp =
            timestamp_header.as_deref().map(|name| (name.into(), timestamp.as_bytes().to_vec().into()));
        Ok([timestamp, Some(((&**header).into(), value.into_bytes().into()))])
    }
}

/// What the placeholders of a pattern stand for.
#[derive(Clone, Copy)]
struct Content<'c> {
    id: &'c [u8],
    timestamp: &'c [u8],
    body: &'c [u8],
}

impl<'c> Content<'c> {
    /// What `pattern` stands for, piece by piece: so the body need not be copied.
    fn pieces(self, pattern: &'c Pattern) -> impl Iterator<Item = &'c [u8]> + Clone {
        pattern.parts().iter().map(move |part| match part {
            Part::Text(text) => text.as_bytes(),
            Part::Id => self.id,
            Part::Timestamp => self.timestamp,
            Part::Body => self.body,
        })
    }
}
