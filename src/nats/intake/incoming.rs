//! A message as the server sent it.

use std::borrow::Cow;

use bytes::{Buf as _, Bytes};
use memchr::memmem;

use super::line::{Head, LINE_END, Span, short};
use crate::message::Headers;

/// A message as it came from the server: everything of it is a slice of the block that it was read into, and read no
/// further than somebody asks. Nothing in it is an error, whatever the publisher has put there.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The whole operation: its line, headers and payload.
    block: Bytes,
    sid: u64,
    subject: Span,
    /// Empty where there is none.
    reply: Span,
    /// Where the headers begin, which end where the payload begins.
    headers: u32,
    payload: u32,
}

/// What a header block begins with.
const VERSION: &[u8] = b"NATS/1.0";

impl Incoming {
    /// The message in `block`, which has all of it and the end of the line behind the payload.
    #[inline]
    pub(super) fn new(mut block: Bytes, head: &Head) -> Self {
        let Head { sid, subject, reply, line, headers, size } = *head;
        block.truncate(line + size);
        Self { block, sid, subject, reply, headers: short(line), payload: short(line + headers) }
    }

    /// The subscription that it is for.
    pub const fn sid(&self) -> u64 {
        self.sid
    }

    /// The subject that it was published to. What is not UTF-8 is replaced.
    pub fn subject(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.subject_bytes())
    }

    /// The subject that it was published to, as it came.
    pub fn subject_bytes(&self) -> &[u8] {
        self.at(self.subject)
    }

    /// Where an answer goes. None where none is wanted, or where it is not UTF-8: no subject of NATS's own is, and there is
    /// nobody whom an answer would reach under another one.
    pub fn reply(&self) -> Option<&str> {
        str::from_utf8(self.at(self.reply)).ok().filter(|reply| !reply.is_empty())
    }

    /// The status that the server says something by that is no message, such as 503 where nobody answers requests.
    ///
    /// A publisher can write one too: what has come from a stream is a message, whatever this says.
    pub fn status(&self) -> Option<u16> {
        let (status, _) = self.status_line();
        let digits = status.len() == 3 && status.iter().all(u8::is_ascii_digit);
        digits.then(|| status.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
    }

    /// What the server says beside the status.
    pub fn description(&self) -> &str {
        let (_, description) = self.status_line();
        str::from_utf8(description).unwrap_or_default()
    }

    /// The headers.
    pub fn headers(&self) -> Headers {
        let Some(lines) = self.header_lines() else { return Headers::default() };
        Headers::from_lines(self.block.slice_ref(lines))
    }

    /// The first value of the header `name`, in any spelling of upper and lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().get(name).map(Cow::into_owned)
    }

    /// The payload.
    pub fn payload(&self) -> Bytes {
        self.block.slice(self.payload as usize..)
    }

    /// The headers and the payload. Spares the memory's count of its users an up and down against asking for both.
    pub fn into_parts(mut self) -> (Headers, Bytes) {
        let headers = self.headers();
        self.block.advance(self.payload as usize);
        (headers, self.block)
    }

    /// The size that the server counts it with where it limits bytes: subject, reply, headers and payload.
    pub fn length(&self) -> usize {
        self.subject_bytes().len()
            + self.at(self.reply).len()
            + self.block.len().saturating_sub(self.headers as usize)
    }

    fn at(&self, span: Span) -> &[u8] {
        self.block.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The header block; nothing where there is none.
    fn header_block(&self) -> &[u8] {
        self.at(Span { start: self.headers, end: self.payload })
    }

    /// The lines between the version line and the empty one at the end. A block that does not begin with a version line
    /// has lines all the same.
    fn header_lines(&self) -> Option<&[u8]> {
        let block = self.header_block();
        if block.is_empty() {
            return None;
        }
        let lines = if block.starts_with(VERSION) {
            memmem::find(block, LINE_END).and_then(|end| block.get(end + LINE_END.len()..))?
        } else {
            block
        };
        let lines = lines.strip_suffix(LINE_END).unwrap_or(lines);
        (!lines.is_empty()).then_some(lines)
    }

    /// Status and description behind the version.
    fn status_line(&self) -> (&[u8], &[u8]) {
        let Some(rest) = self.header_block().strip_prefix(VERSION) else { return Default::default() };
        let line = memmem::find(rest, LINE_END).and_then(|end| rest.get(..end)).unwrap_or(rest).trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (status, description) = line.split_at(end);
        (status, description.trim_ascii())
    }
}
