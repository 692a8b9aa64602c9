//! `http` of `[routes.NAME.webhook]`.

use crate::config::parse::Choice;

/// Which HTTP is spoken to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// Over TLS what the webhook chooses of HTTP/2 and HTTP/1.1 (ALPN); else HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 and nothing else: without TLS it is taken for granted that the webhook speaks it.
    Http2,
}

impl Choice for HttpVersion {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("1.1", Self::Http1), ("2", Self::Http2)];
}

impl HttpVersion {
    /// As the configuration has it.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}
