//! Whole numbers in HPACK, the first of whose bits share a byte with something else (RFC 7541, section 5.1).

/// The number with a prefix of `bits` at the front of `bytes`, and what follows it; none where it is not all there, or
/// larger than anything that can be meant.
pub(super) fn read(bytes: &[u8], bits: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let most = (1 << bits) - 1;
    let mut number = usize::from(first & most);
    if number < usize::from(most) {
        return Some((number, rest));
    }
    // Four bytes more are 2^28: far beyond the size of a block.
    for shift in [0, 7, 14, 21] {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number, rest));
        }
    }
    None
}

/// Appends `number` with a prefix of `bits`; `first` has the bits before it.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, first: u8, bits: u32, number: usize) {
    let most = (1_usize << bits) - 1;
    if number < most {
        return out.push(first | low(number));
    }
    put_long(out, first | low(most), number - most);
}

/// The lowest seven bits.
fn low(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

fn put_long(out: &mut Vec<u8>, first: u8, mut rest: usize) {
    out.push(first);
    while rest >= 0x80 {
        out.push(low(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for bits in 4..=7 {
            for number in [0, 1, 14, 15, 16, 30, 31, 126, 127, 128, 1337, 16_384, 1 << 20] {
                let mut bytes = Vec::new();
                put(&mut bytes, 0, bits, number);
                bytes.push(7);
                assert_eq!(read(&bytes, bits), Some((number, [7].as_slice())), "{number} with {bits}");
            }
        }
        // Appendix C.1.2.
        let mut bytes = Vec::new();
        put(&mut bytes, 0, 5, 1337);
        assert_eq!(bytes, [31, 154, 10]);
    }

    #[test]
    fn what_is_cut_short_or_too_large_is_none() {
        assert_eq!(read(&[], 5), None);
        assert_eq!(read(&[31], 5), None);
        assert_eq!(read(&[31, 0x80], 5), None);
        assert_eq!(read(&[31, 0xff, 0xff, 0xff, 0xff, 0x0f], 5), None);
    }
}
