//! Frames of HTTP/2 (RFC 9113, sections 4 and 6): bytes in, frames out, and the other way round. No I/O, no state.

/// How long the head of each frame is, in bytes.
pub(super) const HEAD: usize = 9;
/// How large a payload may be that is sent to us, in bytes: what every receiver has to take, and we never ask for more.
pub(super) const LARGEST: usize = 16_384;
/// How large a window may be (section 6.9.1).
pub(super) const LARGEST_WINDOW: i64 = (1 << 31) - 1;
/// What a client says first (section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types of frames (section 6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// Flags, some of which mean something else on another type of frame.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(super) const PADDED: u8 = 0x8;
    pub(super) const PRIORITY: u8 = 0x20;
}

/// What went wrong, as a number on the wire (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u32);

impl Code {
    pub(super) const NO_ERROR: Self = Self(0x0);
    pub(super) const PROTOCOL_ERROR: Self = Self(0x1);
    pub(super) const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub(super) const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub(super) const REFUSED_STREAM: Self = Self(0x7);
    pub(super) const CANCEL: Self = Self(0x8);
    pub(super) const COMPRESSION_ERROR: Self = Self(0x9);
    pub(super) const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub(super) const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// Its name in the standard, which operators can look for.
    pub(super) const fn name(self) -> &'static str {
        match self.0 {
            0x0 => "NO_ERROR",
            0x1 => "PROTOCOL_ERROR",
            0x2 => "INTERNAL_ERROR",
            0x3 => "FLOW_CONTROL_ERROR",
            0x4 => "SETTINGS_TIMEOUT",
            0x5 => "STREAM_CLOSED",
            0x6 => "FRAME_SIZE_ERROR",
            0x7 => "REFUSED_STREAM",
            0x8 => "CANCEL",
            0x9 => "COMPRESSION_ERROR",
            0xa => "CONNECT_ERROR",
            0xb => "ENHANCE_YOUR_CALM",
            0xc => "INADEQUATE_SECURITY",
            0xd => "HTTP_1_1_REQUIRED",
            _ => "an unknown error",
        }
    }
}

/// The server broke a rule, and the connection can't go on: what it is told, and the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: Code,
    pub(super) words: &'static str,
}

impl Violation {
    pub(super) const fn new(code: Code, words: &'static str) -> Self {
        Self { code, words }
    }

    pub(super) const fn protocol(words: &'static str) -> Self {
        Self::new(Code::PROTOCOL_ERROR, words)
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    /// That at the front of `bytes`; none where it is not complete.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<HEAD>()?;
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        // The highest bit is reserved and ignored.
        Some(Self { length, kind: *kind, flags: *flags, stream: u32::from_be_bytes(*stream) & 0x7fff_ffff })
    }
}

/// A frame that a server may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'b> {
    /// A part of an answer's body. `length` is what counts for the windows: with the padding.
    Data {
        data: &'b [u8],
        length: u32,
        end: bool,
    },
    Headers {
        block: &'b [u8],
        whole: bool,
        end: bool,
    },
    Continuation {
        block: &'b [u8],
        whole: bool,
    },
    Reset(Code),
    Settings(Settings<'b>),
    SettingsAck,
    Ping([u8; 8]),
    Pong([u8; 8]),
    GoAway {
        last: u32,
        code: Code,
    },
    /// By how much a window grows; by nothing where that is an error.
    Window(u32),
    /// Priorities, and what we don't know: it has no meaning for us (section 5.5).
    Other,
}

/// The payload of a SETTINGS frame: identifiers and values, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings<'b>(&'b [u8]);

impl Iterator for Settings<'_> {
    type Item = (u16, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, value @ ..], rest) = self.0.split_first_chunk::<6>()?;
        self.0 = rest;
        Some((u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value)))
    }
}

const WRONG_SIZE: Violation =
    Violation::new(Code::FRAME_SIZE_ERROR, "a frame of a length that its type can't have");
