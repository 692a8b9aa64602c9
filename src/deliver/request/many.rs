//! The request of a batch.

use std::fmt::Write as _;

use ring::digest::{Context, SHA256};

use super::{IdText, Request, Template, names};
use crate::{
    base::clock::Time,
    deliver::{body::Frame, fault::Fault},
    message::{Id, batch::Batch},
};

impl Template {
    /// The request for all messages of `batch`, which stand together as `frame` has it.
    ///
    /// None of the publishers' headers go with it, as each message may have others; and the subject only where all have
    /// the same.
    pub(super) fn many<'b>(
        &'b self,
        frame: &Frame,
        batch: &'b Batch,
        began: Time,
    ) -> Result<Request<'b>, Fault> {
        let body = frame.make(self.format.as_ref(), batch, began)?;
        let mut more = Vec::with_capacity(4);
        let count = itoa::Buffer::new().format(batch.count()).as_bytes().to_vec();
        more.push((names::COUNT.into(), count.into()));
        if let Some(made) = &self.made_headers {
            made.add(batch.first(), began, &mut more)?;
        }
        if let Some(traceparent) = batch.traceparent() {
            self.forward.add_traceparent(traceparent, &mut more);
        } else if let Some(way) = &batch.first().way {
            self.forward.add_trace(way, &mut more);
        }
        let subject = &batch.first().subject;
        let is_same = batch.iter().all(|message| message.subject == *subject);
        Ok(Request {
            began,
            target: None,
            body: body.into(),
            content_type: (!self.sets_content_type).then(|| frame.content_type().into()),
            encoding: None,
            id: id(batch),
            subject: is_same.then(|| super::header_safe(subject)),
            attempt: batch.iter().map(|message| message.attempts).max().unwrap_or_default(),
            more,
            credential: None,
        })
    }
}

/// The id of a batch: that of its only message, or one that is made of the ids of all, so that it is the same whenever the
/// same messages go together in the same order. Ids are the publishers': only a hash that nobody finds collisions of keeps
/// them from giving a batch the id of another one, which a receiver would drop.
fn id(batch: &Batch) -> IdText<'_> {
    if batch.count() == 1 {
        return IdText::from(&batch.first().id);
    }
    let mut hash = Context::new(&SHA256);
    for message in batch.iter() {
        let id = match &message.id {
            Id::Given(id) => id.as_bytes(),
            Id::Made(id) => id.as_bytes(),
        };
        // With the length before it, so that no two lists of ids are the same bytes.
        hash.update(&id.len().to_le_bytes());
        hash.update(id);
    }
    let mut text = "batch-".to_owned();
    for byte in hash.finish().as_ref().iter().take(16) {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    IdText::Text(text)
}
