//! What is counted, where it happens: one set of figures for each route on each lane.
//!
//! No two lanes write to the same figure, so counting is an uncontended addition. [`metrics`](crate::control::metrics)
//! adds the lanes up when somebody looks. All access is relaxed: each figure stands for itself, and a reader may see
//! one message in one figure and not yet in another.

mod counts;
mod load;

use std::{
    array,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

pub use self::{
    counts::{Counts, Durations},
    load::{InHand, Load, Loads},
};

use crate::{
    base::{
        clock::{Time, nanos},
        throttle::SharedThrottle,
    },
    message::outcome::{Failure, Outcome, Publication},
};

/// Where the ranges of histograms end, in seconds. The first ones are for a webhook next door; the last ones for the longest
/// timeouts, and for deliveries after an outage.
const REQUEST_BOUNDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const DELIVERY_BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that only grows, and that only one thread adds to: that of the lane. To add for several takes a locked
/// instruction, which is as long as twenty others, and each message is counted in seven places.
#[derive(Debug, Default)]
pub struct LaneCounter(AtomicU64);

impl LaneCounter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that one writer keeps at its present value. It is set and never added to, so it can't drift away from what
/// it shows.
#[derive(Debug, Default)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    /// Makes it `value`.
    pub fn set(&self, value: usize) {
        self.0.store(value, Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// How many durations fell into which range.
///
/// The ranges are apart here; the metrics add them up to the cumulative buckets of Prometheus, so that counting touches
/// one bucket and not all above it.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// The same in nanoseconds.
    ends: Box<[u64]>,
    counts: Box<[LaneCounter]>,
    /// The sum of all durations, as a whole number: a float can't be added to atomically.
    nanos: LaneCounter,
}

impl Histogram {
    /// Ranges that end at `bounds` seconds, which ascend, and one for what is longer.
    pub fn new(bounds: &'static [f64]) -> Self {
        let ends = bounds.iter().map(|bound| nanos(Duration::from_secs_f64(*bound))).collect();
        let counts = (0..=bounds.len()).map(|_| LaneCounter::default()).collect();
        Self { bounds, ends, counts, nanos: LaneCounter::default() }
    }

    /// Counts one `duration`.
    pub fn observe(&self, duration: Duration) {
        let duration = nanos(duration);
        // A duration on a bound belongs below it: `le` in Prometheus means "less or equal".
        let range = self.ends.partition_point(|end| *end < duration);
        self.counts[range].add(1);
        self.nanos.add(duration);
    }

    /// Where the ranges end, in seconds.
    pub const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// The count in each range, the last of which has no end.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(LaneCounter::get)
    }

    /// All durations together, in seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanos.get()).as_secs_f64()
    }
}

/// The attempts by what came of them.
///
/// An array with a counter for each status, and no map: counting an answer is on the way of each message.
#[derive(Debug)]
pub struct Requests {
    statuses: Box<[LaneCounter; Self::STATUSES]>,
    odd_statuses: LaneCounter,
    transport: [LaneCounter; Failure::TRANSPORT.len()],
    /// All that failed, by a status or otherwise: adding up the others takes too long for who looks every second.
    failures: LaneCounter,
}

impl Requests {
    const LOWEST: usize = 100;
    const STATUSES: usize = 500;

    /// Counts an answer with `status`.
    pub fn answered(&self, status: u16) {
        let index = usize::from(status).checked_sub(Self::LOWEST);
        index.and_then(|index| self.statuses.get(index)).unwrap_or(&self.odd_statuses).add(1);
    }

    /// Counts an attempt that failed.
    pub fn failed(&self, failure: Failure) {
        self.failures.add(1);
        match failure {
            Failure::Status(status) => self.answered(status),
            other => other.transport_index().into_iter().for_each(|index| self.transport[index].add(1)),
        }
    }

    /// How many attempts failed, whatever for.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// The count for each status from 100 to 599.
    pub fn by_status(&self) -> impl Iterator<Item = (usize, u64)> {
        self.statuses.iter().enumerate().map(|(index, count)| (index + Self::LOWEST, count.get()))
    }

    /// The count of statuses beyond 599, which no standard knows.
    pub fn odd_statuses(&self) -> u64 {
        self.odd_statuses.get()
    }

    /// The counts of the failures that are not a status, in the order of [`Failure::TRANSPORT`].
    pub fn by_transport_failure(&self) -> [u64; Failure::TRANSPORT.len()] {
        self.transport.each_ref().map(LaneCounter::get)
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            statuses: Box::new(array::from_fn(|_| LaneCounter::default())),
            odd_statuses: LaneCounter::default(),
            transport: array::from_fn(|_| LaneCounter::default()),
            failures: LaneCounter::default(),
        }
    }
}

/// How far a durable route is behind its stream. The consumer is one for all lanes, so one lane asks for it.
#[derive(Debug, Default)]
pub struct Lag {
    /// Messages that the consumer has not delivered yet.
    pub pending: Gauge,
    /// Messages that it has delivered and that were not acknowledged yet.
    pub ack_pending: Gauge,
    /// How many of those it allows (`max_ack_pending`); 0 where there is no limit.
    pub max_ack_pending: Gauge,
    /// When messages were last asked for, in seconds since 1970.
    pub last_pull: Gauge,
    /// Whether that limit keeps it from delivering more.
    pub at_limit: Flag,
}

