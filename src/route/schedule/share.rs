//! A bound in bytes that the lanes of a route share.
//!
//! An even part for each lane would turn away a message that is larger than such a part, though the route has room for
//! it. So a lane draws of the whole what it needs, and a little more, so that messages do not touch what other lanes
//! write: one of some hundred small ones does while a queue grows, and none while it is short.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// All of the bytes.
#[derive(Debug)]
pub struct Pool {
    total: usize,
    lanes: usize,
    /// What the lanes have drawn.
    drawn: AtomicUsize,
}

/// What one lane has of them. Gives them back when it is dropped.
#[derive(Debug)]
pub struct Share {
    pool: Arc<Pool>,
    /// What is drawn at a time, and kept when it is not needed any more.
    unit: usize,
    drawn: usize,
    used: usize,
}

impl Pool {
    /// `total` bytes for so many `lanes`.
    pub fn new(total: NonZeroUsize, lanes: usize) -> Arc<Self> {
        Arc::new(Self { total: total.get(), lanes: lanes.max(1), drawn: AtomicUsize::new(0) })
    }

    /// The share of one more lane.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { pool: Arc::clone(self), unit: self.unit(), drawn: 0, used: 0 }
    }

    fn unit(&self) -> usize {
        /// More would save nothing.
        const MOST: usize = 64 * 1024;
        /// All lanes together keep no more than this part of the whole without need: it is missing to a message that
        /// takes nearly all of it.
        const KEPT: usize = 256;
        if self.lanes == 1 { self.total } else { MOST.min(self.total / KEPT / self.lanes) }
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |drawn: usize| drawn.checked_add(bytes).filter(|sum| *sum <= self.total);
        self.drawn.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    fn left(&self) -> usize {
        self.total.saturating_sub(self.drawn.load(Relaxed))
    }
}

impl Share {
    /// Uses `bytes`, if there are so many.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let wanted = self.used.saturating_add(bytes);
        let has_them = wanted <= self.drawn || self.draw(wanted - self.drawn);
        if has_them {
            self.used = wanted;
        }
        has_them
    }

    fn draw(&mut self, missing: usize) -> bool {
        let drawn =
            [missing.saturating_add(self.unit), missing].into_iter().find(|bytes| self.pool.take(*bytes));
        self.drawn += drawn.unwrap_or_default();
        drawn.is_some()
    }

    /// Uses `bytes` whether there are so many or not.
    pub(super) fn insist(&mut self, bytes: usize) {
        if !self.take(bytes) {
            self.used += bytes;
        }
    }

    /// Uses `bytes` less.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.used -= bytes;
        let spare = self.drawn.saturating_sub(self.used);
        if spare / 2 > self.unit {
            self.drawn -= spare - self.unit;
            self.pool.drawn.fetch_sub(spare - self.unit, Relaxed);
        }
    }

    /// What is used.
    pub(super) const fn used(&self) -> usize {
        self.used
    }

    /// How many more could be used now, if no other lane takes them first.
    pub(super) fn left(&self) -> usize {
        (self.pool.left() + self.drawn).saturating_sub(self.used)
    }

    /// How many more could be used now, if every lane takes an even part.
    pub(super) fn left_of_even_part(&self) -> usize {
        (self.pool.total / self.pool.lanes).saturating_sub(self.used).min(self.left())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.drawn.fetch_sub(self.drawn, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn pool(total: usize, lanes: usize) -> Arc<Pool> {
        Pool::new(NonZeroUsize::new(total).unwrap(), lanes)
    }

    #[test]
    fn a_lane_takes_nearly_all_of_it_while_the_others_hold_little() {
        let pool = pool(MIB, 4);
        let mut lanes: Vec<_> = (0..4).map(|_| pool.share()).collect();
        for lane in &mut lanes {
            assert!(lane.take(100));
            lane.give_back(100);
        }
        assert!(!lanes[0].take(MIB + 1));
        assert!(lanes[0].take(MIB - MIB / 256));
        assert!(!lanes[1].take(MIB / 2), "another lane has them");
        lanes[0].give_back(MIB - MIB / 256);
        assert!(lanes[1].take(MIB / 2));
    }

    #[test]
    fn the_lanes_together_never_take_more_than_there_is() {
        let pool = pool(100_000, 3);
        let mut lanes: Vec<_> = (0..3).map(|_| pool.share()).collect();
        // Any sequence does that takes and gives back in unequal parts.
        let mut held = Vec::new();
        for step in 0..10_000_usize {
            let (lane, bytes) = (step % 3, 1 + step * 7919 % 3_000);
            if lanes[lane].take(bytes) {
                held.push((lane, bytes));
            } else if let Some((lane, bytes)) = held.pop() {
                lanes[lane].give_back(bytes);
            }
            let used: usize = lanes.iter().map(Share::used).sum();
            assert!(used <= 100_000, "{used} at step {step}");
        }
        held.into_iter().for_each(|(lane, bytes)| lanes[lane].give_back(bytes));
        drop(lanes);
        assert_eq!(pool.left(), 100_000);
    }

    #[test]
    fn a_short_queue_does_not_touch_what_others_write() {
        let pool = pool(32 * MIB, 4);
        let mut lane = pool.share();
        assert!(lane.take(400));
        let left = pool.left();
        for _ in 0..100 {
            assert!(lane.take(400));
        }
        (0..100).for_each(|_| lane.give_back(400));
        assert_eq!(pool.left(), left);
    }

    #[test]
    fn what_is_insisted_on_is_given_back_all_the_same() {
        let pool = pool(1_000, 2);
        let mut lane = pool.share();
        assert!(lane.take(990));
        lane.insist(100);
        assert_eq!((lane.used(), lane.left()), (1_090, 0));
        lane.give_back(1_090);
        drop(lane);
        assert_eq!(pool.left(), 1_000);
    }

    #[test]
    fn an_even_part_leaves_the_others_theirs() {
        let pool = pool(8 * MIB, 4);
        let (mut one, mut other) = (pool.share(), pool.share());
        assert!(one.take(MIB));
        assert_eq!(one.left_of_even_part(), MIB);
        assert!(other.take(6 * MIB));
        assert!(one.left_of_even_part() < MIB);
        assert_eq!(other.left_of_even_part(), 0);
    }
}
