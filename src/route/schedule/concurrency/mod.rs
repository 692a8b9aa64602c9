//! How many attempts may be under way at a webhook: a number, or what it takes without having requests stand in line.

mod changes;
mod controller;
mod tally;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use changes::{Change, Changes};
use controller::Controller;
use tally::Tally;

use super::slow_start::SlowStart;
use crate::base::clock::Time;

/// In how many parts a lane tells what it has counted in a round.
const PARTS: usize = 4;

/// How many attempts one lane may have under way.
#[derive(Debug)]
pub enum Window {
    /// A fixed number, after a slow start.
    Fixed(SlowStart),
    /// Its share of a limit that follows the webhook.
    Adaptive(Share),
}

impl Window {
    /// How many attempts may be under way.
    pub fn size(&self) -> usize {
        match self {
            Self::Fixed(start) => start.window(),
            Self::Adaptive(share) => share.size(),
        }
    }

    /// How many may be when the slow start is over.
    pub fn full(&self) -> usize {
        match self {
            Self::Fixed(start) => start.full(),
            Self::Adaptive(share) => share.size(),
        }
    }

    /// Takes note that an attempt begins.
    pub fn begun(&mut self) {
        if let Self::Adaptive(share) = self {
            share.begun();
        }
    }

    /// Takes note that an attempt has ended. What came of it is told afterwards.
    pub fn ended(&mut self) {
        if let Self::Adaptive(share) = self {
            share.ended();
        }
    }

    /// Takes note of an attempt that was delivered.
    pub fn delivered(&mut self, began: Time, now: Time) {
        match self {
            Self::Fixed(start) => start.delivered(),
            Self::Adaptive(share) => share.delivered(began, now),
        }
    }

    /// Takes note of an attempt whose message the webhook does not want. To say no may take it less time.
    pub const fn rejected(&mut self) {
        if let Self::Fixed(start) = self {
            start.delivered();
        }
    }

    /// Takes note of an attempt that failed since the webhook had too much to do.
    /// Whether fewer at a time may be what it wants, and not fewer a second.
    pub fn refused(&mut self, began: Time, now: Time) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Adaptive(share) => share.refused(began, now),
        }
    }

    /// Takes note that there is more to do at `now` than the window allows. When to look again, though no attempt may
    /// have ended by then; none where only that makes room.
    pub fn wanted(&mut self, now: Time) -> Option<Time> {
        match self {
            Self::Fixed(start) => start.wanted(now),
            Self::Adaptive(share) => {
                share.tally.limited = true;
                None
            }
        }
    }
}

impl From<SlowStart> for Window {
    fn from(start: SlowStart) -> Self {
        Self::Fixed(start)
    }
}

/// The limit of a route that follows its webhook: all clones are the same one.
#[derive(Clone, Debug)]
pub struct AdaptiveLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    controller: Mutex<Controller>,
    /// What the controller says, for those who only look.
    limit: AtomicUsize,
    since: AtomicU64,
    changes: [AtomicU64; Change::ALL.len()],
    /// Attempts under way on all lanes.
    under_way: AtomicUsize,
}

impl AdaptiveLimit {
    /// From `min` to `max` attempts at the same time.
    pub fn new(min: NonZeroUsize, max: NonZeroUsize) -> Self {
        let controller = Controller::new(min.get(), max.get());
        Self(Arc::new(Shared {
            limit: AtomicUsize::new(controller.limit()),
            since: AtomicU64::new(controller.since().as_nanos()),
            changes: Default::default(),
            under_way: AtomicUsize::new(0),
            controller: Mutex::new(controller),
        }))
    }

