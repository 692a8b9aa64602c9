//! What a request says, apart from how it is written: the fields that all requests of a route have in common, and those
//! of one attempt. Those are prepared once for each attempt, so that a second try over a new connection sends the very
//! same.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use uuid::{Uuid, fmt::Hyphenated};

use crate::{
    base::clock::Time,
    config::Webhook,
    deliver::{body::Format, fault::Fault},
    message::{Id, batch::Batch, header_names::http as names, header_safe},
};

/// What all requests of a route have in common.
#[derive(Debug)]
pub struct Template {
    /// The method: always `POST`.
    pub method: &'static str,
    /// Path and query of the webhook's URL, as the request line has them.
    pub target: Box<str>,
    /// Host and port, as the field `Host` has them.
    pub authority: Box<str>,
    /// The fields that are always the same, the operator's among them.
    pub fields: Vec<(Box<str>, HeaderValue)>,
    /// Whether the operator sets the content type, which then wins over that of the publisher.
    sets_content_type: bool,
    /// How bodies are made, where they are not payloads.
    format: Option<Format>,
}

/// The request of one attempt.
#[derive(Debug)]
pub struct Request<'b> {
    /// When the attempt began.
    pub began: Time,
    /// Path and query, where they are not those of all requests.
    pub target: Option<String>,
    /// The body, byte for byte.
    pub body: Cow<'b, [u8]>,
    content_type: Option<Cow<'b, [u8]>>,
    id: IdText<'b>,
    subject: Cow<'b, str>,
    attempt: u32,
    /// What only some messages, or the requests of some routes, have.
    more: Vec<Field<'b>>,
}

/// Name and value of a field. The value is safe to send: without line breaks or other control characters.
type Field<'b> = (Cow<'b, str>, Cow<'b, [u8]>);

/// An id as text, without an allocation: one that was made is written into an array.
#[derive(Debug)]
enum IdText<'b> {
    Given(&'b str),
    Made([u8; Hyphenated::LENGTH]),
}

const USER_AGENT: &str = concat!("broadcaster/", env!("CARGO_PKG_VERSION"));

impl Template {
    /// The requests to `webhook`.
    pub fn new(webhook: &Webhook) -> Self {
        let mut fields = Vec::with_capacity(webhook.headers.len() + 1);
        // The operator's headers win over ours; those that must not be touched are refused by the configuration.
        if !webhook.headers.contains_key(names::USER_AGENT) {
            fields.push((names::USER_AGENT.into(), HeaderValue::from_static(USER_AGENT)));
        }
        fields.extend(webhook.headers.iter().map(|(name, value)| (in_usual_case(name), value.clone())));
        Self {
            method: "POST",
            target: webhook.url.path_and_query().into(),
            authority: webhook.url.authority().into(),
            fields,
            sets_content_type: webhook.headers.contains_key(names::CONTENT_TYPE),
            format: Format::of(&webhook.body),
        }
    }

    /// Prepares the request of the attempt at `batch` that begins at `began`. The content type is the operator's, else
    /// that of the body that is made, else the publisher's where it can be one, else `application/json`.
    ///
    /// # Errors
    /// No request can be made of the message, and none ever will: [`Failure::Unsendable`], with the reason. Or none can
    /// be made now.
    ///
    /// [`Failure::Unsendable`]: crate::message::outcome::Failure::Unsendable
    pub fn prepare<'b>(&'b self, batch: &'b Batch, began: Time) -> Result<Request<'b>, Fault> {
        debug_assert_eq!(batch.count(), 1, "one message is one body");
        let message = batch.first();
        let body = match &self.format {
            None => Cow::Borrowed(&*message.payload),
            Some(format) => format.make(message, began)?.into(),
        };
        let made = self.format.as_ref().map(Format::content_type);
        let given = || message.headers.get_bytes(names::CONTENT_TYPE).filter(|given| is_content_type(given));
        Ok(Request {
            began,
            target: None,
            body,
            content_type: (!self.sets_content_type)
                .then(|| made.or_else(given).unwrap_or(b"application/json").into()),
            id: IdText::from(&message.id),
            subject: header_safe(&message.subject),
            attempt: message.attempts,
            more: Vec::new(),
        })
    }
}

impl Request<'_> {
    /// Calls `put` with each field that is not the same for all requests, in the order in which they are sent. The
    /// length of the body is left to the wire format.
    pub fn each_field(&self, mut put: impl FnMut(&str, &[u8])) {
        if let Some(content_type) = &self.content_type {
            put(names::CONTENT_TYPE, content_type);
        }
        put(names::WEBHOOK_ID, self.id.as_bytes());
        put(names::SUBJECT, self.subject.as_bytes());
        put(names::ATTEMPT, itoa::Buffer::new().format(self.attempt).as_bytes());
        self.more.iter().for_each(|(name, value)| put(name, value));
    }
}

impl<'b> From<&'b Id> for IdText<'b> {
    fn from(id: &'b Id) -> Self {
        match id {
            Id::Given(id) => Self::Given(id),
            Id::Made(id) => {
                let mut text = [0; Hyphenated::LENGTH];
                Uuid::hyphenated(*id).encode_lower(&mut text);
                Self::Made(text)
            }
        }
    }
}

impl IdText<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Given(id) => id.as_bytes(),
            Self::Made(text) => text,
        }
    }
}

/// A name as it is usually written, which some receivers look for: `Authorization`, `X-Api-Key`.
fn in_usual_case(name: &HeaderName) -> Box<str> {
    let part = |part: &str| {
        let (first, rest) = part.split_at_checked(1).unwrap_or_default();
        first.to_ascii_uppercase() + rest
    };
    name.as_str().split('-').map(part).collect::<Vec<_>>().join("-").into()
}

/// Whether the publisher's content type can be one: printable ASCII, so that nobody can smuggle a second field into the
/// head. What is too long would only have the webhook refuse the request.
fn is_content_type(given: &[u8]) -> bool {
    const LONGEST: usize = 256;
    let is_text = |byte: u8| byte == b'\t' || (b' '..0x7f).contains(&byte);
    !given.is_empty() && given.len() <= LONGEST && given.iter().copied().all(is_text)
}
