//! What a request says, apart from how it is written: the fields that all requests of a route have in common, and those
//! of one attempt. Those are prepared once for each attempt, so that a second try over a new connection sends the very
//! same.

mod address;
pub mod forward;
mod made_headers;
mod many;
mod packing;

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use http::{HeaderName, HeaderValue};
use uuid::{Uuid, fmt::Hyphenated};

use self::{
    address::Address,
    forward::{EventHeaders, Forward},
    made_headers::MadeHeaders,
};
use super::{
    body::{Format, Frame, Made, Packer},
    endpoint::Endpoint,
    fault::Fault,
    login::{Credential, Login},
    notices::Notices,
    sign::Signer,
};
use crate::{
    base::clock::Time,
    config::{self, Webhook},
    message::{Id, Message, batch::Batch, header_names::http as names, header_safe},
};

/// What all requests of a route have in common.
#[derive(Debug)]
pub struct Template {
    /// The method, in upper case as the request line has it.
    pub method: &'static str,
    /// Path and query of the webhook's URL, as the request line has them, where no message has others.
    pub target: Box<str>,
    /// Host and port, as the field `Host` has them.
    pub authority: Box<str>,
    /// The fields that are always the same, the operator's among them.
    pub fields: Vec<(Box<str>, HeaderValue)>,
    /// Whether the operator sets the content type, which then wins over that of the publisher.
    sets_content_type: bool,
    /// How path and query are made for each message.
    address: Option<Address>,
    /// The operator's fields that are not always the same.
    made_headers: Option<MadeHeaders>,
    /// Which of the publisher's headers go with them.
    forward: Forward,
    notices: Notices,
    /// How bodies are made, where they are not payloads.
    format: Option<Format>,
    /// How messages stand together in a body; none where each has a request of its own.
    frame: Option<Frame>,
    /// Compresses bodies, where that is wanted.
    packer: Option<Packer>,
    signer: Option<Arc<Signer>>,
    /// What the webhook is logged in to with, where that may change.
    login: Option<Login>,
}

/// The fields and the body of one attempt, from which a wire format makes bytes as often as it has to.
#[derive(Debug)]
pub struct Request<'b> {
    /// When the attempt began: its deadline counts from then.
    pub began: Time,
    /// Path and query, where they are not those of all requests.
    pub target: Option<String>,
    /// The body as it is sent. The payload, where none is made, is not copied.
    pub body: Cow<'b, [u8]>,
    content_type: Option<Cow<'b, [u8]>>,
    /// How the body is compressed, where it is.
    encoding: Option<&'static str>,
    id: IdText<'b>,
    /// None where the messages of a batch have several.
    subject: Option<Cow<'b, str>>,
    attempt: u32,
    /// What only some messages, or the requests of some routes, have.
    more: Vec<Field<'b>>,
    /// What it logs in with, where that is not among the fields of all.
    credential: Option<Arc<Credential>>,
}

/// Name and value of a field. The value is safe to send: without line breaks or other control characters.
pub type Field<'b> = (Cow<'b, str>, Cow<'b, [u8]>);

/// An id as text, without an allocation: one that was made is written into an array.
#[derive(Debug)]
enum IdText<'b> {
    Given(&'b str),
    Made([u8; Hyphenated::LENGTH]),
    Text(String),
}

const USER_AGENT: &str = concat!("broadcaster/", env!("CARGO_PKG_VERSION"));

impl Template {
    /// The requests to `webhook`, which is the `endpoint`.
    pub fn new(webhook: &Webhook, endpoint: &Endpoint) -> Self {
        let is_set = |name: &str| webhook.sets_headers().any(|set| set.eq_ignore_ascii_case(name));
        let is_in_file = |name| webhook.header_files.iter().any(|(other, _)| other == name);
        let mut fields = Vec::with_capacity(webhook.headers.len() + 1);
        // The operator's headers win over ours; those that must not be touched are refused by the configuration.
        if !is_set(names::USER_AGENT) {
            fields.push((names::USER_AGENT.into(), HeaderValue::from_static(USER_AGENT)));
        }
        let fixed = webhook.headers.iter().filter(|(name, _)| !is_in_file(*name));
        fields.extend(fixed.map(|(name, value)| (in_usual_case(name), value.clone())));
        let login = endpoint.login.as_ref();
        let header = login.and_then(Login::fixed);
        fields.extend(header.map(|header| (names::AUTHORIZATION.into(), header.clone())));
        Self {
            method: webhook.method.as_str(),
            target: webhook.url.path_and_query().into(),
            authority: webhook.url.authority().into(),
            fields,
            sets_content_type: is_set(names::CONTENT_TYPE),
            address: webhook.url.template().map(Address::new),
            made_headers: MadeHeaders::of(webhook, endpoint),
            forward: Forward::to(webhook),
            notices: endpoint.notices.clone(),
            format: Format::of(&webhook.body),
            frame: None,
            packer: webhook.compression.map(Packer::new),
            signer: endpoint.signer.clone(),
            login: login.filter(|_| header.is_none()).cloned(),
        }
    }

    /// The same, of batches as these settings have them.
    #[must_use]
    pub fn batching(self, batch: &config::Batch) -> Self {
        Self { frame: Frame::of(batch), ..self }
    }

