//! Which HTTP a webhook speaks, where that is its choice: noted with each connection, for whoever looks.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use crate::config::HttpVersion;

/// What the latest connection to a webhook speaks, from whatever lane. Clones are of the same webhook.
#[derive(Clone, Debug, Default)]
pub struct Spoken(Arc<AtomicU8>);

impl Spoken {
    const HTTP1: u8 = 1;
    const HTTP2: u8 = 2;

    /// Takes note of a connection.
    pub(super) fn note(&self, is_http2: bool) {
        self.0.store(if is_http2 { Self::HTTP2 } else { Self::HTTP1 }, Relaxed);
    }

    /// What is spoken; none before the first connection, or where nobody has a choice.
    pub fn version(&self) -> Option<HttpVersion> {
        match self.0.load(Relaxed) {
            Self::HTTP1 => Some(HttpVersion::Http1),
            Self::HTTP2 => Some(HttpVersion::Http2),
            _ => None,
        }
    }
}
