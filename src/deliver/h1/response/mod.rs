//! Reading an HTTP/1.1 response (RFC 9112). No I/O: bytes in, an answer out.
//!
//! The status of the only answer to the only request counts as soon as it is clear, whatever is odd behind it. What is
//! odd leaves open where the response ends, and a guess could take a part of it for the next one, and count a message
//! as delivered that was not. So it ends the connection, and is said: two lengths, a length and chunks, any other
//! transfer coding, lines that are no fields, bytes behind the end, an end before its time. Only what leaves the status
//! in doubt is an error.

mod chunked;
mod head;
mod status_line;

use std::mem::MaybeUninit;

use self::{
    chunked::{BadChunk, Chunked, Part},
    head::{Head, MOST_FIELDS, Plain},
    status_line::{NOT_CLEAR, StatusLine},
};
use crate::deliver::{
    answer::Answer,
    known::Known,
    partial::{LARGEST_HEAD, MOST_INTERIM, Partial},
};

const SWITCHING_PROTOCOLS: u16 = 101;

/// What is on the wire is not a response, or not one with a clear status: why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// How far reading has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// The response is complete, or as much of it as matters.
    Complete {
        /// What it says.
        answer: Answer,
        /// Whether another request can be sent over the connection.
        reusable: bool,
    },
}

/// The head of the response that was read last.
pub type KnownHead = Known<Plain>;

/// Reads one response.
#[derive(Debug, Default)]
pub struct ResponseReader {
    state: ReadState,
    interim: u8,
    /// What is odd about an interim response.
    odd: Option<&'static str>,
    /// The status, where the head is not complete and its first line is.
    early: Option<u16>,
    partial: Partial,
    /// Whether the head allows another request over the connection.
    persistent: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReadState {
    #[default]
    Head,
    Body(Body),
}

/// The rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// So many bytes.
    Length(u64),
    Chunked(Chunked),
    /// It ends with the connection: neither a length nor chunks.
    Close,
}

/// What one step of reading came to.
enum Step {
    /// So many bytes, and there may be more to do.
    Taken(usize),
    /// More bytes are needed.
    Blocked,
    /// The response ends after so many bytes.
    End(usize),
    /// What follows is not read: the connection ends.
    GivenUp,
}

impl ResponseReader {
    /// Reads a response for a route that looks into answers, and keeps bodies of so many bytes, where it does.
    pub fn keeping(keeps: Option<usize>) -> Self {
        Self { partial: Partial::keeping(keeps), ..Self::default() }
    }

    /// Whether the body is of use to somebody.
    pub const fn keeps(&self) -> bool {
        self.partial.keeps()
    }

    /// Takes what it can from the front of `bytes`, which are all that was received and not taken yet. `ended` says
    /// that nothing will follow. Returns how many bytes were taken, and how far reading has come.
    pub fn read(&mut self, bytes: &[u8], ended: bool) -> Result<(usize, Progress), Malformed> {
        self.read_after(bytes, ended, &mut KnownHead::default())
    }

