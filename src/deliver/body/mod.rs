//! What the body of a request is, where it is not the payload as it came.

mod envelope;
mod templated;

use self::templated::Templated;
use super::fault::Fault;
use crate::{base::clock::Time, config::Body, message::Message};

/// How bodies are made, on one lane.
#[derive(Debug)]
pub(super) enum Format {
    /// What there is to know of the message, as JSON.
    Envelope,
    /// What the operator's template says.
    Template(Templated),
}

impl Format {
    /// That of a webhook with this setting; none where bodies are payloads.
    pub(super) fn of(body: &Body) -> Option<Self> {
        match body {
            Body::Raw => None,
            Body::Envelope => Some(Self::Envelope),
            Body::Template(template) => Some(Self::Template(Templated::new(template))),
        }
    }

    /// The body for `message`, at an attempt that begins at `began`.
    ///
    /// # Errors
    /// None can be made of this message, and none ever will.
    pub(super) fn make(&self, message: &Message, began: Time) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Envelope => Ok(envelope::make(message, began)),
            Self::Template(template) => template.make(message, began),
        }
    }

    /// What such a body is.
    pub(super) fn content_type(&self) -> &[u8] {
        match self {
            Self::Envelope => b"application/json",
            Self::Template(template) => template.content_type(),
        }
    }
}
