//! The chunked coding of a body (RFC 9112, section 7.1), read strictly: its end is where the next response would begin.

/// How long a line of the coding may be, in bytes: a size with extensions, or a trailer field.
const LONGEST_LINE: usize = 4 * 1024;
/// How long all lines may be together, in bytes. The limit of a body does not count them: one of tiny chunks with long
/// extensions would never reach it.
const LONGEST_LINES: usize = 64 * 1024;

/// Reads a body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    place: Place,
    /// How many bytes the lines had so far.
    lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
}

/// The bytes are no chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadChunk;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// More bytes are needed.
    Incomplete,
    /// So many bytes of the coding itself.
    Coding(usize),
    /// So many bytes of the body.
    Data(usize),
    /// So many bytes of the coding, and behind them the end.
    End(usize),
}

impl Default for Chunked {
    fn default() -> Self {
        Self { place: Place::Size, lines: 0 }
    }
}

impl Chunked {
    /// What stands at the front of `bytes`.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Part, BadChunk> {
        match self.place {
            Place::Size => {
                let Some(line) = self.line(bytes)? else { return Ok(Part::Incomplete) };
                self.place = match chunk_size(line)? {
                    0 => Place::Trailer,
                    size => Place::Data(size),
                };
                Ok(Part::Coding(line.len() + 2))
            }
            Place::Data(left) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - count as u64;
                self.place = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                Ok(if count == 0 { Part::Incomplete } else { Part::Data(count) })
            }
            Place::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.place = Place::Size;
                    Ok(Part::Coding(2))
                }
                [] | [b'\r'] => Ok(Part::Incomplete),
                _ => Err(BadChunk),
            },
            Place::Trailer => {
                let Some(line) = self.line(bytes)? else { return Ok(Part::Incomplete) };
                let taken = line.len() + 2;
                if line.is_empty() {
                    return Ok(Part::End(taken));
                }
                let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
                let is_field = name.len() < line.len() && is_token(name);
                if is_field { Ok(Part::Coding(taken)) } else { Err(BadChunk) }
            }
        }
    }

    /// The first line of `bytes`, without its end, if it is complete.
    fn line<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, BadChunk> {
        let Some(end) = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
            return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(BadChunk) };
        };
        // A line feed alone ends no line here: where two parties disagree about that, one response can be made to look
        // like two.
        let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(BadChunk)?;
        self.lines += line.len() + 2;
        let is_text = line.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        if is_text && self.lines <= LONGEST_LINES { Ok(Some(line)) } else { Err(BadChunk) }
    }
}

/// The size in the line before a chunk, of which an extension may follow (RFC 9112, section 7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, BadChunk> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // A blank before the extension is tolerated (RFC 9112, section 7.1.1), one before the size is not. Sixteen digits
    // are what fits into 64 bits.
    let size = size.trim_ascii_end();
    if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadChunk);
    }
    std::str::from_utf8(size).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(BadChunk)
}

/// Whether `name` can be that of a field (RFC 9110, section 5.6.2).
pub(super) fn is_token(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_letter)
}
