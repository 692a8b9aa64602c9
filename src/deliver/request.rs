//! From a message to the head of a request. The body is the payload as it is.

use crate::{
    config::Webhook,
    message::{Id, Message, header_safe},
};

/// What all requests of a route have in common, ready to be sent.
#[derive(Debug)]
pub struct Template {
    /// The request line and the header fields that are always the same.
    head: Vec<u8>,
    sets_content_type: bool,
}

impl Template {
    /// The requests to `webhook`.
    pub fn new(webhook: &Webhook) -> Self {
        let url = &webhook.url;
        let mut head = Vec::with_capacity(512);
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        put(&[b"POST ", url.path_and_query().as_bytes(), b" HTTP/1.1\r\n"]);
        put(&[b"host: ", url.authority().as_bytes(), b"\r\n"]);
        // The operator's headers win over ours; those that must not be touched are refused by the configuration.
        if !webhook.headers.contains_key("user-agent") {
            put(&[b"user-agent: ", USER_AGENT.as_bytes(), b"\r\n"]);
        }
        for (name, value) in &webhook.headers {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        Self { head, sets_content_type: webhook.headers.contains_key("content-type") }
    }

    /// Appends the head of the request for the present attempt at `message` to `out`.
    pub fn write(&self, message: &Message, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        if !self.sets_content_type {
            let given = message.headers.get("content-type").filter(|given| is_content_type(given));
            field(out, "content-type", given.unwrap_or("application/json"));
        }
        let mut buffer = uuid::Uuid::encode_buffer();
        let id = match &message.id {
            Id::Given(id) => id,
            Id::Made(id) => &*id.hyphenated().encode_lower(&mut buffer),
        };
        field(out, "webhook-id", id);
        field(out, "broadcaster-subject", &header_safe(&message.subject));
        let mut digits = itoa::Buffer::new();
        field(out, "broadcaster-attempt", digits.format(message.attempts));
        field(out, "content-length", digits.format(message.payload.len()));
        out.extend_from_slice(b"\r\n");
    }
}

const USER_AGENT: &str = concat!("broadcaster/", env!("CARGO_PKG_VERSION"));

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Whether the publisher's content type can be one. What is longer would only have the webhook refuse the request.
fn is_content_type(given: &str) -> bool {
    const LONGEST: usize = 256;
    let is_text = |byte: u8| byte == b'\t' || (b' '..0x7f).contains(&byte);
    !given.is_empty() && given.len() <= LONGEST && given.bytes().all(is_text)
}
