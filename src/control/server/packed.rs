//! Texts that are kept as gzip. Most clients take them so; for the others long ones are unpacked as they are read.

use std::{
    fmt::{self, Write as _},
    io::{self, BufWriter, Read as _, Write},
};

use bytes::{Buf as _, Bytes, BytesMut, buf::Reader};
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY},
};

use super::{
    answer::{Answer, Body, answer},
    exchange::Head,
};

/// How much is unpacked at a time, and packed.
const PIECE: usize = 32 * 1024;
/// A text that is no longer is also kept as it is: it takes little, and unpacking it for each who asks would take longer
/// than all else of an answer.
const SHORT: usize = 256 * 1024;

/// A text, packed. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    gzip: Bytes,
    /// The same, where it is short.
    plain: Option<Bytes>,
    /// How many bytes it has when it is unpacked.
    length: usize,
}

/// Packs what is written to it, fast, so that a long text is never there as a whole.
pub struct Packing {
    // What is written is cut into small parts, and the encoder takes its time for each.
    encoder: BufWriter<GzEncoder<Vec<u8>>>,
    plain: Option<String>,
    length: usize,
}

impl Default for Packing {
    fn default() -> Self {
        Self::at(Compression::fast())
    }
}

impl Packing {
    fn at(level: Compression) -> Self {
        let encoder = GzEncoder::new(Vec::new(), level);
        let encoder = BufWriter::with_capacity(PIECE, encoder);
        Self { encoder, plain: Some(String::new()), length: 0 }
    }

    /// All that was written.
    pub fn finish(self) -> io::Result<Packed> {
        let encoder = self.encoder.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Packed { gzip: encoder.finish()?.into(), plain: self.plain.map(Bytes::from), length: self.length })
    }
}

impl fmt::Write for Packing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.length += text.len();
        self.plain = self.plain.take().filter(|_| self.length <= SHORT);
        if let Some(plain) = &mut self.plain {
            plain.push_str(text);
        }
        Write::write_all(&mut self.encoder, text.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl Packed {
    /// `text`, packed as small as it gets.
    pub fn small(text: &str) -> Self {
        let mut packing = Packing::at(Compression::best());
        // Writing to memory does not fail.
        let written = packing.write_str(text).map_err(io::Error::other);
        written.and_then(|()| packing.finish()).unwrap_or_default()
    }

    /// An answer with this text, packed for a client that takes it so.
    pub fn answer(&self, content_type: &'static str, takes_gzip: bool) -> Answer {
        let body = match &self.plain {
            _ if takes_gzip => self.gzip.clone().into(),
            Some(plain) => plain.clone().into(),
            None => Body::Unpacked(Unpacked::of(self)),
        };
        let mut answer = answer(StatusCode::OK, content_type, body);
        answer.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        if takes_gzip {
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// Whether the client with this `head` takes gzip.
pub fn takes_gzip(head: &Head) -> bool {
    head.header(ACCEPT_ENCODING).is_some_and(|codings| {
        codings.split(',').any(|coding| {
            let (name, rest) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim() == "gzip" && !matches!(rest.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    })
}

/// A text that is unpacked piece by piece.
pub struct Unpacked {
    decoder: Box<GzDecoder<Reader<Bytes>>>,
    packed: usize,
    left: usize,
}

impl Unpacked {
    fn of(Packed { gzip, length, .. }: &Packed) -> Self {
        let decoder = Box::new(GzDecoder::new(gzip.clone().reader()));
        Self { decoder, packed: gzip.len(), left: *length }
    }

    /// How many bytes there are still to come.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// How many bytes it keeps in memory until they are read.
    pub(super) const fn kept(&self) -> usize {
        self.packed + PIECE
    }
}

impl Iterator for Unpacked {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::zeroed(PIECE.min(self.left));
        // What this process has packed can be unpacked.
        let read = self.decoder.read(&mut piece).ok().filter(|read| *read > 0)?;
        self.left -= read;
        piece.truncate(read);
        Some(piece.freeze())
    }
}

#[cfg(test)]
impl Packed {
    /// What was packed, as it was.
    pub fn text(&self) -> String {
        String::from_utf8(Unpacked::of(self).flatten().collect()).unwrap()
    }

    /// How many bytes it has when it is packed.
    pub const fn size(&self) -> usize {
        self.gzip.len()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_long_text_is_small_and_comes_out_as_it_was() {
        let mut packing = Packing::default();
        let mut text = String::new();
        for number in 0..100_000 {
            let line = format!("messages{{route=\"{number}\"}} {number}\n");
            packing.write_str(&line).unwrap();
            text.push_str(&line);
        }
        let packed = packing.finish().unwrap();
        assert!(packed.gzip.len() < text.len() / 3, "{} of {} bytes", packed.gzip.len(), text.len());
        let unpacked = Unpacked::of(&packed);
        assert_eq!(unpacked.left(), text.len());
        assert!(packed.plain.is_none(), "it would be there as a whole");
        let pieces: Vec<_> = unpacked.collect();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert!(pieces.concat() == text.as_bytes());
    }

    #[test]
    fn gzip_is_for_those_that_take_it() {
        for (codings, takes) in [
            ("gzip, deflate, br, zstd", true),
            ("gzip;q=0.5", true),
            ("br", false),
            ("gzip;q=0, br", false),
            ("", false),
        ] {
            let request = Request::get("/").header(ACCEPT_ENCODING, codings).body(()).unwrap();
            assert_eq!(takes_gzip(&Head::without_peer(request.into_parts().0)), takes, "{codings}");
        }
    }
}
