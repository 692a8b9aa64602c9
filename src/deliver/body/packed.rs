//! Bodies that are compressed on their way. The only file that names the libraries for it.

use std::{
    cell::RefCell,
    fmt,
    io::{self, Read},
};

use flate2::{Compress, FlushCompress, Status};
use zstd::bulk::Compressor;

use crate::config::{Compression, ContentCoding};

/// Compresses the bodies of one route on one lane, with what the libraries need for that made once.
pub(in crate::deliver) struct Packer {
    settings: Compression,
    /// None until the first body that is compressed.
    engine: RefCell<Option<Engine>>,
}

enum Engine {
    Gzip(Compress),
    Zstd(Compressor<'static>),
}

/// What `packed` was before it was compressed.
///
/// # Errors
/// It is not compressed so, or was more than `limit` bytes before: a few bytes can stand for as many as there is memory.
pub fn unpack(encoding: ContentCoding, packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut source: Box<dyn Read + '_> = match encoding {
        ContentCoding::Gzip => Box::new(flate2::read::GzDecoder::new(packed)),
        ContentCoding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
    };
    let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.by_ref().take(room).read_to_end(&mut body)?;
    if body.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    Ok(body)
}

/// The window of gzip, in bits: 32 KiB, as every receiver has it.
const WINDOW: u8 = 15;
/// A gzip that does nothing adds less than this, in bytes.
const GZIP_AROUND: usize = 64;

impl Packer {
    pub(in crate::deliver) const fn new(settings: Compression) -> Self {
        Self { settings, engine: RefCell::new(None) }
    }

    /// What `Content-Encoding` names.
    pub(in crate::deliver) fn encoding(&self) -> &'static str {
        self.settings.encoding.name()
    }

    /// `body`, compressed; none where it had better be sent as it is: it is too small, or would not become smaller.
    pub(in crate::deliver) fn pack(&self, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() < self.settings.min {
            return None;
        }
        let mut engine = self.engine.borrow_mut();
        if engine.is_none() {
            *engine = Engine::new(self.settings.encoding);
        }
        let packed = engine.as_mut()?.pack(body);
        packed.filter(|packed| packed.len() < body.len())
    }
}

impl Engine {
    /// None where there is no memory for it: bodies are sent as they are then.
    fn new(encoding: ContentCoding) -> Option<Self> {
        match encoding {
            ContentCoding::Gzip => {
                Some(Self::Gzip(Compress::new_gzip(flate2::Compression::default(), WINDOW)))
            }
            ContentCoding::Zstd => Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).ok().map(Self::Zstd),
        }
    }

    fn pack(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Gzip(gzip) => {
                gzip.reset();
                // What does not fit is not smaller.
                let mut packed = Vec::with_capacity(body.len() + GZIP_AROUND);
                let status = gzip.compress_vec(body, &mut packed, FlushCompress::Finish);
                matches!(status, Ok(Status::StreamEnd)).then_some(packed)
            }
            Self::Zstd(zstd) => zstd.compress(body).ok(),
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_can_be_unpacked_one_after_the_other() {
        for encoding in [ContentCoding::Gzip, ContentCoding::Zstd] {
            let packer = Packer::new(Compression { encoding, min: 0 });
            for round in 1..20_usize {
                let body = format!("{{\"round\": {round}}},").repeat(round * 100).into_bytes();
                let packed = packer.pack(&body).expect("it becomes smaller");
                assert!(packed.len() < body.len() / 2, "{encoding:?}: {} of {}", packed.len(), body.len());
                let unpacked = unpack(encoding, &packed, body.len()).expect("it can be unpacked");
                assert_eq!(unpacked, body, "{encoding:?}");
                let error = unpack(encoding, &packed, body.len() - 1).expect_err("it is too large");
                assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{encoding:?}");
                assert!(unpack(encoding, &body, body.len()).is_err(), "{encoding:?} takes anything");
            }
        }
    }

    #[test]
    fn what_would_not_become_smaller_is_left_as_it_is() {
        let mut noise = Vec::new();
        let mut state = 1_u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.push(state.to_be_bytes()[0]);
        }
        for encoding in [ContentCoding::Gzip, ContentCoding::Zstd] {
            let packer = Packer::new(Compression { encoding, min: 100 });
            for body in [&b""[..], b"7", &[b'x'; 99], &noise] {
                assert_eq!(packer.pack(body), None, "{encoding:?}, {} bytes", body.len());
            }
            assert!(packer.pack(&[b'x'; 100]).is_some());
        }
    }
}
