//! What must hold of reading any bytes at all as a response. Shared by the tests and the fuzz target.

use broadcaster::deliver::h1::response::{Malformed, Progress, ResponseReader};

/// Reads `bytes`, of which `step` more arrive each time, and then the end.
fn read(bytes: &[u8], step: usize) -> Result<Progress, Malformed> {
    let mut reader = ResponseReader::default();
    let (mut start, mut end) = (0, 0);
    loop {
        let ended = end == bytes.len();
        end = (end + step).min(bytes.len());
        let arrived = &bytes[start..end];
        let (taken, progress) = reader.read(arrived, ended)?;
        assert!(taken <= arrived.len(), "took more than there was");
        start += taken;
        if progress != Progress::More {
            return Ok(progress);
        }
        assert!(!ended, "wants more after the end");
    }
}

/// The status, where there is one.
fn status(outcome: Result<Progress, Malformed>) -> Option<u16> {
    match outcome {
        Ok(Progress::Complete { answer, .. }) => Some(answer.status),
        _ => None,
    }
}

/// No panic, no endless loop, and the same answer however the bytes arrive. The first byte of `input` says in what pieces.
pub(crate) fn check(input: &[u8]) {
    let Some((step, bytes)) = input.split_first() else { return };
    let whole = status(read(bytes, bytes.len().max(1)));
    for step in [usize::from(*step).max(1), 1] {
        let pieces = status(read(bytes, step));
        // In pieces, the end may be reached before the junk behind it arrives.
        assert!(whole.is_none() || pieces == whole, "{whole:?} whole, {pieces:?} by {step}");
    }
}
