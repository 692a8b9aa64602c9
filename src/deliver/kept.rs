//! What is kept of an answer, for a route that makes something of answers.

use std::time::{Duration, SystemTime};

use super::{
    answer::retry_after,
    verdict::{NoVerdict, Verdict},
};
use crate::{
    config,
    message::{answer::Content, header_names::http as names},
};

/// What a route makes of answers, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// How much of a body is kept, in bytes; of a longer one nothing is.
    pub limit: usize,
    /// Whether the webhook may say in them what to do with a message.
    pub verdict: bool,
}

/// What is kept of an answer for a route that looks into answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What the body is (`Content-Type`).
    pub content_type: Option<Box<[u8]>>,
    /// What the webhook says to do with the message.
    pub verdict: Option<Box<[u8]>>,
    /// How long it asks to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The body, as far as it was read; nothing where it is too long.
    pub body: Vec<u8>,
    /// Whether it is too long.
    pub is_too_long: bool,
}

impl Use {
    /// That of a route with these settings.
    pub fn of(settings: &config::Answer) -> Self {
        Self { limit: settings.limit.get(), verdict: settings.verdict }
    }
}

impl Kept {
    /// Keeps the field that it is for.
    pub(super) fn describe(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(names::CONTENT_TYPE.as_bytes()) {
            self.content_type.get_or_insert_with(|| value.into());
        } else if name.eq_ignore_ascii_case(names::VERDICT.as_bytes()) {
            self.verdict.get_or_insert_with(|| value.into());
        } else if name.eq_ignore_ascii_case(b"retry-after") {
            self.retry_after = self.retry_after.or_else(|| retry_after(value, SystemTime::now));
        }
    }

    /// Takes a part of the body, of which `limit` bytes are kept at most.
    pub(super) fn keep(&mut self, body: &[u8], limit: usize) {
        self.is_too_long |= self.body.len() + body.len() > limit;
        if self.is_too_long {
            self.body = Vec::new();
        } else {
            self.body.extend_from_slice(body);
        }
    }

    /// What the webhook says to do with the message. The header is the shorter way, and wins.
    pub(super) fn verdict(&self) -> Result<Option<Verdict>, NoVerdict> {
        match &self.verdict {
            Some(header) => Verdict::of_header(header).map(Some),
            None => Verdict::of_body(&self.body),
        }
    }

    /// An answer with this status, about which this was `odd`. Half a body could be taken for a whole one: it is left out.
    pub(super) fn into_content(self, status: u16, odd: Option<&'static str>) -> Content {
        let left_out = if self.is_too_long { Some("it is longer than answer.limit") } else { odd };
        let body = if left_out.is_some() { Vec::new() } else { self.body };
        Content { status, content_type: self.content_type, body, left_out, verdicts: Vec::new() }
    }
}
