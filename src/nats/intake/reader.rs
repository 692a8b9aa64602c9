//! What a server says, read from bytes as they arrive. No I/O.

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;

use super::{
    incoming::Incoming,
    line::{Head, LINE_END, Verb, may_begin_operation, verb, without_end},
};

/// How much is read at a time, at most. Messages are slices of such a block.
const BLOCK: usize = 64 * 1024;
/// With less room than this in a block, another is begun.
const LEAST_ROOM: usize = 8 * 1024;
/// The longest line. The server's limit for what clients send, 4 KiB unless it is configured, is none for what it
/// sends: that has the reply subjects of acknowledgements besides, and large clusters announce many servers.
const LONGEST_LINE: usize = 1024 * 1024;
/// How large a message may be whatever the server says of its limit: that may have been lowered when the message was in a
/// stream already, and then it would break each connection, for ever.
const LEAST_LIMIT: usize = 64 * 1024 * 1024;
/// What a message may be larger than the server's limit, by the headers that servers add to it.
const ADDED_HEADERS: usize = 64 * 1024;
/// The largest limit. What is in a message is addressed with 32 bits.
const LARGEST_LIMIT: usize = 1 << 31;

/// Reads the server's side of the protocol, in its own blocks.
///
/// The connection reads into [`Reader::room`], and then takes operations with [`Reader::next`] until there is none. After
/// an error the connection has to be closed: where the next operation begins is not known.
#[derive(Debug)]
pub struct Reader {
    block: BytesMut,
    /// The size of the memory behind `block`.
    size: usize,
    /// The largest message since this memory was begun to be filled.
    largest: usize,
    /// How much of an unfinished line was searched for its end.
    searched: usize,
    /// The message whose line is there and which is not.
    begun: Option<Head>,
    /// How large a message may be.
    limit: usize,
}

/// What the server says.
#[derive(Clone, Debug)]
pub enum Operation {
    /// What it has to say about itself, in JSON.
    Info(Bytes),
    /// A message.
    Message(Incoming),
    /// It wants to know whether we are there.
    Ping,
    /// It has handled everything up to our last ping.
    Pong,
    /// It has taken an operation.
    Ok,
    /// Something is wrong, in its own words.
    Error(Bytes),
}

/// What the server has sent is not the protocol of NATS: the connection can't be used any more.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// A line begins with no operation.
    #[error("this is not what a NATS server says: {0:?}")]
    Unknown(String),
    /// A line has no end.
    #[error("a line does not end within a megabyte: {0:?}")]
    LineTooLong(String),
    /// The line of a message has too few fields, too many, or no number where one should be.
    #[error("the line of a message makes no sense: {0:?}")]
    Line(String),
    /// Headers are a part of the message, and can't be larger.
    #[error("the headers of a message are {headers} bytes, and all of it is {size}")]
    Headers {
        /// The size of the headers.
        headers: usize,
        /// The size of the message.
        size: usize,
    },
    /// A message is larger than the server itself allows.
    #[error("a message is {size} bytes, more than the {limit} that the server allows")]
    TooLarge {
        /// The size of the message.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A message does not end where it should.
    #[error("a message is longer than the server says")]
    NoEnd,
}

impl Default for Reader {
    fn default() -> Self {
        let limit = LEAST_LIMIT + ADDED_HEADERS;
        Self { block: BytesMut::new(), size: 0, largest: 0, searched: 0, begun: None, limit }
    }
}

impl Reader {
    /// Where the connection reads into: there is always room, and never more of it than what has arrived of a message justifies.
    pub fn room(&mut self) -> &mut BytesMut {
        let held = self.block.len();
        let missing = self.begun.map_or(0, |head| head.end().saturating_sub(held));
        // What a message says of its size is only a claim. Room is made for it as its bytes come, by doubling.
        let wanted = missing.clamp(LEAST_ROOM, held.max(BLOCK));
        if self.block.capacity() - held < wanted {
            self.begin_block(wanted);
        }
        &mut self.block
    }

