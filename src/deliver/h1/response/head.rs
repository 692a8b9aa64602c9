//! What the head of a final response says, and what is odd about it.

use std::time::Duration;

use super::{
    Body,
    chunked::{Chunked, is_token},
    status_line::StatusLine,
};
use crate::deliver::answer::{self, Answer};

/// How many header fields a head may have.
pub(super) const MOST_FIELDS: usize = 100;

/// The head of a final response.
pub(super) struct Head {
    pub(super) answer: Answer,
    /// Whether it allows another request over the connection.
    pub(super) persistent: bool,
    pub(super) body: Body,
}

/// The head of a delivery with nothing odd, of which nothing else is kept: what can be told of the next one that has the
/// same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    status: u16,
    keep_alive: Option<Duration>,
    persistent: bool,
    body: Body,
}

impl From<Plain> for Head {
    fn from(plain: Plain) -> Self {
        let Plain { status, keep_alive, persistent, body } = plain;
        Self { answer: Answer { keep_alive, ..Answer::new(status) }, persistent, body }
    }
}

impl Head {
    /// The same, where it is a plain one.
    pub(super) fn plain(&self) -> Option<Plain> {
        let Self { answer, persistent, body } = self;
        let Answer { status, keep_alive, odd: None, refusal: None, kept: None } = *answer else {
            return None;
        };
        answer.is_delivery().then_some(Plain { status, keep_alive, persistent: *persistent, body: *body })
    }

    /// What `fields` mean behind `line`. Where they contradict each other, the status stands all the same, and the
    /// connection ends: it is not known where the next response would begin. `keeps` says whether the route looks into
    /// answers.
    pub(super) fn new<'f>(
        line: StatusLine,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        keeps: bool,
    ) -> Self {
        let StatusLine { version, status } = line;
        let mut answer = Answer { kept: keeps.then(Box::default), ..Answer::new(status) };
        let mut framing = Framing { version, length: None, chunked: false, unclear: false, odd: None };
        let (mut close, mut keep_alive) = (false, false);
        for (name, value) in fields {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("content-length") {
                framing.length(value);
            } else if is("transfer-encoding") {
                framing.coding(value);
            } else if is("connection") {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if is("keep-alive") {
                answer.keep_alive = answer::keep_alive(value);
            } else {
                if let Some(kept) = &mut answer.kept {
                    kept.describe(name, value);
                }
                if !answer.is_delivery() {
                    answer.describe(name, value);
                }
            }
        }
        let body = framing.body(status);
        answer.odd = framing.odd;
        // HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 closes it unless told otherwise (RFC 9112,
        // section 9.3).
        let persistent = !close && (version == 1 || keep_alive);
        Self { answer, persistent, body }
    }

    /// What can be read of a head that the parser refuses. `lines` are what follows the status line.
    pub(super) fn odd(line: StatusLine, lines: &[u8], keeps: bool) -> Self {
        let lines = lines.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines = lines.take_while(|line| !line.is_empty());
        let mut head = Self::new(line, lines.clone().filter_map(field), keeps);
        if let Some(oddity) = lines.enumerate().find_map(|(number, line)| oddity(number, line)) {
            head.answer.note(oddity);
        }
        head
    }
}

/// How long the body is.
struct Framing {
    version: u8,
    length: Option<u64>,
    chunked: bool,
    /// Whether nobody can tell.
    unclear: bool,
    odd: Option<&'static str>,
}

impl Framing {
    fn length(&mut self, value: &[u8]) {
        let length = content_length(value);
        if length.is_none() {
            self.doubt("a Content-Length that is not a number");
        } else if self.length.is_some() {
            // That they agree helps to read this body; whoever stands between us may have taken one of them away.
            self.unclear |= self.length != length;
            self.odd.get_or_insert("more than one Content-Length");
        }
        self.length = length;
    }

    fn coding(&mut self, value: &[u8]) {
        if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            self.doubt("a Transfer-Encoding other than chunked");
        } else if self.chunked {
            self.doubt("more than one Transfer-Encoding");
        } else if self.version == 0 {
            self.odd.get_or_insert("chunks in HTTP/1.0");
        }
        self.chunked = true;
    }

    fn doubt(&mut self, odd: &'static str) {
        self.unclear = true;
        self.odd.get_or_insert(odd);
    }

    fn body(&mut self, status: u16) -> Body {
        if self.chunked && self.length.is_some() {
            self.odd.get_or_insert("both Content-Length and Transfer-Encoding");
        }
        match self.length {
            // Whatever its header says, such a response has no body (RFC 9112, section 6.3).
            _ if matches!(status, 204 | 304) => Body::Length(0),
            _ if self.unclear => Body::Close,
            _ if self.chunked => Body::Chunked(Chunked::default()),
            Some(length) => Body::Length(length),
            None => Body::Close,
        }
    }
}

fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    // Digits only: a sign, a list or a blank within would be read differently by others.
    let number = digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|_| !digits.is_empty())
}

/// The field in a line, where there is one.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = name.trim_ascii_end();
    is_token(name).then(|| (name, value.get(1..).unwrap_or_default().trim_ascii()))
}

/// Why the parser refuses the line with this number.
fn oddity(number: usize, line: &[u8]) -> Option<&'static str> {
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if number >= MOST_FIELDS {
        Some("too many header fields")
    } else if line.starts_with(b" ") || line.starts_with(b"\t") {
        Some("a folded header field")
    } else if !line.iter().all(is_text) {
        Some("a control character in the header")
    } else if !line
        .iter()
        .position(|byte| *byte == b':')
        .is_some_and(|colon| is_token(line.get(..colon).unwrap_or_default()))
    {
        Some("a malformed header field")
    } else {
        None
    }
}