    /// Prepares the request of the attempt at `batch` that begins at `began`. The content type is the operator's, else
    /// that of the body that is made, else the publisher's where it can be one, else `application/json`.
    ///
    /// # Errors
    /// No request can be made of the message, and none ever will: [`Failure::Unsendable`], with the reason. Or none can
    /// be made now.
    ///
    /// [`Failure::Unsendable`]: crate::message::outcome::Failure::Unsendable
    #[inline]
    pub fn prepare<'b>(&'b self, batch: &'b Batch, began: Time) -> Result<Request<'b>, Fault> {
        let mut prepared = match &self.frame {
            None => self.one(batch.first(), began),
            Some(frame) => self.many(frame, batch, began),
        };
        // Changed where it is: it is large, and this is done for each message.
        if let Ok(request) = &mut prepared {
            self.complete(request)?;
        }
        prepared
    }

    /// Does what is about all of a request.
    #[inline]
    fn complete<'b>(&'b self, request: &mut Request<'b>) -> Result<(), Fault> {
        // When all is in its place that may be signed, and before the body is compressed: most receivers have it
        // decompressed before anything of theirs gets to see it.
        if let Some(signer) = &self.signer {
            request.sign(signer, SystemTime::now())?;
        }
        if let Some(packer) = &self.packer {
            request.pack(packer);
        }
        if let Some(login) = &self.login {
            self.log_in(login, request)?;
        }
        Ok(())
    }

    /// The request for `message` alone.
    #[inline]
    fn one<'b>(&'b self, message: &'b Message, began: Time) -> Result<Request<'b>, Fault> {
        let given = message.headers.get_bytes(names::CONTENT_TYPE).filter(|given| is_content_type(given));
        let payload_type = given.unwrap_or(b"application/json");
        let Made { body, content_type, fields: mut more, events } = match &self.format {
            None => Made::payload(message, payload_type),
            Some(format) => format.make(message, payload_type, began)?,
        };
        if let Some(made) = &self.made_headers {
            made.add(message, began, &mut more)?;
        }
        if let Some(way) = &message.way {
            self.forward.add_trace(way, &mut more);
        }
        if !message.headers.is_empty() {
            self.forward(message, events, began, &mut more);
        }
        Ok(Request {
            began,
            target: self.address.as_ref().map(|address| address.target(message, began)).transpose()?,
            body,
            content_type: (!self.sets_content_type).then_some(content_type),
            encoding: None,
            id: IdText::from(&message.id),
            subject: Some(header_safe(&message.subject)),
            attempt: message.attempts,
            more,
            credential: None,
        })
    }

    /// Adds those of the publisher's headers that are allowed to `fields`.
    fn forward<'b>(
        &self,
        message: &'b Message,
        events: EventHeaders,
        now: Time,
        fields: &mut Vec<Field<'b>>,
    ) {
        let has_trace = message.way.is_some();
        if let Some((name, why)) = self.forward.add(&message.headers, events, has_trace, fields) {
            self.notices.odd_header(name, why, now);
        }
    }

    /// The last that is done to a request: a signature is about all of it.
    fn log_in(&self, login: &Login, request: &mut Request<'_>) -> Result<(), Fault> {
        request.credential = login.credential()?;
        if let Some(signer) = login.signer() {
            let target = request.target.as_deref().unwrap_or(&self.target);
            let headers = signer.headers(self.method, target, &request.body, SystemTime::now())?;
            let field = |(name, value): (&'static str, String)| (name.into(), value.into_bytes().into());
            request.more.extend(headers.into_iter().map(field));
        }
        Ok(())
    }

    /// What the answer `status` to `request` at `now` comes to, where it is about a token that is exchanged now: no refusal.
    pub fn login_fault(&self, request: &Request<'_>, status: u16, now: Time) -> Option<Fault> {
        const UNAUTHORIZED: u16 = 401;
        if status != UNAUTHORIZED {
            return None;
        }
        self.login.as_ref()?.refused(request.credential.as_ref()?, now)
    }
}

/// What the fields of a request are written to.
pub trait FieldSink {
    /// Takes the next field.
    fn put(&mut self, name: &str, value: &[u8]);
}

impl<F: FnMut(&str, &[u8])> FieldSink for F {
    fn put(&mut self, name: &str, value: &[u8]) {
        self(name, value);
    }
}

impl<'b> Request<'b> {
    fn sign(&mut self, signer: &'b Signer, now: SystemTime) -> Result<(), Fault> {
        if let Some(escaped) = signer.escaped(self.id.as_bytes()) {
            self.id = IdText::Text(escaped);
        }
        let fields = signer.sign(self.id.as_bytes(), &self.body, now)?;
        self.more.extend(fields.into_iter().flatten());
        Ok(())
    }

    /// Puts each field into `out` that is not the same for all requests, in the order in which they are sent. The
    /// length of the body is left to the wire format.
    #[inline]
    pub fn each_field(&self, out: &mut impl FieldSink) {
        if let Some(content_type) = &self.content_type {
            out.put(names::CONTENT_TYPE, content_type);
        }
        if let Some(credential) = &self.credential {
            out.put(names::AUTHORIZATION, credential.header.as_bytes());
        }
        out.put(names::WEBHOOK_ID, self.id.as_bytes());
        if let Some(subject) = &self.subject {
            out.put(names::SUBJECT, subject.as_bytes());
        }
        out.put(names::ATTEMPT, itoa::Buffer::new().format(self.attempt).as_bytes());
        self.more.iter().for_each(|(name, value)| out.put(name, value));
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
            Self::Text(id) => id.as_bytes(),
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
pub(super) fn is_content_type(given: &[u8]) -> bool {
    const LONGEST: usize = 256;
    let is_text = |byte: u8| byte == b'\t' || (b' '..0x7f).contains(&byte);
    !given.is_empty() && given.len() <= LONGEST && given.iter().copied().all(is_text)
}