/// Yes or no.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Makes it `value`, and gives back what it was.
    pub fn replace(&self, value: bool) -> bool {
        self.0.swap(value, Relaxed)
    }
}

/// The figures of one route on one lane. They outlive a change of the route's settings.
#[derive(Debug)]
pub struct RouteStats {
    /// Messages taken from the source.
    pub received: LaneCounter,
    outcomes: [Counter; Outcome::ALL.len()],
    /// Messages that the filter could not judge, and that were taken for that reason.
    pub unjudged: Counter,
    /// Answers that were to be published, by what became of them.
    pub publications: [Counter; Publication::ALL.len()],
    /// What is in hand at the moment.
    pub loads: Loads,
    /// How far a durable route is behind its stream.
    pub lag: Lag,
    /// Attempts by what came of them.
    pub requests: Requests,
    /// How long each attempt took: from its beginning, connecting included, to the last byte of the answer or to its
    /// failure.
    pub request_duration: Histogram,
    /// From receiving to delivering, for each delivered message.
    pub delivery_latency: Histogram,
    /// Which of the messages that are dropped are named in the log.
    pub named_drops: NamedDrops,
}

/// An overloaded process may drop a hundred thousand messages a second. The first ones of each second are named in the
/// log, of the others their number. One for all routes and lanes.
#[derive(Clone, Debug)]
pub struct NamedDrops(SharedThrottle);

impl NamedDrops {
    /// Whether a message that is dropped at `now` is named. If so, how many were not since the last one that was.
    pub fn pass(&self, now: Time) -> Option<u64> {
        self.0.pass(now)
    }
}

impl Default for NamedDrops {
    fn default() -> Self {
        Self(SharedThrottle::new(20, Duration::from_secs(1)))
    }
}

impl RouteStats {
    /// Figures that start at 0, of a process whose dropped messages `named_drops` names.
    pub fn naming(named_drops: NamedDrops) -> Self {
        Self { named_drops, ..Self::default() }
    }

    /// Counts a message that came to this end.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].add(1);
    }

    /// What became of its messages.
    pub fn tally(&self) -> Tally {
        Tally { received: self.received.get(), outcomes: self.outcomes.each_ref().map(Counter::get) }
    }
}

impl Default for RouteStats {
    fn default() -> Self {
        Self {
            received: LaneCounter::default(),
            outcomes: Default::default(),
            unjudged: Counter::default(),
            publications: Default::default(),
            loads: Loads::default(),
            lag: Lag::default(),
            requests: Requests::default(),
            request_duration: Histogram::new(&REQUEST_BOUNDS),
            delivery_latency: Histogram::new(&DELIVERY_BOUNDS),
            named_drops: NamedDrops::default(),
        }
    }
}

/// The sum that has to come out even: what was received is what came to one of the [outcomes](Outcome), and what is in
/// hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages taken from the source.
    pub received: u64,
    outcomes: [u64; Outcome::ALL.len()],
}

impl Tally {
    /// How many messages came to this end.
    pub const fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// What came to no end yet. When everything has stopped, anything but 0 is a bug.
    pub fn in_hand(&self) -> i64 {
        // It can be below 0 for a moment: the figures are read one after the other while they change.
        self.received.wrapping_sub(self.outcomes.iter().sum()).cast_signed()
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let outcomes = array::from_fn(|index| self.outcomes[index] + other.outcomes[index]);
        Self { received: self.received + other.received, outcomes }
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), std::ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_the_bound_belongs_below_it() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for ms in [50, 100, 101, 1000, 5000] {
            histogram.observe(Duration::from_millis(ms));
        }
        assert_eq!(histogram.counts().collect::<Vec<_>>(), [2, 2, 1]);
        assert!((histogram.sum() - 6.251).abs() < 1e-9);
    }

    #[test]
    fn every_status_is_counted_once() {
        let requests = Requests::default();
        for status in 0..=1000 {
            requests.answered(status);
        }
        assert!(requests.by_status().all(|(_, count)| count == 1));
        assert_eq!(requests.odd_statuses(), 501);
    }

    #[test]
    fn every_transport_failure_is_counted_under_its_own_name() {
        for failure in Failure::TRANSPORT {
            let requests = Requests::default();
            requests.failed(failure);
            let counts = Failure::TRANSPORT.into_iter().zip(requests.by_transport_failure());
            let counted: Vec<_> = counts.filter(|(_, count)| *count == 1).collect();
            assert_eq!(counted, [(failure, 1)]);
        }
    }

    #[test]
    fn the_tally_shows_what_is_in_hand() {
        let stats = RouteStats::default();
        stats.received.add(10);
        for (outcome, count) in [(Outcome::Delivered, 4), (Outcome::DeadLettered, 3), (Outcome::Dropped, 2)] {
            (0..count).for_each(|_| stats.count(outcome));
            assert_eq!(stats.tally().of(outcome), count);
        }
        assert_eq!((stats.tally().in_hand(), (stats.tally() + stats.tally()).in_hand()), (1, 2));
    }
}
