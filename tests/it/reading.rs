//! What must hold of reading any bytes at all as a response. Shared by the tests and the fuzz target.

use broadcaster::deliver::h1::response::{KnownHead, Malformed, Progress, ResponseReader};

/// Reads `bytes`, of which `step` more arrive each time, and then the end.
fn read(bytes: &[u8], step: usize) -> Result<Progress, Malformed> {
    read_after(bytes, step, &mut KnownHead::default())
}

/// The same after another response.
fn read_after(bytes: &[u8], step: usize, known: &mut KnownHead) -> Result<Progress, Malformed> {
    let mut reader = ResponseReader::default();
    let (mut start, mut end) = (0, 0);
    let mut status = None;
    loop {
        let ended = end == bytes.len();
        end = (end + step).min(bytes.len());
        let arrived = &bytes[start..end];
        let (taken, progress) = reader.read_after(arrived, ended, known)?;
        assert!(taken <= arrived.len(), "took more than there was");
        start += taken;
        match &progress {
            Progress::More => assert!(!ended, "wants more after the end"),
            Progress::Complete { answer, reusable } => {
                assert!(status.is_none_or(|status| status == answer.status), "{status:?} became {answer:?}");
                assert!(
                    answer.odd.is_none() || !reusable,
                    "an odd answer may be followed by another: {answer:?}"
                );
                return Ok(progress);
            }
        }
        // A status that is known may count at any time, and never be another one later.
        assert!(status.is_none() || reader.status() == status, "{status:?} became {:?}", reader.status());
        status = reader.status();
    }
}

/// The status, where there is one, and whether the connection can be used again.
fn outcome(progress: Result<Progress, Malformed>) -> Option<(u16, bool)> {
    match progress {
        Ok(Progress::Complete { answer, reusable }) => Some((answer.status, reusable)),
        _ => None,
    }
}

/// No panic, no endless loop, and the same status however the bytes arrive. The first byte of `input` says in what
/// pieces.
pub(crate) fn check(input: &[u8]) {
    let Some((step, bytes)) = input.split_first() else { return };
    let whole = outcome(read(bytes, bytes.len().max(1)));
    for step in [usize::from(*step).max(1), 1] {
        let pieces = outcome(read(bytes, step));
        let status = |outcome: Option<(u16, bool)>| outcome.map(|(status, _)| status);
        assert!(status(pieces) == status(whole), "{whole:?} whole, {pieces:?} by {step}");
        // In pieces, the end may be reached before the junk behind it arrives.
        let reusable = |outcome: Option<(u16, bool)>| outcome.is_some_and(|(_, reusable)| reusable);
        assert!(!reusable(whole) || reusable(pieces), "{whole:?} whole, {pieces:?} by {step}");
    }
    // What was read before changes nothing, be it the same or another response.
    let (first, second) = bytes.split_at(usize::from(*step).min(bytes.len()));
    for (before, after) in [(bytes, bytes), (bytes, first), (first, bytes), (first, second)] {
        let mut known = KnownHead::default();
        drop(read_after(before, before.len().max(1), &mut known));
        for step in [after.len().max(1), usize::from(*step).max(1)] {
            assert_eq!(read_after(after, step, &mut known), read(after, step), "after another, by {step}");
        }
    }
}
