//! The headers of a message that we publish, as they go on the wire.

use super::headers::{is_name, push_line};

/// Headers to be published: valid for the server and for every client, whatever is put in. Some of them refuse a message
/// over one odd header, or end over it: names and values often come from strangers.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderBlock(Vec<u8>);

/// What every block begins with.
const VERSION: &[u8] = b"NATS/1.0\r\n";
/// The empty line that ends it.
const END: &[u8] = b"\r\n";

impl HeaderBlock {
    /// A block without headers.
    pub fn new() -> Self {
        Self([VERSION, END].concat())
    }

    /// Adds a header. A line break in `value` becomes a blank, and what is not UTF-8 there is replaced. Returns whether it
    /// was added: it is left out where `name` can't be the name of one.
    pub fn put(&mut self, name: &str, value: impl AsRef<[u8]>) -> bool {
        let is_name = is_name(name.as_bytes());
        if is_name {
            let value = String::from_utf8_lossy(value.as_ref());
            self.0.truncate(self.0.len() - END.len());
            push_line(&mut self.0, name, value.as_bytes());
            self.0.extend_from_slice(END);
        }
        is_name
    }

    /// Whether it has no header.
    pub fn is_empty(&self) -> bool {
        self.0.len() == VERSION.len() + END.len()
    }

    /// The headers, one a line.
    pub fn lines(&self) -> &[u8] {
        self.0.get(VERSION.len()..self.0.len() - END.len()).unwrap_or_default()
    }

    /// The bytes to be published, from the version line to the empty one.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for HeaderBlock {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for HeaderBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}
