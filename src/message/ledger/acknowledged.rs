//! Which messages of a stream are known to be done with, so that they are not delivered once more where their consumer has
//! forgotten it. No clock, no I/O: this is told the time.

use std::{collections::VecDeque, time::Duration};

use crate::base::clock::Time;

/// How many words of 64 sequences are kept: a megabyte, and eight million messages between the oldest that is in hand
/// and the newest.
const MOST_WORDS: usize = 128 * 1024;

/// How long a server may take to write down what it has been told. Most often it takes a tenth of a second.
const WRITING: Duration = Duration::from_secs(10);

/// A set of sequences, a bit for each from the first that matters.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// The number of the first word: that of its first sequence, divided by 64.
    first: u64,
    words: VecDeque<u64>,
    /// The number of the first word that is not known to the consumer as a whole.
    floor: u64,
    /// When the newest message of the set was published. What is newer can't be in it: a stream that was made anew counts
    /// from the beginning again.
    newest: u64,
}

/// What the book of a lane knows of messages that it has no more to do with. It is of interest also when the book has ended: a server
/// that is killed then may not have written down the last acks, and delivers again what the book was told that it knows.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) acknowledged: Acknowledged,
    /// The highest sequence that came.
    pub(super) highest: u64,
    /// Up to which sequence the consumer has said that it knows of all, and when.
    known: Option<(u64, Time)>,
}

impl Past {
    /// The consumer said at `asked` that it knows of all up to `floor`. When it has had the time to write that down, nothing need be
    /// known of it here.
    pub(super) fn known(&mut self, floor: u64, asked: Time) {
        let before = self.known.get_or_insert((floor, asked));
        if asked.since(before.1) >= WRITING {
            let (written, _) = std::mem::replace(before, (floor, asked));
            self.acknowledged.forget_up_to(written.min(floor));
        }
    }

    /// Adds what another book has known.
    pub(super) fn add(&mut self, Self { acknowledged, highest, .. }: Self) {
        self.acknowledged.add_all(acknowledged);
        self.highest = self.highest.max(highest);
    }
}

impl Acknowledged {
    /// Adds the message with this `sequence`, which was `published` then.
    pub(super) fn add(&mut self, sequence: u64, published: u64) {
        self.add_word(sequence / 64, 1 << (sequence % 64));
        self.newest = self.newest.max(published);
    }

    /// Adds all that is in `other`.
    pub(super) fn add_all(&mut self, other: Self) {
        self.floor = self.floor.max(other.floor);
        for (number, bits) in (other.first..).zip(other.words).filter(|(_, bits)| *bits != 0) {
            self.add_word(number, bits);
        }
        self.newest = self.newest.max(other.newest);
    }

    /// Adds the `bits` of the word with this `number`.
    fn add_word(&mut self, number: u64, bits: u64) {
        if self.words.is_empty() {
            self.first = number;
        }
        // The first message that comes to an end need not be the first that came.
        let below = self.first.saturating_sub(number);
        if number < self.floor || below > (MOST_WORDS - self.words.len()) as u64 {
            return;
        }
        for _ in 0..below {
            self.words.push_front(0);
        }
        self.first -= below;
        let mut index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if index >= MOST_WORDS {
            self.drop_first(index.saturating_sub(MOST_WORDS - 1), number);
            index = usize::try_from(number - self.first).unwrap_or_default();
        }
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        self.words[index] |= bits;
    }

    /// Whether the message with this `sequence`, which was `published` then, is known to be done with.
    pub(super) fn contains(&self, sequence: u64, published: u64) -> bool {
        let index = (sequence / 64).checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let word = index.and_then(|index| self.words.get(index));
        published <= self.newest && word.is_some_and(|word| word & (1 << (sequence % 64)) != 0)
    }

    /// Forgets what the consumer itself is known to know: all up to this sequence.
    pub(super) fn forget_up_to(&mut self, sequence: u64) {
        self.floor = sequence.saturating_add(1) / 64;
        let words = usize::try_from(self.floor.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if words > 0 && !self.words.is_empty() {
            self.drop_first(words, self.floor);
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
        // The webhook need not take them in their order.
        for sequence in [163, 101, 5_000, 164, 100] {
            set.add(sequence, sequence);
        }
        let known: Vec<_> = (0..6_000).filter(|sequence| set.contains(*sequence, 1)).collect();
        assert_eq!(known, [100, 101, 163, 164, 5_000]);
        set.forget_up_to(130);
        let known: Vec<_> = (0..6_000).filter(|sequence| set.contains(*sequence, 1)).collect();
        assert_eq!(known, [163, 164, 5_000]);
        set.forget_up_to(10_000);
        for sequence in [20_000, 10_001, 200] {
            set.add(sequence, sequence);
        }
        let known: Vec<_> = (0..30_000).filter(|sequence| set.contains(*sequence, 1)).collect();
        assert_eq!(known, [10_001, 20_000], "of what the consumer knows nothing need be known here");
    }

    #[test]
    fn what_another_one_knows_can_be_added_wherever_it_begins() {
        for (mine, others) in [(5_000, [100, 9_000]), (100, [5_000, 5_001]), (7, [7, 8])] {
            let (mut set, mut other) = (Acknowledged::default(), Acknowledged::default());
            set.add(mine, 1);
            others.into_iter().for_each(|sequence| other.add(sequence, 2));
            let mut all = Acknowledged::default();
            for part in [set, other] {
                all.add_all(part);
            }
            assert!(others.into_iter().all(|sequence| all.contains(sequence, 2)) && all.contains(mine, 1));
            let known = (0..10_000).filter(|sequence| all.contains(*sequence, 1)).count();
            assert_eq!(known, std::collections::BTreeSet::from([mine, others[0], others[1]]).len());
        }
        let (mut set, mut far) = (Acknowledged::default(), Acknowledged::default());
        set.add(u64::MAX, 1);
        far.add(1, 1);
        set.add_all(far);
        assert!(set.contains(u64::MAX, 1) && set.words.len() <= MOST_WORDS);
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
