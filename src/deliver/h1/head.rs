//! The head of a request as HTTP/1.1 writes it (RFC 9112), appended to a buffer. No I/O.

use std::ops::Range;

use crate::{
    deliver::request::{FieldSink, Request, Template},
    message::header_names::http as names,
};

/// Writes the heads of a route's requests.
#[derive(Debug)]
pub struct HeadWriter {
    /// The request line of all requests that have no target of their own, and the fields that are always the same, ready
    /// to be sent.
    fixed: Vec<u8>,
    /// Where in it the target begins, and where it ends.
    target: Range<usize>,
}

impl HeadWriter {
    /// For requests with what `template` says.
    pub fn new(template: &Template) -> Self {
        // Values are written as they are: the configuration has checked the URL and the operator's fields, and what
        // comes from publishers is made safe before it gets into a request.
        let mut fixed = format!("{} ", template.method).into_bytes();
        let begin = fixed.len();
        fixed.extend_from_slice(template.target.as_bytes());
        let target = begin..fixed.len();
        fixed.extend_from_slice(b" HTTP/1.1\r\n");
        put(&mut fixed, names::HOST, template.authority.as_bytes());
        for (name, value) in &template.fields {
            put(&mut fixed, name, value.as_bytes());
        }
        Self { fixed, target }
    }

    /// Appends the head of `request` to `out`.
    pub fn write(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        match &request.target {
            None => out.extend_from_slice(&self.fixed),
            Some(target) => {
                let (method, fields) = (..self.target.start, self.target.end..);
                for part in [&self.fixed[method], target.as_bytes(), &self.fixed[fields]] {
                    out.extend_from_slice(part);
                }
            }
        }
        request.each_field(&mut Lines(out));
        put(out, names::CONTENT_LENGTH, itoa::Buffer::new().format(request.body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes each field as a line of the head.
struct Lines<'o>(&'o mut Vec<u8>);

impl FieldSink for Lines<'_> {
    #[expect(
        clippy::inline_always,
        reason = "a hint is not enough, and it is worth two percent of a message"
    )]
    #[inline(always)]
    fn put(&mut self, name: &str, value: &[u8]) {
        put(self.0, name, value);
    }
}

/// Inlined, so that a name that is known when this is compiled is copied without a call.
#[expect(clippy::inline_always, reason = "a hint is not enough, and it is worth two percent of a message")]
#[inline(always)]
fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
