//! The head of a response (RFC 9113, section 8.3.2). No I/O.
//!
//! As in HTTP/1.1 the status counts as soon as it is clear, whatever is odd behind it. A `content-length` that is none
//! is not even looked at: a stream says itself where its response ends.

use super::hpack::decoder::{BadBlock, Fields};
use crate::deliver::answer::Answer;

/// What the head of a response says.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) answer: Answer,
    /// Whether the rest of the block can be read, too.
    pub(super) is_sound: bool,
}

/// A response without a clear status: why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Head {
    /// The head of a delivery of which nothing but the status matters.
    pub(super) const fn plain(status: u16) -> Self {
        Self { answer: Answer::new(status), is_sound: true }
    }

    /// The status, where it is such a head.
    pub(super) fn status_of_plain(&self) -> Option<u16> {
        let Answer { status, keep_alive: None, odd: None, refusal: None, kept: None } = self.answer else {
            return None;
        };
        (self.is_sound && self.answer.is_delivery()).then_some(status)
    }

    /// What `block` says. `keeps` says whether the route looks into answers.
    pub(super) fn read(block: &[u8], keeps: bool) -> Result<Self, Malformed> {
        let mut fields = Fields::of(block);
        let status = match fields.next() {
            Some(Ok((name, value))) if name.is(b":status") => {
                value.decode().ok().and_then(|text| number(&text))
            }
            Some(Ok(_)) | None => None,
            Some(Err(BadBlock)) => return Err(Malformed("the head of the answer can't be read (HPACK)")),
        };
        let status = status.ok_or(Malformed("the answer has no clear :status"))?;
        let mut answer = Answer { kept: keeps.then(Box::default), ..Answer::new(status) };
        let is_sound = rest(fields, &mut answer).is_ok();
        Ok(Self { answer, is_sound })
    }
}

/// Reads what matters of the other fields. Of a delivery on most routes, that is nothing: only that they can be read.
fn rest(fields: Fields<'_>, answer: &mut Answer) -> Result<(), BadBlock> {
    let is_delivery = answer.is_delivery();
    for field in fields {
        let (name, value) = field?;
        if is_delivery && answer.kept.is_none() {
            continue;
        }
        let (name, value) = (name.decode()?, value.decode()?);
        if name.starts_with(b":") {
            answer.note("a pseudo-header field in the wrong place");
            continue;
        }
        if !is_delivery {
            answer.describe(&name, &value);
        }
        if let Some(kept) = &mut answer.kept {
            kept.describe(&name, &value);
        }
    }
    Ok(())
}

fn number(text: &[u8]) -> Option<u16> {
    match *text {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let digit = |byte: u8| u16::from(byte - b'0');
            Some(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(block: &[u8]) -> Result<u16, &'static str> {
        Head::read(block, false).map(|head| head.answer.status).map_err(|Malformed(words)| words)
    }

    #[test]
    fn the_status_is_read_however_it_is_written() {
        assert_eq!(status(&[0x88]), Ok(200));
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Ok(302));
        assert_eq!(status(b"\x08\x03429"), Ok(429));
        assert_eq!(status(b"\x00\x07:status\x03999"), Ok(999));
        assert_eq!(status(b"\x20\x88"), Ok(200));
    }

    #[test]
    fn without_a_clear_status_there_is_no_answer() {
        let blocks: [&[u8]; 8] = [
            b"",
            b"\x08\x0220",
            b"\x08\x042000",
            b"\x08\x03099",
            b"\x08\x032 0",
            b"\x00\x01a\x01b\x88",
            b"\x87",
            b"\xbe",
        ];
        for block in blocks {
            assert!(status(block).is_err(), "{block:x?}");
        }
    }

    #[test]
    fn a_refusal_is_described_and_a_delivery_only_where_it_is_kept() {
        let fields = b"\x0f\x26\x0230\x0f\x10\x0atext/plain";
        let read =
            |status: u8, keeps| Head::read(&[&[status], fields.as_slice()].concat(), keeps).unwrap().answer;
        let refusal = read(0x8e, false).refusal.unwrap();
        assert_eq!(refusal.retry_after, Some(std::time::Duration::from_secs(30)));
        assert_eq!(read(0x88, false), Answer::new(200));
        assert_eq!(read(0x88, true).kept.unwrap().content_type.as_deref(), Some(b"text/plain".as_slice()));
    }

    #[test]
    fn what_can_t_be_read_behind_the_status_leaves_it_as_it_is() {
        let head = Head::read(&[0x88, 0xbe], false).unwrap();
        assert_eq!((head.answer.status, head.is_sound), (200, false));
        let twice = Head::read(&[0x8e, 0x88], false).unwrap();
        assert_eq!((twice.answer.status, twice.answer.odd.is_some()), (500, true));
    }
}
