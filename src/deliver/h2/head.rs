//! The head of a request as HTTP/2 writes it (RFC 9113, section 8.3), out of the fields that are prepared for each
//! attempt. No I/O.

use super::hpack::encoder::{Beginning, Encoder, Fields};
use crate::{
    deliver::request::{Request, Template},
    message::header_names::http as names,
};

/// Writes the heads of a route's requests.
#[derive(Debug)]
pub struct HeadWriter(Beginning);

/// The fields of one request that all requests have: those that a connection remembers. In the order in which they are
/// sent.
const STEADY: &[&str] =
    &[names::CONTENT_TYPE, names::WEBHOOK_ID, names::SUBJECT, names::ATTEMPT, names::CONTENT_LENGTH];

impl HeadWriter {
    /// For requests with what `template` says, over TLS where they are encrypted.
    pub(in crate::deliver) fn new(template: &Template, is_encrypted: bool) -> Self {
        let scheme: &[u8] = if is_encrypted { b"https" } else { b"http" };
        let field = |(name, value): &(Box<str>, http::HeaderValue)| (name.clone(), value.as_bytes().into());
        Self(Beginning {
            pseudo: vec![
                (":method", template.method.as_bytes().into()),
                (":scheme", scheme.into()),
                (":authority", template.authority.as_bytes().into()),
            ],
            path: template.target.clone(),
            fields: template.fields.iter().map(field).collect(),
            steady: STEADY,
        })
    }

    /// Appends the fields of `request` to `out`, for the connection of `encoder`.
    pub(super) fn write(&self, request: &Request<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
        encoder.encode(&self.0, request, out);
    }
}

impl Fields for Request<'_> {
    fn path(&self) -> Option<&str> {
        self.target.as_deref()
    }

    fn each(&self, mut put: impl FnMut(&str, &[u8])) {
        self.each_field(&mut put);
        put(names::CONTENT_LENGTH, itoa::Buffer::new().format(self.body.len()).as_bytes());
    }
}
