//! How often messages were attempted that went back to their stream: the stream counts deliveries, which says nothing of
//! attempts.

use std::collections::{HashMap, VecDeque};

/// How many are remembered. The oldest are forgotten first: those count from the beginning again, which no message dies of.
const MOST: usize = 64 * 1024;

/// A message of a stream: its sequence, and when it was published.
type Key = (u64, u64);

#[derive(Debug, Default)]
pub(super) struct Attempts {
    counts: HashMap<Key, u32>,
    /// In the order in which they came.
    order: VecDeque<Key>,
}

impl Attempts {
    /// Remembers that this message was attempted so often. Of two counts the higher one is right.
    pub(super) fn remember(&mut self, key: Key, attempts: u32) {
        if let Some(known) = self.counts.get_mut(&key) {
            *known = attempts.max(*known);
            return;
        }
        while self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        self.counts.insert(key, attempts);
        self.order.push_back(key);
    }

    /// How often this message was attempted, as far as is known. From now on whoever has it knows.
    pub(super) fn take(&mut self, key: Key) -> u32 {
        self.counts.remove(&key).unwrap_or_default()
    }

    /// All that is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = (Key, u32)> {
        self.counts.iter().map(|(key, attempts)| (*key, *attempts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_count_is_kept_and_the_oldest_is_forgotten() {
        let mut attempts = Attempts::default();
        attempts.remember((1, 10), 3);
        attempts.remember((1, 10), 2);
        assert_eq!((attempts.all().count(), attempts.take((1, 11))), (1, 0));
        for sequence in 0..MOST as u64 {
            attempts.remember((sequence, 20), 1);
        }
        assert_eq!(attempts.counts.len(), MOST);
        assert_eq!((attempts.take((1, 10)), attempts.take((1, 20)), attempts.take((1, 20))), (0, 1, 0));
    }
}
