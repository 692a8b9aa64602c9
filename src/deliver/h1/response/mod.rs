//! Reading an HTTP/1.1 response, strictly (RFC 9112). No I/O: bytes in, an answer out.
//!
//! A general client guesses where a server is sloppy. Here a guess could take a part of one response for the next one,
//! and count a message as delivered that was not. Whatever is ambiguous is an error, and ends the connection: two
//! lengths, a length and chunks, any other transfer coding, folded headers, bytes behind the end.

use std::{mem::MaybeUninit, time::SystemTime};

use crate::deliver::answer::{self, Answer, Excerpt};

/// How large a head may be, in bytes. Every part of a response has a limit: a webhook must not be able to use up our
/// memory.
const LARGEST_HEAD: usize = 16 * 1024;
/// How many header fields a head may have.
const MOST_FIELDS: usize = 100;
/// How much of a body is read, in bytes. It says nothing that matters, but a connection can only be used again when the
/// body was read to the end. For a longer one, a new connection costs less than reading on.
const LARGEST_BODY: u64 = 64 * 1024;
const SWITCHING_PROTOCOLS: u16 = 101;
/// How many interim responses (1xx) are skipped. There is rarely more than one; without a limit they could go on for
/// ever.
const MOST_INTERIM: u8 = 8;
/// How long a line of the chunked coding may be, in bytes: a size with extensions, or a trailer field.
const LONGEST_LINE: usize = 4 * 1024;
/// How long all lines of the chunked coding may be together, in bytes. [`LARGEST_BODY`] does not count them: a body of
/// tiny chunks with long extensions would never reach it.
const LONGEST_LINES: usize = 64 * 1024;

/// What is on the wire is not a response, or not one that can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// How far reading has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// The response is complete.
    Complete {
        /// What it says.
        answer: Answer,
        /// Whether another request can be sent over the connection.
        reusable: bool,
    },
}

/// Reads one response.
#[derive(Debug)]
pub struct ResponseReader {
    state: ReadState,
    interim: u8,
    answer: Option<Answer>,
    excerpt: Excerpt,
    /// Whether the head allows another request over the connection.
    persistent: bool,
    /// How many bytes of the body were read.
    body: u64,
    /// How many bytes the lines of the chunked coding had so far.
    lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    Head,
    /// A body with so many bytes to come.
    Length(u64),
    Chunk(Chunk),
    /// A body that ends with the connection: neither a length nor chunks.
    Close,
}

/// Where in the chunked coding (RFC 9112, section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self {
            state: ReadState::Head,
            interim: 0,
            answer: None,
            excerpt: Excerpt::default(),
            persistent: false,
            body: 0,
            lines: 0,
        }
    }
}

impl ResponseReader {
    /// Takes what it can from the front of `bytes`, which are all that was received and not taken yet. `ended` says
    /// that nothing will follow. Returns how many bytes were taken, and how far reading has come.
    pub fn read(&mut self, bytes: &[u8], ended: bool) -> Result<(usize, Progress), Malformed> {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let step = match self.state {
                ReadState::Head => self.head(rest)?,
                ReadState::Length(left) => self.length(rest, left)?,
                ReadState::Chunk(chunk) => self.chunk(rest, chunk)?,
                ReadState::Close => self.until_close(rest, ended),
            };
            match step {
                Step::Taken(count) => taken += count,
                Step::Blocked => return if ended { Err(Malformed) } else { Ok((taken, Progress::More)) },
                Step::End { taken: count, reusable } => {
                    taken += count;
                    let mut answer = self.answer.take().ok_or(Malformed)?;
                    answer.excerpt = std::mem::take(&mut self.excerpt).into_text();
                    // Bytes behind the end belong to no request of ours: taken for the next answer, they would count a
                    // message as delivered that was not even sent.
                    if reusable && taken < bytes.len() {
                        return Err(Malformed);
                    }
                    return Ok((taken, Progress::Complete { answer, reusable: reusable && !ended }));
                }
            }
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Step, Malformed> {
        // The parser skips empty lines at the beginning. They would be junk that follows the previous response.
        if bytes.first().is_some_and(|first| *first != b'H') {
            return Err(Malformed);
        }
        // Not filled with empty fields first: nearly all of them stay unused.
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let length = match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length <= LARGEST_HEAD => length,
            Ok(httparse::Status::Partial) if bytes.len() < LARGEST_HEAD => return Ok(Step::Blocked),
            _ => return Err(Malformed),
        };
        let status = response.code.ok_or(Malformed)?;
        if status == SWITCHING_PROTOCOLS {
            // We ask for no upgrade. What follows is not HTTP, whatever it is.
            self.answer = Some(Answer::new(status));
            return Ok(Step::End { taken: length, reusable: false });
        }
        if status < 200 {
            self.interim += 1;
            return if self.interim > MOST_INTERIM { Err(Malformed) } else { Ok(Step::Taken(length)) };
        }
        let head = Head::new(response.version.ok_or(Malformed)?, status, response.headers)?;
        self.answer = Some(head.answer);
        self.persistent = head.persistent;
        self.state = head.body;
        Ok(match self.state {
            ReadState::Length(0) => Step::End { taken: length, reusable: self.persistent },
            _ => Step::Taken(length),
        })
    }

