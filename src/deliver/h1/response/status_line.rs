//! The line that says what a response is about. Everything depends on it, so it has to be clear; everything behind it
//! may be odd.

use super::Malformed;

/// A status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusLine {
    /// The minor version. What is newer than HTTP/1.1 is read as that (RFC 9110, section 2.5).
    pub(super) version: u8,
    pub(super) status: u16,
}

/// There is a status line, but nobody could be sure of its status.
pub(super) const NOT_CLEAR: Malformed = Malformed("the status line of the answer is malformed");

impl StatusLine {
    /// What `bytes` begin with; none where the line is not complete yet. `longest` is how long it may be.
    ///
    /// What curl, Go's net/http and Python's http.client take for a status is one: more than one blank before it, no
    /// reason or any bytes as one, a newer HTTP/1. What only one of them takes is none.
    pub(super) fn read(bytes: &[u8], longest: usize) -> Result<Option<Self>, Malformed> {
        const BEGINNING: &[u8] = b"HTTP/1.";
        let Some(rest) = bytes.strip_prefix(BEGINNING) else {
            return if BEGINNING.starts_with(bytes) { Ok(None) } else { Err(not_http(bytes)) };
        };
        let is_whole = bytes.iter().take(longest).any(|byte| *byte == b'\n');
        let Some((minor, rest)) = rest.split_first() else { return Ok(None) };
        let code = rest.trim_ascii_start();
        let [first @ b'1'..=b'9', second @ b'0'..=b'9', third @ b'0'..=b'9', end, ..] = *code else {
            return if is_whole || code.len() > 3 || bytes.len() >= longest {
                Err(NOT_CLEAR)
            } else {
                Ok(None)
            };
        };
        let blanks = rest.get(..rest.len() - code.len()).unwrap_or_default();
        let is_clear = minor.is_ascii_digit()
            && !blanks.is_empty()
            && blanks.iter().all(|byte| *byte == b' ')
            && matches!(end, b' ' | b'\t' | b'\r' | b'\n');
        if !is_clear {
            return Err(NOT_CLEAR);
        }
        // A line that breaks off may be another one than it seems. One that is too long says nothing more that matters.
        if !is_whole && bytes.len() < longest {
            return Ok(None);
        }
        let digit = |byte: u8| u16::from(byte - b'0');
        let status = digit(first) * 100 + digit(second) * 10 + digit(third);
        Ok(Some(Self { version: u8::from(*minor != b'0'), status }))
    }
}

/// What it is that does not begin as HTTP/1 does.
fn not_http(bytes: &[u8]) -> Malformed {
    Malformed(match bytes {
        // A frame with settings is the first thing that a server of HTTP/2 says.
        [b'H', b'T', b'T', b'P', b'/', b'2', ..] | [0, 0, _, 4, ..] => {
            "the webhook speaks HTTP/2 only: webhook.http = \"2\""
        }
        [0x15 | 0x16, 3, ..] => "the webhook answers with TLS: its URL has to begin with https",
        _ => "the answer does not begin as HTTP/1 does",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> Result<Option<(u8, u16)>, Malformed> {
        Ok(StatusLine::read(line, 100)?.map(|line| (line.version, line.status)))
    }

    #[test]
    fn what_most_clients_take_for_a_status_is_one() {
        let table: [(&[u8], (u8, u16)); 14] = [
            (b"HTTP/1.1 200 OK\r\n", (1, 200)),
            (b"HTTP/1.0 404 Not Found\n", (0, 404)),
            (b"HTTP/1.1 200\r\n", (1, 200)),
            (b"HTTP/1.1 200 \r\n", (1, 200)),
            (b"HTTP/1.1 200\n", (1, 200)),
            (b"HTTP/1.1  200 OK\r\n", (1, 200)),
            (b"HTTP/1.1 200\tOK\r\n", (1, 200)),
            (b"HTTP/1.2 202 OK\r\n", (1, 202)),
            (b"HTTP/1.9 202 OK\r\n", (1, 202)),
            (b"HTTP/1.1 999 \xe9\xff\r\n", (1, 999)),
            (b"HTTP/1.1 200 a\0b\r\n", (1, 200)),
            (b"HTTP/1.1 200 a\rb\r\n", (1, 200)),
            (b"HTTP/1.1 100 Continue\r\nx", (1, 100)),
            (&[&b"HTTP/1.1 200 "[..], &[b'x'; 100]].concat(), (1, 200)),
        ];
        for (line, expected) in table {
            assert_eq!(read(line), Ok(Some(expected)), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_leaves_the_status_in_doubt_is_none() {
        let table: [&[u8]; 20] = [
            b"http/1.1 200 OK\r\n",
            b"HTTP/2 200 OK\r\n",
            b"HTTP/2.0 200 OK\r\n",
            b"HTTP/0.9 200 OK\r\n",
            b"HTTP/1 200 OK\r\n",
            b"HTTP/1. 200 OK\r\n",
            b"HTTP/1.10 200 OK\r\n",
            b"HTTP/1.x 200 OK\r\n",
            b"HTTP/1.1\t200 OK\r\n",
            b"HTTP/1.1\r\n200 OK\r\n",
            b"HTTP/1.1200 OK\r\n",
            b"HTTP/1.1 20 OK\r\n",
            b"HTTP/1.1 2000 OK\r\n",
            b"HTTP/1.1 200OK\r\n",
            b"HTTP/1.1 099 OK\r\n",
            b"HTTP/1.1 2x0 OK\r\n",
            b"HTTP/1.1 +20 OK\r\n",
            b"HTTP/1.1 OK\r\n",
            b" HTTP/1.1 200 OK\r\n",
            b"ICY 200 OK\r\n",
        ];
        for line in table {
            assert!(read(line).is_err(), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_line_counts_when_it_is_complete() {
        let line = b"HTTP/1.1 200 OK\r\n";
        for end in 0..line.len() {
            assert_eq!(read(&line[..end]), Ok(None), "{}", line[..end].escape_ascii());
        }
    }

    #[test]
    fn other_protocols_are_named() {
        let said = |bytes: &[u8]| read(bytes).unwrap_err().0;
        assert!(said(&[0, 0, 18, 4, 0, 0]).contains("HTTP/2"));
        assert!(said(&[0x15, 3, 1, 0, 2, 2, 70]).contains("TLS"));
        assert!(said(b"SSH-2.0-OpenSSH").contains("does not begin"));
    }
}
