//! How many messages a route on one lane should hold, waiting and asked for. No I/O, and no clock: it is told
//! durations.
//!
//! Too few, and its workers run dry while the next ones are on their way; too many, and they wait here while another
//! replica has nothing to do. So it begins small, and follows how fast they are taken.

use std::time::Duration;

/// Half of what is held should last for about so long: some round trips.
const QUICK: Duration = Duration::from_millis(50);
/// What lasts longer than this is better left to others.
const SLOW: Duration = Duration::from_millis(500);
#[derive(Debug)]
pub(super) struct Prefetch {
    least: usize,
    most: usize,
    wanted: usize,
}

impl Prefetch {
    /// No more is held, however fast it goes, but for very many workers. docs/durable.md reckons `max_ack_pending` with this
    /// figure.
    pub(super) const MOST: usize = 2048;

    /// For a route with so much `concurrency`, and so many messages to a `batch`: each worker shall find another message
    /// when it is done with one, and one of them a whole batch.
    pub(super) fn new(concurrency: usize, batch: usize) -> Self {
        let least = (2 * concurrency).max(2 * batch).max(8);
        Self { least, most: least.max(Self::most(batch)), wanted: least }
    }

    /// The most that is held of a route with so many messages to a `batch`, where its workers are not very many.
    pub(super) fn most(batch: usize) -> usize {
        Self::MOST.max(4 * batch)
    }

    /// How many messages should be held.
    pub(super) const fn wanted(&self) -> usize {
        self.wanted
    }

    /// The queue ran low so long after messages were asked for.
    pub(super) fn ran_low(&mut self, after: Duration) {
        if after < QUICK {
            self.wanted = (2 * self.wanted).min(self.most);
        } else if after > SLOW {
            self.wanted = (self.wanted / 2).max(self.least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_grows_while_messages_are_taken_quickly_and_shrinks_when_they_are_not() {
        let mut prefetch = Prefetch::new(64, 1);
        assert_eq!(prefetch.wanted(), 128);
        for _ in 0..10 {
            prefetch.ran_low(ms(5));
        }
        assert_eq!(prefetch.wanted(), 2048);
        prefetch.ran_low(ms(100));
        assert_eq!(prefetch.wanted(), 2048);
        for _ in 0..10 {
            prefetch.ran_low(ms(30_000));
        }
        assert_eq!(prefetch.wanted(), 128);
    }

    #[test]
    fn many_workers_want_more_than_the_most() {
        let mut prefetch = Prefetch::new(4_000, 1);
        prefetch.ran_low(ms(1));
        assert_eq!(prefetch.wanted(), 8_000);
    }

    #[test]
    fn there_is_always_enough_for_a_whole_batch() {
        let mut prefetch = Prefetch::new(1, 5_000);
        assert_eq!(prefetch.wanted(), 10_000);
        (0..10).for_each(|_| prefetch.ran_low(ms(1)));
        assert_eq!(prefetch.wanted(), 20_000);
    }
}
