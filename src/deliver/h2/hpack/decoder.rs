//! Reading a block of fields (RFC 7541). We announce a dynamic table of no size, so no block depends on one before it,
//! and what nobody asks for need not even be decoded.

use std::borrow::Cow;

use super::{huffman, integer, static_table};

/// A block that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct BadBlock;

/// A name or a value, as it stands in a block.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Text<'b> {
    bytes: &'b [u8],
    is_coded: bool,
}

/// The fields of a block, in order.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Fields<'b> {
    rest: &'b [u8],
    has_begun: bool,
}

/// How large a table the peer may speak of: it may do so before it has seen that ours has no room.
const LARGEST_TABLE: usize = 4096;

impl<'b> Text<'b> {
    const fn plain(text: &'static str) -> Self {
        Text { bytes: text.as_bytes(), is_coded: false }
    }

    fn read(bytes: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let is_coded = bytes.first()? & 0x80 != 0;
        let (length, rest) = integer::read(bytes, 7)?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        Some((Self { bytes, is_coded }, rest))
    }

    /// Whether it says this.
    pub(in super::super) fn is(self, text: &[u8]) -> bool {
        if self.is_coded { self.decode().is_ok_and(|own| *own == *text) } else { self.bytes == text }
    }

    /// What it says.
    pub(in super::super) fn decode(self) -> Result<Cow<'b, [u8]>, BadBlock> {
        if self.is_coded {
            huffman::decode(self.bytes).map(Cow::Owned).ok_or(BadBlock)
        } else {
            Ok(Cow::Borrowed(self.bytes))
        }
    }
}

impl<'b> Fields<'b> {
    /// Those of `block`.
    pub(in super::super) const fn of(block: &'b [u8]) -> Self {
        Self { rest: block, has_begun: false }
    }

    fn read(&mut self) -> Option<(Text<'b>, Text<'b>)> {
        loop {
            let first = *self.rest.first()?;
            if first & 0x80 != 0 {
                let (index, rest) = integer::read(self.rest, 7)?;
                let (name, value) = static_table::field(index)?;
                (self.rest, self.has_begun) = (rest, true);
                return Some((Text::plain(name), Text::plain(value)));
            }
            if first & 0xe0 == 0x20 {
                // A change of the table's size, which is said before the first field only.
                let (size, rest) = integer::read(self.rest, 5)?;
                if self.has_begun || size > LARGEST_TABLE {
                    return None;
                }
                self.rest = rest;
                if rest.is_empty() {
                    return None;
                }
                continue;
            }
            self.has_begun = true;
            let (index, rest) = integer::read(self.rest, if first & 0x40 != 0 { 6 } else { 4 })?;
            let (name, rest) = match index {
                0 => Text::read(rest)?,
                index => (Text::plain(static_table::field(index)?.0), rest),
            };
            let (value, rest) = Text::read(rest)?;
            self.rest = rest;
            return Some((name, value));
        }
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(Text<'b>, Text<'b>), BadBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read().ok_or(BadBlock);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &[u8]) -> Result<Vec<(String, String)>, BadBlock> {
        let text = |text: Text<'_>| text.decode().map(|text| String::from_utf8_lossy(&text).into_owned());
        Fields::of(block)
            .map(|field| field.and_then(|(name, value)| Ok((text(name)?, text(value)?))))
            .collect()
    }

    fn field(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn every_representation_is_read() {
        assert_eq!(read(&[0x88]), Ok(vec![field(":status", "200")]));
        let huffman = [0x48, 0x82, 0x64, 0x02];
        assert_eq!(read(&huffman), Ok(vec![field(":status", "302")]));
        for first in [0x40, 0x00, 0x10] {
            let literal = [&[first, 1, b'a', 2][..], b"bc"].concat();
            assert_eq!(read(&literal), Ok(vec![field("a", "bc")]));
        }
        let updated = [0x20, 0x3f, 0xe1, 0x1f, 0x88];
        assert_eq!(read(&updated), Ok(vec![field(":status", "200")]));
        assert_eq!(read(&[]), Ok(vec![]));
    }

    #[test]
    fn what_speaks_of_a_dynamic_table_or_breaks_off_is_an_error() {
        let wrong: [&[u8]; 10] = [
            &[0x80],
            &[0xbe],
            &[0x7e, 0],
            &[0x88, 0x20],
            &[0x20],
            &[0x3f, 0xe2, 0x1f, 0x88],
            &[0x48],
            &[0x48, 3, b'2'],
            &[0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x40, 0x81, 0x18, 0],
        ];
        for block in wrong {
            assert_eq!(read(block), Err(BadBlock), "{block:x?}");
        }
    }
}
