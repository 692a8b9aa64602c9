//! Which messages of a stream are known to be done with, so that they are not delivered once more where their consumer has
//! forgotten it. No clock, no I/O.

use std::collections::VecDeque;

/// How many words of 64 sequences are kept: a megabyte, and eight million messages between the oldest that is in hand
/// and the newest.
const MOST_WORDS: usize = 128 * 1024;

/// A set of sequences, a bit for each from the first that matters.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// The number of the first word: that of its first sequence, divided by 64.
    first: u64,
    words: VecDeque<u64>,
    /// When the newest message of the set was published. What is newer can't be in it: a stream that was made anew counts
    /// from the beginning again.
    newest: u64,
}

impl Acknowledged {
    /// Adds the message with this `sequence`, which was `published` then.
    pub(super) fn add(&mut self, sequence: u64, published: u64) {
        let word = sequence / 64;
        if self.words.is_empty() {
            self.first = word;
        }
        // Below the first there is nothing of interest any more.
        let Some(index) = word.checked_sub(self.first) else { return };
        let mut index = usize::try_from(index).unwrap_or(usize::MAX);
        if index >= MOST_WORDS {
            self.drop_first(index.saturating_sub(MOST_WORDS - 1), word);
            index = usize::try_from(word - self.first).unwrap_or_default();
        }
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        self.words[index] |= 1 << (sequence % 64);
        self.newest = self.newest.max(published);
    }

    /// Whether the message with this `sequence`, which was `published` then, is known to be done with.
    pub(super) fn contains(&self, sequence: u64, published: u64) -> bool {
        let index = (sequence / 64).checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let word = index.and_then(|index| self.words.get(index));
        published <= self.newest && word.is_some_and(|word| word & (1 << (sequence % 64)) != 0)
    }

    /// Forgets what the consumer itself is known to know: all up to this sequence.
    pub(super) fn forget_up_to(&mut self, sequence: u64) {
        let word = sequence.saturating_add(1) / 64;
        let words = usize::try_from(word.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if words > 0 && !self.words.is_empty() {
            self.drop_first(words, word);
        }
    }

    /// Drops so many words; where that are all, `next` is the first from now on.
    fn drop_first(&mut self, words: usize, next: u64) {
        if words >= self.words.len() {
            self.words.clear();
            self.first = next;
        } else {
            self.words.drain(..words);
            self.first += words as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_known() {
        let mut set = Acknowledged::default();
        for sequence in [100, 101, 163, 164, 5_000] {
            set.add(sequence, sequence);
        }
        let known: Vec<_> = (0..6_000).filter(|sequence| set.contains(*sequence, 1)).collect();
        assert_eq!(known, [100, 101, 163, 164, 5_000]);
        set.forget_up_to(130);
        let known: Vec<_> = (0..6_000).filter(|sequence| set.contains(*sequence, 1)).collect();
        assert_eq!(known, [163, 164, 5_000]);
    }

    #[test]
    fn a_message_of_a_stream_that_was_made_anew_is_not_known() {
        let mut set = Acknowledged::default();
        set.add(1, 1_000);
        assert!(set.contains(1, 1_000) && !set.contains(1, 1_001));
    }

    #[test]
    fn it_stays_small_however_far_apart_they_are() {
        let mut set = Acknowledged::default();
        for sequence in [0, 1, u64::from(u32::MAX), u64::from(u32::MAX) + 64 * 1024, u64::MAX] {
            set.add(sequence, 0);
            assert!(set.contains(sequence, 0) && set.words.len() <= MOST_WORDS, "{sequence}");
        }
        set.forget_up_to(u64::MAX - 1);
        for sequence in (0..100_000_000).step_by(1_000) {
            set.add(sequence, 0);
        }
        assert!(set.words.len() <= MOST_WORDS);
    }
}