const WRONG_STREAM: Violation = Violation::protocol("a frame on a stream that its type can't be on");

impl<'b> Frame<'b> {
    /// The frame with this head and payload.
    pub(super) fn read(head: FrameHead, payload: &'b [u8]) -> Result<Self, Violation> {
        let FrameHead { kind, flags, stream, .. } = head;
        let has = |flag: u8| flags & flag != 0;
        let of_connection = matches!(kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        let of_stream = matches!(
            kind,
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION
        );
        if of_connection && stream != 0 || of_stream && stream == 0 {
            return Err(WRONG_STREAM);
        }
        Ok(match kind {
            kind::DATA => {
                let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                Self::Data { data: without_padding(payload, flags)?, length, end: has(flag::END_STREAM) }
            }
            kind::HEADERS => {
                let mut block = without_padding(payload, flags)?;
                if has(flag::PRIORITY) {
                    block = block.split_first_chunk::<5>().ok_or(WRONG_SIZE)?.1;
                }
                Self::Headers { block, whole: has(flag::END_HEADERS), end: has(flag::END_STREAM) }
            }
            kind::CONTINUATION => Self::Continuation { block: payload, whole: has(flag::END_HEADERS) },
            kind::PRIORITY if payload.len() != 5 => return Err(WRONG_SIZE),
            kind::RST_STREAM => Self::Reset(Code(u32::from_be_bytes(exactly(payload)?))),
            kind::SETTINGS if has(flag::ACK) && payload.is_empty() => Self::SettingsAck,
            kind::SETTINGS if has(flag::ACK) || !payload.len().is_multiple_of(6) => return Err(WRONG_SIZE),
            kind::SETTINGS => Self::Settings(Settings(payload)),
            // What we never ask for, and say so in our settings.
            kind::PUSH_PROMISE => return Err(Violation::protocol("it pushes, though that is turned off")),
            kind::PING if has(flag::ACK) => Self::Pong(exactly(payload)?),
            kind::PING => Self::Ping(exactly(payload)?),
            kind::GOAWAY => {
                let (last, rest) = payload.split_first_chunk().ok_or(WRONG_SIZE)?;
                let code = rest.first_chunk().ok_or(WRONG_SIZE)?;
                let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
                Self::GoAway { last, code: Code(u32::from_be_bytes(*code)) }
            }
            kind::WINDOW_UPDATE => Self::Window(u32::from_be_bytes(exactly(payload)?) & 0x7fff_ffff),
            _ => Self::Other,
        })
    }
}

fn exactly<const N: usize>(payload: &[u8]) -> Result<[u8; N], Violation> {
    payload.try_into().map_err(|_| WRONG_SIZE)
}

fn without_padding(payload: &[u8], flags: u8) -> Result<&[u8], Violation> {
    if flags & flag::PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(WRONG_SIZE)?;
    let length = rest.len().checked_sub(usize::from(*padding));
    let length = length.ok_or(Violation::protocol("a frame with more padding than it is long"))?;
    Ok(rest.get(..length).unwrap_or_default())
}

/// Appends the head of a frame.
pub(super) fn put_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&head(length, kind, flags, stream));
}

/// The head of a frame, whose `length` is no more than [`LARGEST`].
pub(super) fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
    let [_, a, b, c] = u32::try_from(length).unwrap_or_default().to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