    /// How many attempts may be under way now, over all lanes.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Relaxed)
    }

    /// How often it was changed for this reason.
    pub fn changed(&self, why: Change) -> u64 {
        self.0.changes.get(why as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// What lane number `rank` of so many `lanes` has of it. At the start of time the clock on the wall said `wall`.
    pub fn share(&self, lanes: usize, rank: usize, wall: Duration) -> Share {
        let (shared, since) = (Arc::clone(&self.0), self.0.since());
        Share { shared, lanes: lanes.max(1), rank, wall, under_way: 0, since, tally: Tally::default() }
    }
}

impl Shared {
    fn since(&self) -> Time {
        Time::from_nanos(self.since.load(Relaxed))
    }

    fn change<T>(&self, step: impl FnOnce(&mut Controller) -> T) -> T {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        let result = step(&mut controller);
        // Under the lock, so that of two changes the later one is shown.
        self.limit.store(controller.limit(), Relaxed);
        self.since.store(controller.since().as_nanos(), Relaxed);
        for (shown, count) in self.changes.iter().zip(controller.changes().counts()) {
            shown.store(count, Relaxed);
        }
        result
    }
}

/// The part of one lane. It counts for itself, and tells the controller only now and then, so that lanes do not wait
/// for each other.
#[derive(Debug)]
pub struct Share {
    shared: Arc<Shared>,
    lanes: usize,
    rank: usize,
    wall: Duration,
    /// Attempts under way on this lane.
    under_way: usize,
    /// What was counted on this lane since then, and the controller does not know yet.
    since: Time,
    tally: Tally,
}

impl Share {
    /// An even part, but at least one: a lane without any could never deliver what NATS gives it.
    fn size(&self) -> usize {
        let limit = self.shared.limit.load(Relaxed);
        (limit / self.lanes + usize::from(self.rank < limit % self.lanes)).max(1)
    }

    fn begun(&mut self) {
        self.under_way += 1;
        let all = self.shared.under_way.fetch_add(1, Relaxed) + 1;
        self.tally.peak = self.tally.peak.max(all);
    }

    fn ended(&mut self) {
        self.under_way -= 1;
        self.shared.under_way.fetch_sub(1, Relaxed);
    }

    fn delivered(&mut self, began: Time, now: Time) {
        let since = self.shared.since();
        if since != self.since {
            (self.since, self.tally) = (since, Tally::default());
        }
        if began < since {
            return;
        }
        self.tally.add(now.since(began));
        if self.tally.count() as usize >= self.size() / PARTS {
            let tally = std::mem::take(&mut self.tally);
            self.shared.change(|controller| controller.delivered(&tally, now, self.wall));
        }
    }

    fn refused(&mut self, began: Time, now: Time) -> bool {
        // The one that was refused has ended already.
        let under_way = self.shared.under_way.load(Relaxed) + 1;
        let tally = std::mem::take(&mut self.tally);
        self.shared.change(|controller| {
            if self.since == controller.since() {
                controller.delivered(&tally, now, self.wall);
            }
            controller.refused(began, now, under_way)
        })
    }
}

impl Drop for Share {
    /// What was under way is broken off when its lane's pipeline ends.
    fn drop(&mut self) {
        self.shared.under_way.fetch_sub(self.under_way, Relaxed);
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(min: usize, max: usize) -> AdaptiveLimit {
        let number = |n| NonZeroUsize::new(n).unwrap();
        AdaptiveLimit::new(number(min), number(max))
    }

    #[test]
    fn the_lanes_have_all_of_it_and_one_at_least() {
        let sizes = |limit: &AdaptiveLimit, lanes: usize| -> Vec<usize> {
            (0..lanes).map(|rank| limit.share(lanes, rank, Duration::ZERO).size()).collect()
        };
        assert_eq!(sizes(&limit(10, 10), 4), [3, 3, 2, 2]);
        assert_eq!(sizes(&limit(2, 2), 4), [1, 1, 1, 1]);
    }

    #[test]
    fn lanes_count_together() {
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        let limit = limit(1, 100);
        let mut lanes = [0, 1].map(|rank| limit.share(2, rank, Duration::ZERO));
        for lane in &mut lanes {
            lane.tally.limited = true;
            (0..2).for_each(|_| lane.begun());
        }
        assert_eq!(limit.0.under_way.load(Relaxed), 4);
        for lane in &mut lanes {
            (0..2).for_each(|_| lane.ended());
            (0..2).for_each(|_| lane.delivered(at(10), at(60)));
        }
        assert_eq!(limit.limit(), 8, "twice two deliveries are a round");
        lanes[0].begun();
        drop(lanes);
        assert_eq!(limit.0.under_way.load(Relaxed), 0, "what a lane leaves is not under way any more");
    }
}