    /// The same of one that may begin as the one before.
    pub fn read_after(
        &mut self,
        bytes: &[u8],
        ended: bool,
        known: &mut KnownHead,
    ) -> Result<(usize, Progress), Malformed> {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let step = match self.state {
                ReadState::Head => self.head(rest, ended, known)?,
                ReadState::Body(Body::Length(left)) => self.length(rest, left),
                ReadState::Body(Body::Chunked(chunked)) => self.chunked(rest, chunked),
                ReadState::Body(Body::Close) => self.until_close(rest, ended),
            };
            match step {
                Step::Taken(count) => taken += count,
                Step::Blocked if !ended => return Ok((taken, Progress::More)),
                Step::Blocked => {
                    self.partial.note("the connection ended within the answer");
                    return self.complete(bytes.len(), false);
                }
                Step::End(count) => {
                    taken += count;
                    if taken < bytes.len() {
                        // They belong to no request of ours: taken for the next answer, they would count a message as
                        // delivered that was not even sent.
                        self.partial.note("bytes behind the end of the answer");
                    }
                    return self.complete(taken, self.persistent && !ended);
                }
                Step::GivenUp => return self.complete(bytes.len(), false),
            }
        }
    }

    /// The status of the final response, as soon as it is known.
    pub fn status(&self) -> Option<u16> {
        self.partial.status().or(self.early)
    }

    /// What is known, where nobody waits for the rest.
    pub fn give_up(&mut self) -> Option<Answer> {
        let status = self.status()?;
        self.partial.answer.get_or_insert_with(|| Answer::new(status));
        self.partial.note("the answer did not end in time");
        self.partial.finish()
    }

    fn complete(&mut self, taken: usize, reusable: bool) -> Result<(usize, Progress), Malformed> {
        let answer = self.partial.finish().ok_or(Malformed("the connection ended before an answer"))?;
        let reusable = reusable && answer.odd.is_none();
        Ok((taken, Progress::Complete { answer, reusable }))
    }

    fn head(&mut self, bytes: &[u8], ended: bool, known: &mut KnownHead) -> Result<Step, Malformed> {
        match known.beginning(bytes) {
            Some((plain, length)) if !self.keeps() => Ok(self.begin_body(plain.into(), length)),
            _ => self.new_head(bytes, ended, known),
        }
    }

    fn new_head(&mut self, bytes: &[u8], ended: bool, known: &mut KnownHead) -> Result<Step, Malformed> {
        // The parser skips empty lines at the beginning. They would be junk that follows the previous response.
        let begins = bytes.first() == Some(&b'H');
        // Not filled with empty fields first: nearly all of them stay unused.
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
            Ok(httparse::Status::Complete(length)) if begins && length <= LARGEST_HEAD => {
                let (Some(version), Some(status @ 100..)) = (response.version, response.code) else {
                    return Err(NOT_CLEAR);
                };
                let line = StatusLine { version, status };
                if status < 200 {
                    return self.interim(line, length);
                }
                let fields = response.headers.iter().map(|field| (field.name.as_bytes(), field.value));
                let head = Head::new(line, fields, self.keeps());
                if let Some(plain) = head.plain() {
                    known.keep(bytes.get(..length).unwrap_or_default(), plain);
                }
                Ok(self.begin_body(head, length))
            }
            Ok(httparse::Status::Partial) if !ended && bytes.len() < LARGEST_HEAD => {
                self.early = status_of(StatusLine::read(bytes, LARGEST_HEAD)?);
                Ok(Step::Blocked)
            }
            _ => self.odd_head(bytes, ended),
        }
    }

    /// Reads a head that the parser refuses, for the sake of its status.
    fn odd_head(&mut self, bytes: &[u8], ended: bool) -> Result<Step, Malformed> {
        let bytes = bytes.get(..LARGEST_HEAD).unwrap_or(bytes);
        let Some(line) = StatusLine::read(bytes, LARGEST_HEAD)? else { return Ok(Step::Blocked) };
        let lines = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        let lines = bytes.get(lines..).unwrap_or_default();
        let end = end_of_head(lines);
        if end.is_none() && !ended && bytes.len() < LARGEST_HEAD {
            self.early = status_of(Some(line));
            return Ok(Step::Blocked);
        }
        let length = end.map(|end| bytes.len() - lines.len() + end);
        if line.status < 200 {
            // What follows an interim response is only found where that one ends.
            let length = length.ok_or(Malformed("an interim answer without an end"))?;
            self.odd = Some("a malformed interim answer");
            return self.interim(line, length);
        }
        // A line that breaks off may say something else than it seems to.
        let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut head = Head::odd(line, lines.get(..whole).unwrap_or_default(), self.keeps());
        let Some(length) = length else {
            head.answer.note(if ended {
                "the connection ended within the header"
            } else {
                "the header is too large"
            });
            self.partial.answer = Some(head.answer);
            return Ok(Step::GivenUp);
        };
        head.answer.note("an unusual status line");
        Ok(self.begin_body(head, length))
    }

    fn interim(&mut self, line: StatusLine, length: usize) -> Result<Step, Malformed> {
        if line.status == SWITCHING_PROTOCOLS {
            // We ask for no upgrade. What follows is not HTTP, whatever it is.
            self.partial.answer = Some(Answer::new(line.status));
            return Ok(Step::GivenUp);
        }
        self.interim += 1;
        if self.interim > MOST_INTERIM {
            return Err(Malformed("interim answers only"));
        }
        Ok(Step::Taken(length))
    }

    fn begin_body(&mut self, mut head: Head, length: usize) -> Step {
        head.answer.odd = head.answer.odd.or(self.odd);
        let is_known = head.answer.is_delivery() && head.answer.odd.is_some();
        self.persistent = head.persistent;
        self.partial.answer = Some(head.answer);
        self.state = ReadState::Body(head.body);
        match head.body {
            // Nothing that follows matters: not the body of a delivery, and the connection ends anyway.
            _ if is_known => Step::GivenUp,
            Body::Length(0) => Step::End(length),
            _ => Step::Taken(length),
        }
    }

    fn length(&mut self, bytes: &[u8], left: u64) -> Step {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - taken as u64;
        let wanted = self.take_body(bytes, taken);
        self.state = ReadState::Body(Body::Length(left));
        if left == 0 { Step::End(taken) } else { body_step(taken, wanted) }
    }

    fn until_close(&mut self, bytes: &[u8], ended: bool) -> Step {
        let wanted = self.take_body(bytes, bytes.len());
        self.persistent = false;
        if ended { Step::End(bytes.len()) } else { body_step(bytes.len(), wanted) }
    }

    fn chunked(&mut self, bytes: &[u8], mut chunked: Chunked) -> Step {
        let part = chunked.next(bytes);
        self.state = ReadState::Body(Body::Chunked(chunked));
        match part {
            Ok(Part::Incomplete) => Step::Blocked,
            Ok(Part::Coding(taken)) => Step::Taken(taken),
            Ok(Part::Data(taken)) => body_step(taken, self.take_body(bytes, taken)),
            Ok(Part::End(taken)) => Step::End(taken),
            Err(BadChunk) => {
                self.partial.note("a malformed chunk");
                Step::GivenUp
            }
        }
    }

    /// The first `count` of `bytes` are part of the body. Returns whether more of it is wanted.
    fn take_body(&mut self, bytes: &[u8], count: usize) -> bool {
        self.partial.take_body(bytes.get(..count).unwrap_or_default())
    }
}

fn body_step(taken: usize, wanted: bool) -> Step {
    match taken {
        // The status has said what matters: the answer stands, and only the connection is given up.
        _ if !wanted => Step::GivenUp,
        0 => Step::Blocked,
        _ => Step::Taken(taken),
    }
}

/// The status, where it is that of a final response.
fn status_of(line: Option<StatusLine>) -> Option<u16> {
    line.map(|line| line.status).filter(|status| *status >= 200)
}

/// How long the rest of a head is: up to the first empty line.
fn end_of_head(lines: &[u8]) -> Option<usize> {
    let mut start = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        start += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests;