/// Appends a frame whose payload is one number: a reset or the growth of a window.
pub(super) fn put_number(out: &mut Vec<u8>, kind: u8, stream: u32, number: u32) {
    put_head(out, 4, kind, 0, stream);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a PING, or the answer to one.
pub(super) fn put_ping(out: &mut Vec<u8>, flags: u8, data: [u8; 8]) {
    put_head(out, 8, kind::PING, flags, 0);
    out.extend_from_slice(&data);
}

/// Appends the frame that says why we end the connection. We take no streams of the server, so there is none to name.
pub(super) fn put_goaway(out: &mut Vec<u8>, code: Code) {
    put_head(out, 8, kind::GOAWAY, 0, 0);
    out.extend_from_slice(&0_u32.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Frame<'_>, Violation> {
        Frame::read(FrameHead { length: payload.len(), kind, flags, stream }, payload)
    }

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let bytes = head(0x1234, kind::DATA, flag::END_STREAM, 0x7fff_fffd);
        let read = FrameHead::read(&bytes).unwrap();
        assert_eq!((read.length, read.kind, read.flags, read.stream), (0x1234, 0, 1, 0x7fff_fffd));
        assert_eq!(FrameHead::read(&bytes[..8]), None);
        let reserved = [0, 0, 0, 6, 0, 0x80, 0, 0, 1];
        assert_eq!(FrameHead::read(&reserved).unwrap().stream, 1);
    }

    #[test]
    fn padding_is_taken_off_and_counts_for_the_window() {
        let padded = read(kind::DATA, flag::PADDED | flag::END_STREAM, 1, &[2, b'o', b'k', 0, 0]);
        assert_eq!(padded, Ok(Frame::Data { data: b"ok", length: 5, end: true }));
        assert_eq!(
            read(kind::DATA, flag::PADDED, 1, &[0]),
            Ok(Frame::Data { data: b"", length: 1, end: false })
        );
        assert!(read(kind::DATA, flag::PADDED, 1, &[2, 0]).is_err());
        assert!(read(kind::DATA, flag::PADDED, 1, &[]).is_err());
        let both = flag::PADDED | flag::PRIORITY | flag::END_HEADERS;
        let headers = read(kind::HEADERS, both, 1, &[1, 0, 0, 0, 0, 9, 0x88, 0]);
        assert_eq!(headers, Ok(Frame::Headers { block: &[0x88], whole: true, end: false }));
        assert!(read(kind::HEADERS, flag::PRIORITY, 1, &[0, 0, 0, 0]).is_err());
    }

    #[test]
    fn frames_of_a_wrong_length_or_stream_are_errors() {
        let wrong: [(u8, u8, u32, &[u8]); 16] = [
            (kind::DATA, 0, 0, b""),
            (kind::HEADERS, 0, 0, b""),
            (kind::CONTINUATION, 0, 0, b""),
            (kind::PRIORITY, 0, 1, &[0; 4]),
            (kind::PRIORITY, 0, 0, &[0; 5]),
            (kind::RST_STREAM, 0, 1, &[0; 3]),
            (kind::RST_STREAM, 0, 0, &[0; 4]),
            (kind::SETTINGS, 0, 0, &[0; 5]),
            (kind::SETTINGS, 0, 1, &[0; 6]),
            (kind::SETTINGS, flag::ACK, 0, &[0; 6]),
            (kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0; 8]),
            (kind::PING, 0, 0, &[0; 7]),
            (kind::PING, 0, 1, &[0; 8]),
            (kind::GOAWAY, 0, 0, &[0; 7]),
            (kind::GOAWAY, 0, 1, &[0; 8]),
            (kind::WINDOW_UPDATE, 0, 0, &[0; 5]),
        ];
        for (kind, flags, stream, payload) in wrong {
            assert!(read(kind, flags, stream, payload).is_err(), "{kind} {flags} {stream} {payload:?}");
        }
        assert_eq!(read(kind::PRIORITY, 0, 1, &[0; 5]), Ok(Frame::Other));
        assert_eq!(read(0xfa, 0xff, 7, &[1, 2, 3]), Ok(Frame::Other));
    }

    #[test]
    fn settings_are_read_in_order() {
        let payload = [0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 255, 255];
        let Ok(Frame::Settings(settings)) = read(kind::SETTINGS, 0, 0, &payload) else { panic!("settings") };
        assert_eq!(settings.collect::<Vec<_>>(), [(3, 100), (4, 65_535)]);
    }
}
