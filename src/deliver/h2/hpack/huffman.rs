//! The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B), read only: what we send is shorter to make than to
//! compress.

/// How many bits each byte takes. The code is canonical, so nothing else is to be known: of two bytes of the same
/// length, the smaller one has the smaller code.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const LONGEST: usize = 30;

/// What a code of one length stands for.
#[derive(Clone, Copy)]
struct Length {
    /// The first code of that length, and the first of all codes that are longer.
    first: u32,
    end: u32,
    /// Where in [`CODE`] its bytes begin.
    start: usize,
}

struct CanonicalCode {
    lengths: [Length; LONGEST + 1],
    /// All bytes, ordered by their codes.
    bytes: [u8; 256],
}

static CODE: CanonicalCode = canonical();

const fn canonical() -> CanonicalCode {
    let mut lengths = [Length { first: 0, end: 0, start: 0 }; LONGEST + 1];
    let mut bytes = [0; 256];
    let (mut code, mut count, mut bits) = (0, 0, 1);
    while bits <= LONGEST {
        lengths[bits].first = code;
        lengths[bits].start = count;
        let mut byte = 0_u8;
        loop {
            if LENGTHS[byte as usize] as usize == bits {
                bytes[count] = byte;
                count += 1;
                code += 1;
            }
            if byte == u8::MAX {
                break;
            }
            byte += 1;
        }
        lengths[bits].end = code;
        code <<= 1;
        bits += 1;
    }
    CanonicalCode { lengths, bytes }
}

/// What `coded` stands for; none where it is no good code: it must end within a byte, and be filled up with ones.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    // The shortest code has five bits.
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut code, mut bits) = (0_u32, 0_usize);
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            bits += 1;
            let length = CODE.lengths.get(bits)?;
            if code < length.end {
                let place = length.start + usize::try_from(code.checked_sub(length.first)?).ok()?;
                text.push(*CODE.bytes.get(place)?);
                (code, bits) = (0, 0);
            }
        }
    }
    let is_padding = bits < 8 && code == (1 << bits) - 1;
    is_padding.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of one byte and its length.
    fn code(byte: u8) -> (u32, usize) {
        let bits = usize::from(LENGTHS[usize::from(byte)]);
        let length = CODE.lengths[bits];
        let place = CODE.bytes.iter().position(|other| *other == byte).unwrap();
        (length.first + u32::try_from(place - length.start).unwrap(), bits)
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        for (byte, expected) in
            [(b'0', 0x0), (b'a', 0x3), (b' ', 0x14), (b'!', 0x3f8), (0, 0x1ff8), (255, 0x3ff_ffee)]
        {
            assert_eq!(code(byte).0, expected, "{byte}");
        }
        // The end of a string has the last code, of thirty ones: it is none of a byte.
        assert_eq!(CODE.lengths[LONGEST].end, 0x3fff_ffff);
    }

    #[test]
    fn every_byte_is_read_alone_and_among_others() {
        for byte in 0..=255 {
            let (mut acc, mut bits) = (0_u64, 0);
            for letter in [b'x', byte] {
                let (code, length) = code(letter);
                acc = acc << length | u64::from(code);
                bits += length;
            }
            let padding = (8 - bits % 8) % 8;
            acc = acc << padding | ((1 << padding) - 1);
            let all = acc.to_be_bytes();
            let coded = &all[8 - (bits + padding) / 8..];
            assert_eq!(decode(coded).as_deref(), Some([b'x', byte].as_slice()), "{byte}");
        }
    }

    #[test]
    fn examples_of_the_standard_are_read() {
        // Appendix C.4.1 and C.6.1.
        let authority = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&authority).as_deref(), Some(b"www.example.com".as_slice()));
        assert_eq!(decode(&[0x64, 0x02]).as_deref(), Some(b"302".as_slice()));
        assert_eq!(decode(&[]).as_deref(), Some(b"".as_slice()));
    }

    #[test]
    fn padding_of_zeros_or_of_a_whole_byte_and_an_end_within_are_errors() {
        assert_eq!(decode(&[0b0001_1000]), None, "zeros");
        assert_eq!(decode(&[0b0001_1111, 0xff]), None, "a whole byte");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None, "the end of a string");
    }
}