    fn length(&mut self, bytes: &[u8], left: u64) -> Result<Step, Malformed> {
        let count = left.min(bytes.len() as u64);
        let taken = usize::try_from(count).map_err(|_| Malformed)?;
        self.count_body(bytes, taken);
        if count == left {
            return Ok(Step::End { taken, reusable: self.persistent });
        }
        if self.body > LARGEST_BODY {
            // The status has said what matters: the answer stands, and only the connection is given up.
            return Ok(Step::End { taken, reusable: false });
        }
        self.state = ReadState::Length(left - count);
        Ok(if taken == 0 { Step::Blocked } else { Step::Taken(taken) })
    }

    fn until_close(&mut self, bytes: &[u8], ended: bool) -> Step {
        self.count_body(bytes, bytes.len());
        if ended || self.body > LARGEST_BODY {
            Step::End { taken: bytes.len(), reusable: false }
        } else if bytes.is_empty() {
            Step::Blocked
        } else {
            Step::Taken(bytes.len())
        }
    }

    fn chunk(&mut self, bytes: &[u8], chunk: Chunk) -> Result<Step, Malformed> {
        match chunk {
            Chunk::Size => {
                let Some(line) = self.line(bytes)? else { return Ok(Step::Blocked) };
                let next = match chunk_size(line)? {
                    0 => Chunk::Trailer,
                    size => Chunk::Data(size),
                };
                self.state = ReadState::Chunk(next);
                Ok(Step::Taken(line.len() + 2))
            }
            Chunk::Data(left) => {
                let count = left.min(bytes.len() as u64);
                let taken = usize::try_from(count).map_err(|_| Malformed)?;
                self.count_body(bytes, taken);
                if self.body > LARGEST_BODY {
                    return Ok(Step::End { taken, reusable: false });
                }
                let next = if count == left { Chunk::DataEnd } else { Chunk::Data(left - count) };
                self.state = ReadState::Chunk(next);
                Ok(if taken == 0 { Step::Blocked } else { Step::Taken(taken) })
            }
            Chunk::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = ReadState::Chunk(Chunk::Size);
                    Ok(Step::Taken(2))
                }
                [] | [b'\r'] => Ok(Step::Blocked),
                _ => Err(Malformed),
            },
            Chunk::Trailer => {
                let Some(line) = self.line(bytes)? else { return Ok(Step::Blocked) };
                let taken = line.len() + 2;
                if line.is_empty() {
                    return Ok(Step::End { taken, reusable: self.persistent });
                }
                let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
                let is_field =
                    name.len() < line.len() && !name.is_empty() && name.iter().all(|byte| is_token(*byte));
                if is_field { Ok(Step::Taken(taken)) } else { Err(Malformed) }
            }
        }
    }

    /// The first `count` of `bytes` are part of the body. Of a refusal, the beginning is kept.
    fn count_body(&mut self, bytes: &[u8], count: usize) {
        self.body += count as u64;
        if self.answer.as_ref().is_some_and(|answer| !answer.is_delivery()) {
            self.excerpt.keep(bytes.get(..count).unwrap_or_default());
        }
    }

    /// The first line of `bytes`, without its end, if it is complete.
    fn line<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Malformed> {
        let Some(end) = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
            return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(Malformed) };
        };
        // A line feed alone ends no line here: where two parties disagree about that, one response can be made to look
        // like two.
        let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed)?;
        self.lines += line.len() + 2;
        let is_text = line.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        if is_text && self.lines <= LONGEST_LINES { Ok(Some(line)) } else { Err(Malformed) }
    }
}

/// What one step of reading came to.
enum Step {
    /// So many bytes, and there may be more to do.
    Taken(usize),
    /// More bytes are needed.
    Blocked,
    /// The response ends after so many bytes.
    End { taken: usize, reusable: bool },
}

/// What the head of a final response says.
struct Head {
    answer: Answer,
    persistent: bool,
    body: ReadState,
}

