//! Writing JSON piece by piece, so that a payload that is JSON stands in it byte for byte: read and written again, its
//! numbers would be others.

use std::fmt::Display;

use data_encoding::BASE64;
use serde::{Serialize, Serializer, de::IgnoredAny};

/// Something as the text that it is shown as, without making that text first.
pub(super) struct Shown<T>(pub(super) T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Appends `value`.
pub(super) fn put(body: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(body, value);
    debug_assert!(written.is_ok(), "texts, numbers and lists of them can always be written: {written:?}");
}

/// Appends bytes as a text in base64 (RFC 4648, section 4).
pub(super) fn put_base64(body: &mut Vec<u8>, bytes: &[u8]) {
    body.push(b'"');
    let start = body.len();
    body.resize(start + BASE64.encode_len(bytes.len()), 0);
    if let Some(room) = body.get_mut(start..) {
        BASE64.encode_mut(bytes, room);
    }
    body.push(b'"');
}

/// The payload, where it is JSON. No tree of it is made.
pub(super) fn json(payload: &[u8]) -> Option<&str> {
    let text = str::from_utf8(payload).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok().map(|_| text)
}