    /// The next operation, once it is there to the last byte.
    #[expect(clippy::should_implement_trait, reason = "it may fail, and may have more later")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Operation>, ProtocolError> {
        if let Some(head) = self.begun {
            return self.message(&head);
        }
        let Some(length) = self.line_length()? else { return Ok(None) };
        let (line, _) = self.block.split_at(length);
        if length <= LONGEST_LINE
            && let Some(fields) = without_end(line).strip_prefix(b"MSG ")
        {
            let Some(head) = Head::parse(line, fields, false) else {
                return Err(ProtocolError::Line(excerpt(line)));
            };
            check_sizes(&head, self.limit)?;
            return self.message(&head);
        }
        self.less_usual(length)
    }

    /// Any other operation than a plain message, whose line has this `length`.
    fn less_usual(&mut self, length: usize) -> Result<Option<Operation>, ProtocolError> {
        let (line, _) = self.block.split_at(length);
        let (verb, rest) = verb(line).ok_or_else(|| ProtocolError::Unknown(excerpt(line)))?;
        if length > LONGEST_LINE {
            return Err(ProtocolError::LineTooLong(excerpt(line)));
        }
        let operation = match verb {
            Verb::Message | Verb::MessageWithHeaders => {
                let has_headers = matches!(verb, Verb::MessageWithHeaders);
                let head = Head::parse(line, rest, has_headers);
                let head = head.ok_or_else(|| ProtocolError::Line(excerpt(line)))?;
                check_sizes(&head, self.limit)?;
                return self.message(&head);
            }
            Verb::Ping => Operation::Ping,
            Verb::Pong => Operation::Pong,
            Verb::Ok => Operation::Ok,
            Verb::Info => Operation::Info(Bytes::copy_from_slice(rest.trim_ascii())),
            Verb::Error => Operation::Error(Bytes::copy_from_slice(unquoted(rest))),
        };
        drop(self.split_off(length));
        Ok(Some(operation))
    }

    /// Takes note of the server's own limit for the size of a message.
    pub fn set_max_payload(&mut self, max_payload: usize) {
        self.limit = max_payload.clamp(LEAST_LIMIT, LARGEST_LIMIT) + ADDED_HEADERS;
    }

    /// Whether nothing is there of another operation.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The length of the line that the block begins with, its end included; None where that is not there yet.
    fn line_length(&mut self) -> Result<Option<usize>, ProtocolError> {
        let unsearched = self.block.get(self.searched..).unwrap_or_default();
        if let Some(newline) = memchr(b'\n', unsearched) {
            return Ok(Some(self.searched + newline + 1));
        }
        self.searched = self.block.len();
        // A peer that speaks another protocol may never end its line.
        if !may_begin_operation(&self.block) {
            return Err(ProtocolError::Unknown(excerpt(&self.block)));
        }
        if self.searched >= LONGEST_LINE {
            return Err(ProtocolError::LineTooLong(excerpt(&self.block)));
        }
        Ok(None)
    }

    /// The message that `head` announces, where all of it is there.
    #[inline]
    fn message(&mut self, head: &Head) -> Result<Option<Operation>, ProtocolError> {
        let end = head.end();
        match self.block.get(end - LINE_END.len()..end) {
            Some(LINE_END) => {}
            Some(_) => return Err(ProtocolError::NoEnd),
            None => {
                self.begun = Some(*head);
                return Ok(None);
            }
        }
        self.begun = None;
        self.largest = self.largest.max(end);
        Ok(Some(Operation::Message(Incoming::new(self.split_off(end), head))))
    }

    #[inline]
    fn split_off(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        self.block.split_to(length).freeze()
    }

    /// Goes on in a block with room for `wanted` more: in this one, where all that it had is gone.
    #[cold]
    fn begin_block(&mut self, wanted: usize) {
        let needed = self.block.len() + wanted;
        // A block that one large message has made large is not kept for small ones.
        let is_too_large = self.size > BLOCK && self.largest.max(needed) <= BLOCK;
        self.largest = 0;
        if is_too_large || !self.block.try_reclaim(wanted) {
            let mut block = BytesMut::with_capacity(needed.max(BLOCK));
            block.extend_from_slice(&self.block);
            self.size = block.capacity();
            self.block = block;
        }
    }
}

/// Whether the sizes make sense.
#[inline]
fn check_sizes(head: &Head, limit: usize) -> Result<(), ProtocolError> {
    let Head { headers, size, .. } = *head;
    if headers > size {
        Err(ProtocolError::Headers { headers, size })
    } else if size > limit {
        Err(ProtocolError::TooLarge { size, limit })
    } else {
        Ok(())
    }
}

/// The server's words without the quotes that it puts around them.
fn unquoted(words: &[u8]) -> &[u8] {
    let words = words.trim_ascii();
    words.strip_prefix(b"'").and_then(|words| words.strip_suffix(b"'")).unwrap_or(words)
}

/// How `line` begins, for an error.
fn excerpt(line: &[u8]) -> String {
    const LONGEST: usize = 80;
    String::from_utf8_lossy(line.get(..LONGEST).unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests;
