//! The head of a request as HTTP/1.1 writes it (RFC 9112), appended to a buffer. No I/O.

use crate::{
    deliver::request::{Request, Template},
    message::header_names::http as names,
};

/// Writes the heads of a route's requests.
#[derive(Debug)]
pub struct HeadWriter {
    method: &'static str,
    /// Path and query of all requests that have none of their own.
    target: Box<str>,
    /// The end of the request line and the fields that are always the same, ready to be sent.
    fixed: Vec<u8>,
}

impl HeadWriter {
    /// For requests with what `template` says.
    pub fn new(template: &Template) -> Self {
        // Values are written as they are: the configuration has checked the URL and the operator's fields, and what
        // comes from publishers is made safe before it gets into a request.
        let mut fixed = b" HTTP/1.1\r\n".to_vec();
        put(&mut fixed, names::HOST, template.authority.as_bytes());
        for (name, value) in &template.fields {
            put(&mut fixed, name, value.as_bytes());
        }
        Self { method: template.method, target: template.target.clone(), fixed }
    }

    /// Appends the head of `request` to `out`.
    pub fn write(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        let target = request.target.as_deref().unwrap_or(&self.target);
        for part in [self.method, " ", target] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&self.fixed);
        request.each_field(|name, value| put(out, name, value));
        put(out, names::CONTENT_LENGTH, itoa::Buffer::new().format(request.body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