impl Head {
    fn new(version: u8, status: u16, fields: &[httparse::Header<'_>]) -> Result<Self, Malformed> {
        let mut length = None;
        let mut chunked = false;
        let (mut close, mut keep_alive) = (false, false);
        let mut answer = Answer::new(status);
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                // RFC 9112 (section 6.3) lets a recipient accept two that agree. No webhook needs that.
                if length.replace(content_length(field.value)?).is_some() {
                    return Err(Malformed);
                }
            } else if is("transfer-encoding") {
                // We accept no coding but this one, and only once. HTTP/1.0 does not know it at all.
                if chunked || version == 0 || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed);
                }
                chunked = true;
            } else if is("connection") {
                for option in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if is("retry-after") {
                answer.retry_after = answer::retry_after(field.value, SystemTime::now);
            } else if is("keep-alive") {
                answer.keep_alive = answer::keep_alive(field.value);
            }
        }
        let body = match (chunked, length) {
            (true, Some(_)) => return Err(Malformed),
            // Whatever its header says, such a response has no body (RFC 9112, section 6.3).
            _ if matches!(status, 204 | 304) => ReadState::Length(0),
            (true, None) => ReadState::Chunk(Chunk::Size),
            (false, Some(length)) => ReadState::Length(length),
            (false, None) => ReadState::Close,
        };
        // HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 closes it unless told otherwise (RFC 9112,
        // section 9.3).
        let persistent = !close && (version == 1 || keep_alive);
        Ok(Self { answer, persistent, body })
    }
}

fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let value = value.trim_ascii();
    // Digits only: a sign, a list or a blank within would be read differently by others.
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed)
}

/// The size in the line before a chunk, of which an extension may follow (RFC 9112, section 7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // A blank before the extension is tolerated (RFC 9112, section 7.1.1), one before the size is not. Sixteen digits
    // are what fits into 64 bits.
    let size = size.trim_ascii_end();
    if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    std::str::from_utf8(size).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Malformed)
}

/// Whether `byte` can stand in the name of a field (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(response: &str) -> Result<(Answer, bool), Malformed> {
        let (taken, progress) = ResponseReader::default().read(response.as_bytes(), false)?;
        match progress {
            Progress::Complete { answer, reusable } if taken == response.len() => Ok((answer, reusable)),
            other => panic!("{other:?} after {taken} of {} bytes", response.len()),
        }
    }

    #[test]
    fn the_version_and_the_options_of_the_connection_decide_whether_it_lasts() {
        let table = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x, Close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive, close\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
        ];
        for (response, expected) in table {
            assert_eq!(read(response).map(|(_, reusable)| reusable), Ok(expected), "{response:?}");
        }
    }

    #[test]
    fn the_head_tells_how_long_to_wait_and_how_long_the_connection_lasts() {
        let (answer, _) =
            read("HTTP/1.1 503 X\r\nRetry-After: 7\r\nKeep-Alive: timeout=5\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
        let secs = Duration::from_secs;
        let expected = Answer { retry_after: Some(secs(7)), keep_alive: Some(secs(5)), ..Answer::new(503) };
        assert_eq!(answer, expected);
    }

    #[test]
    fn the_beginning_of_a_refusal_is_kept_and_that_of_a_delivery_is_not() {
        let said = |response: &str| read(response).unwrap().0.excerpt;
        assert_eq!(said("HTTP/1.1 400 X\r\ncontent-length: 5\r\n\r\nno id").as_deref(), Some("no id"));
        let chunked = "HTTP/1.1 400 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nno \r\n2\r\nid\r\n0\r\n\r\n";
        assert_eq!(said(chunked).as_deref(), Some("no id"));
        assert_eq!(said("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"), None);
    }

    #[test]
    fn interim_responses_are_skipped_but_not_for_ever() {
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
        let end = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read(&(interim.repeat(8) + end)).map(|(answer, _)| answer.status), Ok(200));
        assert_eq!(read(&(interim.repeat(9) + end)), Err(Malformed));
    }

    #[test]
    fn trailers_and_extensions_are_bounded() {
        let chunked = |rest: String| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}");
        let trailers = |count: usize| chunked(format!("0\r\n{}\r\n", "x: y\r\n".repeat(count)));
        assert!(read(&trailers(1000)).is_ok());
        assert_eq!(read(&trailers(20_000)), Err(Malformed));
        let extension = |length: usize| chunked(format!("0;{}\r\n\r\n", "x".repeat(length)));
        assert!(read(&extension(4000)).is_ok());
        assert_eq!(read(&extension(5000)), Err(Malformed));
    }

    #[test]
    fn a_connection_that_ended_behind_the_answer_is_not_used_again() {
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let progress = ResponseReader::default().read(response, true).map(|(_, progress)| progress);
        assert!(matches!(progress, Ok(Progress::Complete { reusable: false, .. })), "{progress:?}");
    }
}
