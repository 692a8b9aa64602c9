//! What the body of a request is, where it is not the payload as it came.

mod cloud_event;
mod envelope;
mod frame;
mod json;
mod packed;
mod templated;

use std::borrow::Cow;

pub use self::packed::unpack;
use self::{cloud_event::EventMaker, templated::Templated};
pub(super) use self::{frame::Frame, packed::Packer};
use super::{
    fault::Fault,
    request::{Field, forward::EventHeaders},
};
use crate::{base::clock::Time, config::Body, message::Message};

/// What makes the bodies of a route's requests, where they are not the payloads. One for each lane.
#[derive(Debug)]
pub(super) enum Format {
    /// What there is to know of the message, as JSON.
    Envelope,
    Template(Box<Templated>),
    CloudEvents(EventMaker),
}

/// A body, and what of the request follows from it.
#[derive(Debug)]
pub(super) struct Made<'b> {
    pub(super) body: Cow<'b, [u8]>,
    /// Where the operator sets none.
    pub(super) content_type: Cow<'b, [u8]>,
    /// Such as the attributes of an event in binary mode.
    pub(super) fields: Vec<Field<'b>>,
    /// Which of the publisher's headers belong to it.
    pub(super) events: EventHeaders,
}

impl<'b> Made<'b> {
    pub(super) fn payload(message: &'b Message, payload_type: &'b [u8]) -> Self {
        Self::body(&*message.payload, payload_type)
    }

    fn body(body: impl Into<Cow<'b, [u8]>>, content_type: impl Into<Cow<'b, [u8]>>) -> Self {
        let (body, content_type) = (body.into(), content_type.into());
        Self { body, content_type, fields: Vec::new(), events: EventHeaders::Allowed }
    }
}

impl Format {
    /// That of a webhook with this setting; none where bodies are payloads.
    pub(super) fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Raw => None,
            Body::Envelope => Some(Self::Envelope),
            Body::Template(template) => Some(Self::Template(Templated::new(template).into())),
            Body::CloudEvents(settings) => Some(Self::CloudEvents(EventMaker::new(settings))),
        }
    }

    /// What is made of `message`, whose payload is of this type, at an attempt that begins at `began`.
    ///
    /// # Errors
    /// Nothing can be made of this message, and nothing ever will.
    pub(super) fn make<'b>(
        &'b self,
        message: &'b Message,
        payload_type: &'b [u8],
        began: Time,
    ) -> Result<Made<'b>, Fault> {
        match self {
            Self::Envelope => Ok(Made::body(envelope::make(message, began), &b"application/json"[..])),
            Self::Template(template) => {
                Ok(Made::body(template.make(message, began)?, template.content_type()))
            }
            Self::CloudEvents(maker) => maker.make(message, payload_type, began),
        }
    }
}
