//! A line of the server: what it begins with, and the fields of a message's.

use memchr::memchr2;

/// What ends a line.
pub(super) const LINE_END: &[u8] = b"\r\n";

/// What a line begins with.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Message,
    MessageWithHeaders,
    Ping,
    Pong,
    Ok,
    Error,
    Info,
}

/// The verbs as they are written, in any case.
const VERBS: [(&[u8], Verb); 7] = [
    (b"MSG", Verb::Message),
    (b"HMSG", Verb::MessageWithHeaders),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Error),
    (b"INFO", Verb::Info),
];

/// Where something is in the block. An operation is never as long as four gigabytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// A place within an operation, which the reader's limits keep below four gigabytes.
pub(super) fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// What the line of a message says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub sid: u64,
    pub subject: Span,
    /// Empty where there is none.
    pub reply: Span,
    /// How long the line is, its end included.
    pub line: usize,
    /// How long the headers are.
    pub headers: usize,
    /// How long headers and payload are together.
    pub size: usize,
}

impl Head {
    /// What `line` says, whose `fields` are subject, subscription, perhaps a reply subject, perhaps the size of the headers, and
    /// the size of it all. None where it makes no sense.
    #[inline]
    pub(super) fn parse(line: &[u8], fields: &[u8], has_headers: bool) -> Option<Self> {
        let place = |field: &[u8]| {
            // Fields are slices of the line.
            let start = field.as_ptr() as usize - line.as_ptr() as usize;
            Span { start: short(start), end: short(start + field.len()) }
        };
        let mut fields = Fields(fields);
        let subject = fields.first_word()?;
        let size = fields.last_number()?;
        let headers = if has_headers { fields.last_number()? } else { 0 };
        let sid = fields.first_number()?;
        let reply = if fields.is_empty() { Span::default() } else { place(fields.first_word()?) };
        fields.is_empty().then(|| Self {
            sid,
            subject: place(subject),
            reply,
            line: line.len(),
            headers,
            size,
        })
    }

    /// Where the message ends, with the end of the line behind it.
    pub(super) const fn end(&self) -> usize {
        self.line + self.size + LINE_END.len()
    }
}

/// More digits than any server sends, zeros in front included, and fewer than would overflow.
const MOST_DIGITS: usize = 19;

/// The fields of a line, which blanks are between, from both of its ends. This is done to every message, so a number is
/// read while its end is looked for.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn first_word(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let end = memchr2(b' ', b'\t', self.0).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    #[inline]
    fn first_number(&mut self) -> Option<u64> {
        self.skip_blanks();
        let (mut number, mut count) = (0, 0);
        while let [first, rest @ ..] = self.0
            && !is_blank(*first)
        {
            number = number * 10 + u64::from(digit(*first)?);
            count += 1;
            if count == MOST_DIGITS {
                return None;
            }
            self.0 = rest;
        }
        (count > 0).then_some(number)
    }

    #[inline]
    fn last_number(&mut self) -> Option<usize> {
        while let [rest @ .., last] = self.0
            && is_blank(*last)
        {
            self.0 = rest;
        }
        let (mut number, mut count, mut place) = (0, 0, 1);
        while let [rest @ .., last] = self.0
            && !is_blank(*last)
        {
            number += place * u64::from(digit(*last)?);
            count += 1;
            if count == MOST_DIGITS {
                return None;
            }
            place *= 10;
            self.0 = rest;
        }
        (count > 0).then_some(usize::try_from(number).ok()?)
    }

    #[inline]
    fn is_empty(&mut self) -> bool {
        self.skip_blanks();
        self.0.is_empty()
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while let [first, rest @ ..] = self.0
            && is_blank(*first)
        {
            self.0 = rest;
        }
    }
}

#[inline]
fn digit(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    (digit <= 9).then_some(digit)
}

/// Whether `byte` is between fields.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What `line` begins with, and the rest.
pub(super) fn verb(line: &[u8]) -> Option<(Verb, &[u8])> {
    let line = without_end(line);
    let end = line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, verb)| (*verb, rest))
}

pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether what is there of a line can become one with a verb.
pub(super) fn may_begin_operation(line: &[u8]) -> bool {
    let beginning = without_end(line);
    let begins =
        |name: &[u8]| name.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning));
    VERBS.iter().any(|(name, _)| begins(name)) || verb(line).is_some()
}
