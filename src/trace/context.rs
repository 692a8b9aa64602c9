//! To which trace something belongs, as headers say it (W3C Trace Context,
//! <https://www.w3.org/TR/trace-context/>).

use std::fmt;

use uuid::Uuid;

/// The id of a trace: 16 bytes, not all of them zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span: 8 bytes, not all of them zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// What a `traceparent` says: the span that something is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether whoever wrote it may have recorded that span.
    pub sampled: bool,
}

/// The length of a `traceparent` of version 00, in bytes.
pub const LENGTH: usize = 55;
/// The only version of `traceparent` that is written.
const VERSION: u8 = 0;
/// A version that can't be.
const INVALID_VERSION: u8 = 0xff;
/// The flag that says that the parent may have been recorded.
const SAMPLED: u8 = 1;

impl TraceId {
    /// The id of a new trace.
    pub fn fresh() -> Self {
        // The last 7 bytes of a UUID of version 4 are random, as samplers want them (W3C Trace Context, Level 2).
        Self(Uuid::new_v4().into_bytes())
    }

    /// The bytes, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The part that is random in every id that follows the specification: 56 bits.
    pub const fn randomness(&self) -> u64 {
        let [.., a, b, c, d, e, f, g] = self.0;
        u64::from_be_bytes([0, a, b, c, d, e, f, g])
    }
}

impl SpanId {
    /// The id of a new span.
    pub fn fresh() -> Self {
        // This half of a UUID has 62 random bits, and its variant: it is never zero.
        let (_, low) = Uuid::new_v4().as_u64_pair();
        Self(low.to_be_bytes())
    }

    /// The bytes, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl Parent {
    /// Reads a `traceparent` (section 3.2). None for anything that is not exactly one: it comes from strangers, and a trace
    /// that is continued by mistake is worse than a new one. Of later versions what they are bound to keep is read, the
    /// first four fields.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (fields, rest) = header.split_at_checked(LENGTH)?;
        let [version @ .., b'-'] = fields.get(..3)? else { return None };
        let [trace @ .., b'-'] = fields.get(3..36)? else { return None };
        let [span @ .., b'-'] = fields.get(36..53)? else { return None };
        let [version] = hex(version)?;
        let is_complete = rest.is_empty() || version > VERSION && rest.starts_with(b"-");
        if version == INVALID_VERSION || !is_complete {
            return None;
        }
        let [flags] = hex(fields.get(53..)?)?;
        let trace = hex(trace).filter(|id| *id != [0; 16]).map(TraceId)?;
        let span = hex(span).filter(|id| *id != [0; 8]).map(SpanId)?;
        Some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }

    /// The `traceparent` that says this.
    pub fn to_header(self) -> String {
        format!("{VERSION:02x}-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// The bytes that `digits` stand for: two for each, in lower case (section 3.2.1).
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

/// The longest `tracestate` that goes on, in bytes: what everybody has to take (section 3.3.1.1).
const LONGEST_STATE: usize = 512;

/// A `tracestate` as it can go on: without what is behind the longest that everybody takes, and none where it has anything
/// that can't stand in it. The last entries are those that were written first, and may be left out (section 3.3.1.1).
pub fn state(header: &[u8]) -> Option<&str> {
    let text = str::from_utf8(header).ok().filter(|text| {
        text.bytes().all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte)) && text.contains('=')
    })?;
    if text.len() <= LONGEST_STATE {
        return Some(text);
    }
    let (within, _) = text.split_at_checked(LONGEST_STATE + 1)?;
    within.rsplit_once(',').map(|(whole, _)| whole)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_what_was_written() {
        for (header, sampled) in [(GOOD, true), (&GOOD.replace("-01", "-00"), false)] {
            let parent = Parent::parse(header.as_bytes()).unwrap();
            assert_eq!((parent.to_header().as_str(), parent.sampled), (header, sampled));
        }
        let fresh = Parent { trace: TraceId::fresh(), span: SpanId::fresh(), sampled: true };
        assert_eq!(Parent::parse(fresh.to_header().as_bytes()), Some(fresh));
    }

    #[test]
    fn a_later_version_may_say_more_behind_what_is_known() {
        for (header, sampled) in [
            (GOOD.replacen("00-", "01-", 1), true),
            (GOOD.replacen("00-", "cc-", 1) + "-what-the-future-brings", true),
            (GOOD.replacen("00-", "01-", 1) + "-", true),
            // Flags that are not known yet.
            (GOOD.replace("-01", "-ff"), true),
            (GOOD.replace("-01", "-fe"), false),
        ] {
            let parent = Parent::parse(header.as_bytes()).map(|parent| parent.sampled);
            assert_eq!(parent, Some(sampled), "{header}");
        }
    }

    #[test]
    fn what_is_not_exactly_one_is_none() {
        let zeros = |from: &str| GOOD.replace(from, &"0".repeat(from.len()));
        for header in [
            String::new(),
            GOOD.to_uppercase(),
            GOOD.replacen("00-", "ff-", 1),
            GOOD.replacen("00-", "0-", 1),
            zeros("4bf92f3577b34da6a3ce929d0e0e4736"),
            zeros("00f067aa0ba902b7"),
            GOOD.replace("-01", "-1"),
            GOOD.replace("-01", "-0g"),
            GOOD.replace('-', "_"),
            format!("{GOOD}-"),
            format!("{GOOD}-more"),
            format!("{GOOD},{GOOD}"),
            format!(" {GOOD}"),
            GOOD.replacen("00-", "01-", 1) + "more",
            GOOD.replace("4bf9", "4b\u{e9}9"),
        ] {
            assert_eq!(Parent::parse(header.as_bytes()), None, "{header:?}");
        }
    }

    /// Whatever is done to a good one, what is read is written as the same again, or nothing is read.
    #[test]
    fn no_change_makes_another_one_of_it() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut chance = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).unwrap_or_default()
        };
        const LETTERS: &[u8] = b"0123456789abcdefABCDEFgx-_ ,\r\n\t\0\xff\xc3";
        for _ in 0..200_000 {
            let mut header = GOOD.as_bytes().to_vec();
            for _ in 0..=chance(3) {
                let letter = LETTERS[chance(LETTERS.len())];
                match chance(4) {
                    0 => header.insert(chance(header.len() + 1), letter),
                    1 if !header.is_empty() => drop(header.remove(chance(header.len()))),
                    2 => header.truncate(chance(header.len() + 1)),
                    _ if !header.is_empty() => {
                        let at = chance(header.len());
                        header[at] = letter;
                    }
                    _ => {}
                }
            }
            if let Some(parent) = Parent::parse(&header) {
                let written = parent.to_header();
                assert_eq!(&written.as_bytes()[2..53], &header[2..53], "{}", header.escape_ascii());
                assert_eq!(Parent::parse(written.as_bytes()), Some(parent));
            }
        }
    }

    #[test]
    fn a_state_goes_on_while_it_can_be_one() {
        assert_eq!(state(b"rojo=1,congo=2"), Some("rojo=1,congo=2"));
        for odd in [&b"rojo=\r\n"[..], b"\xff=1", b"", b"rojo", "é=1".as_bytes()] {
            assert_eq!(state(odd), None, "{}", odd.escape_ascii());
        }
        let entry = format!("a={}", "x".repeat(97));
        let long = vec![entry; 10].join(",");
        assert_eq!(state(long.as_bytes()).map(str::len), Some(5 * 99 + 4));
        assert_eq!(state(format!("a={}", "x".repeat(600)).as_bytes()), None);
    }
}
