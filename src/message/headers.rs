//! The headers that a publisher gave a message: kept as the bytes that came, and read only when somebody asks.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memchr2};

/// A message's NATS headers, as their lines stood on the wire.
///
/// Few messages have headers, and few of those headers are ever read. Keeping the bytes copies nothing, and there is
/// nothing to go wrong when a message is taken: the bytes are a stranger's, and the server passes on any. Reading them
/// is lenient: what can be a header is one, and the rest is left out, never an error.
///
/// A line ends at CR LF, as the specification has it and the server reads it. The clients end lines at a lone LF as well,
/// and that is not followed: whoever can put a line break into a *value* (an application that takes one from its users
/// and does not check it) would give the message a second header that neither the publisher nor the server knows of,
/// another `Nats-Msg-Id` for instance. A lone CR or LF is a byte of the value that it stands in, and is given as a blank.
/// In a name it makes the line one that can't be a header.
///
/// A line that begins with a blank continues the value of the one before it, as for async-nats and in old HTTP.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// Headers of these names and values, in their order. What can't be a header is left out.
    pub fn new<N: AsRef<str>, V: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut lines = Vec::new();
        for (name, value) in headers {
            if is_name(name.as_ref().as_bytes()) {
                push_line(&mut lines, name.as_ref(), value.as_ref());
            }
        }
        Self(lines.into())
    }

    /// The headers in `lines`: what stands on the wire between the version line and the empty one at the end.
    pub const fn from_lines(lines: Bytes) -> Self {
        Self(lines)
    }

    /// The bytes as they are kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing, not even something that can't be a header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All headers as name and value, in the order they were given. What is not UTF-8 in a value is replaced, and there is no
    /// line break in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.fields().filter_map(Result::ok).map(|(name, value)| (name, text(value)))
    }

    /// As [`Headers::iter`], with the values as the bytes that came: without line breaks, and whatever else is in them.
    pub fn lines(&self) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
        self.fields().filter_map(Result::ok).map(|(name, value)| (name, one_line(value)))
    }

    /// The first value of `name`, in any spelling of upper and lower case; as text, like those of [`Headers::iter`].
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get_bytes(name).map(text)
    }

    /// The first value of `name`, in any spelling of upper and lower case, as the bytes that came: line breaks may be among
    /// them.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        let mut rest = &*self.0;
        while !rest.is_empty() {
            let (field, behind) = split_field(rest);
            // Only what has the length of the name is looked at: this is done to every message.
            if let Some((candidate, colon_and_value)) = field.split_at_checked(name.len())
                && let Some((b':', value)) = colon_and_value.split_first()
                && candidate.eq_ignore_ascii_case(name.as_bytes())
            {
                return Some(trimmed(value));
            }
            rest = behind;
        }
        None
    }

    /// All values of `name`, in any spelling of upper and lower case, in their order; without line breaks.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.lines().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// How many lines can't be headers: without a colon, or with a name that is none. They are not among those of
    /// [`Headers::iter`].
    pub fn left_out(&self) -> usize {
        self.fields().filter(Result::is_err).count()
    }

    /// Lets go of the memory that the bytes share with others: see [`Message::detach`](super::Message::detach).
    pub(super) fn detach(&mut self) {
        if !self.is_empty() {
            self.0 = Bytes::copy_from_slice(&self.0);
        }
    }

    /// The headers, one a line, as replicas of all versions read them when a message is handed over.
    pub fn to_parcel(&self) -> Vec<u8> {
        let mut parcel = Vec::with_capacity(self.0.len());
        for (name, value) in self.fields().filter_map(Result::ok) {
            parcel.extend_from_slice(name.as_bytes());
            parcel.push(b':');
            parcel.extend_from_slice(&one_line(value));
            parcel.push(b'\n');
        }
        parcel
    }

    /// What [`Headers::to_parcel`] has written, here or elsewhere.
    pub fn from_parcel(parcel: &[u8]) -> Self {
        let mut lines = Vec::with_capacity(parcel.len());
        for line in parcel.split(|byte| *byte == b'\n') {
            if let Ok((name, value)) = name_and_value(line) {
                push_line(&mut lines, name, value);
            }
        }
        Self(lines.into())
    }

    /// Each header, and in its place an error for each line that can't be one.
    fn fields(&self) -> impl Iterator<Item = Result<(&str, &[u8]), NoHeader>> {
        let mut rest = &*self.0;
        let fields = std::iter::from_fn(move || {
            let (field, behind) = (!rest.is_empty()).then(|| split_field(rest))?;
            rest = behind;
            Some(field)
        });
        fields.filter(|field| !field.is_empty()).map(name_and_value)
    }
}

/// A line can't be a header.
struct NoHeader;

/// The first line of `rest` with those that continue it, and what is behind.
fn split_field(rest: &[u8]) -> (&[u8], &[u8]) {
    for newline in memchr_iter(b'\n', rest) {
        let (line, behind) = rest.split_at(newline + 1);
        let continues = matches!(behind.first(), Some(b' ' | b'\t'));
        match line.strip_suffix(b"\r\n") {
            Some(line) if line.is_empty() || !continues => return (line, behind),
            _ => {}
        }
    }
    (rest, &[])
}

fn name_and_value(field: &[u8]) -> Result<(&str, &[u8]), NoHeader> {
    let colon = memchr(b':', field).ok_or(NoHeader)?;
    let (name, value) = field.split_at(colon);
    if !is_name(name) {
        return Err(NoHeader);
    }
    let name = str::from_utf8(name).map_err(|_| NoHeader)?;
    Ok((name, trimmed(value.get(1..).unwrap_or_default())))
}

/// Whether a header can have this name, by the rules of the clients.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    const VERTICAL_TAB: u8 = 0x0b;
    let is_blank = |byte: u8| byte.is_ascii_whitespace() || byte == VERTICAL_TAB;
    while let [first, rest @ ..] = value
        && is_blank(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_blank(*last)
    {
        value = rest;
    }
    value
}

/// `value` without line breaks. Where CR LF stands in a value, it is continued: the blanks that it goes on with remain. What
/// stands there alone becomes a blank.
pub(super) fn one_line(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'\r', b'\n', value).is_none() {
        return value.into();
    }
    let mut line = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b'\r' if rest.first() == Some(&b'\n') => rest = rest.get(1..).unwrap_or_default(),
            b'\r' | b'\n' => line.push(b' '),
            other => line.push(*other),
        }
    }
    line.into()
}

fn text(value: &[u8]) -> Cow<'_, str> {
    match one_line(value) {
        Cow::Borrowed(line) => String::from_utf8_lossy(line),
        Cow::Owned(line) => String::from_utf8_lossy(&line).into_owned().into(),
    }
}

/// Adds a line. It is for whoever calls this to know that the name is one.
pub(super) fn push_line(lines: &mut Vec<u8>, name: &str, value: &[u8]) {
    lines.extend_from_slice(name.as_bytes());
    lines.extend_from_slice(b": ");
    lines.extend(value.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    lines.extend_from_slice(b"\r\n");
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
