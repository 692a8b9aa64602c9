//! `[routes.NAME.webhook.compression]`: how the bodies of requests are compressed.

use bytesize::ByteSize;

use crate::config::{
    parse::{self, Choice},
    reader::{Reported, Section},
    tree::Value,
};

/// `[routes.NAME.webhook.compression]`: how the bodies of requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// `encoding`: by which method. Required in this section.
    pub encoding: ContentCoding,
    /// `min`: bodies of fewer bytes are sent as they are, 0 to 1 GiB. Default `1KiB`.
    pub min: usize,
}

/// A method of compression, as `Content-Encoding` names it (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// `gzip` (RFC 1952): most servers know it.
    Gzip,
    /// `zstd` (RFC 8878): smaller, in less time.
    Zstd,
}

impl ContentCoding {
    /// Its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        self.word()
    }
}

impl Choice for ContentCoding {
    const ALL: &'static [(&'static str, Self)] = &[("gzip", Self::Gzip), ("zstd", Self::Zstd)];
}

const MIN: usize = 1024;

pub(super) fn read(at: &Section<'_>) -> Result<Compression, Reported> {
    let encoding = at.required("encoding", parse::choice);
    let min = at.or("min", MIN, min);
    Ok(Compression { encoding: encoding?, min: min? })
}

fn min(value: &Value) -> Result<usize, String> {
    let bytes = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Text(text) => text.trim().parse().ok().map(|ByteSize(bytes)| bytes),
        _ => None,
    };
    bytes
        .filter(|bytes| *bytes <= bytesize::gib(1_u64))
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| value.unexpected("a size from 0 to 1GiB such as \"1KiB\""))
}
