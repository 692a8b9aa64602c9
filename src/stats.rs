//! What is counted, where it happens: one set of figures for each route in each lane.
//!
//! No two lanes write to the same figure, so counting is an uncontended addition. [`metrics`](crate::control::metrics) adds the
//! lanes up when somebody looks.

use std::{
    array,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use crate::message::outcome::Failure;

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

/// A number that one writer keeps at its present value.
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
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[Counter]>,
    nanos: Counter,
}

impl Histogram {
    /// Ranges that end at `bounds` seconds, which ascend, and one for what is longer.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self { bounds, counts, nanos: Counter::default() }
    }

    /// Counts one `duration`.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let range = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[range].add(1);
        self.nanos.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Where the ranges end, in seconds.
    pub const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// The count in each range, the last of which has no end.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(Counter::get)
    }

    /// All durations together, in seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanos.get()).as_secs_f64()
    }
}

/// The attempts by what came of them.
#[derive(Debug)]
pub struct Requests {
    statuses: Box<[Counter; Self::STATUSES]>,
    odd_statuses: Counter,
    transport: [Counter; Failure::TRANSPORT.len()],
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
        match failure {
            Failure::Status(status) => self.answered(status),
            Failure::Timeout => self.transport[0].add(1),
            Failure::Dns => self.transport[1].add(1),
            Failure::Connect => self.transport[2].add(1),
            Failure::Tls => self.transport[3].add(1),
            Failure::Reset => self.transport[4].add(1),
            Failure::Protocol => self.transport[5].add(1),
        }
    }

    /// The count for each status from 100 to 599.
    pub fn by_status(&self) -> impl Iterator<Item = (usize, u64)> {
        self.statuses.iter().enumerate().map(|(index, count)| (index + Self::LOWEST, count.get()))
    }

    /// The count of statuses beyond 599, which no standard knows.
    pub fn odd_statuses(&self) -> u64 {
        self.odd_statuses.get()
    }

    /// The count for each failure that is not a status.
    pub fn by_transport_failure(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::TRANSPORT.into_iter().zip(self.transport.iter().map(Counter::get))
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            statuses: Box::new(array::from_fn(|_| Counter::default())),
            odd_statuses: Counter::default(),
            transport: array::from_fn(|_| Counter::default()),
        }
    }
}

/// How far a durable route is behind its stream. One lane asks for it, for all.
#[derive(Debug, Default)]
pub struct Lag {
    /// Messages that the consumer has not delivered yet.
    pub pending: Gauge,
    /// Messages that it has delivered and was not told of.
    pub ack_pending: Gauge,
    /// How many of those it allows; 0 where there is no limit.
    pub max_ack_pending: Gauge,
    /// When messages were last asked for, in seconds since 1970.
    pub last_pull: Gauge,
    /// Whether the limit is what holds it up.
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

/// The figures of one route in one lane.
#[derive(Debug)]
pub struct RouteStats {
    /// Messages taken from the source.
    pub received: Counter,
    /// Messages that the webhook accepted.
    pub delivered: Counter,
    /// Messages that were published as dead letters.
    pub dead_lettered: Counter,
    /// Messages that were given up.
    pub dropped: Counter,
    /// Messages that another replica took over.
    pub handed_over: Counter,
    /// Messages that were given back to the stream they came from.
    pub returned: Counter,
    /// Attempts under way.
    pub in_flight: Gauge,
    /// Messages in the queue.
    pub queue_messages: Gauge,
    /// Bytes in the queue.
    pub queue_bytes: Gauge,
    /// Messages in the retry queue.
    pub retry_messages: Gauge,
    /// Bytes in the retry queue.
    pub retry_bytes: Gauge,
    /// How far a durable route is behind its stream.
    pub lag: Lag,
    /// Attempts by what came of them.
    pub requests: Requests,
    /// From connecting to the last byte of the answer, for each attempt.
    pub request_duration: Histogram,
    /// From receiving to delivering, for each delivered message.
    pub delivery_latency: Histogram,
}

impl RouteStats {
    /// What became of its messages.
    pub fn account(&self) -> Account {
        Account {
            received: self.received.get(),
            delivered: self.delivered.get(),
            dead_lettered: self.dead_lettered.get(),
            dropped: self.dropped.get(),
            handed_over: self.handed_over.get(),
            returned: self.returned.get(),
        }
    }
}

impl Default for RouteStats {
    fn default() -> Self {
        const REQUEST: &[f64] =
            &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        const DELIVERY: &[f64] =
            &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];
        Self {
            received: Counter::default(),
            delivered: Counter::default(),
            dead_lettered: Counter::default(),
            dropped: Counter::default(),
            handed_over: Counter::default(),
            returned: Counter::default(),
            in_flight: Gauge::default(),
            queue_messages: Gauge::default(),
            queue_bytes: Gauge::default(),
            retry_messages: Gauge::default(),
            retry_bytes: Gauge::default(),
            lag: Lag::default(),
            requests: Requests::default(),
            request_duration: Histogram::new(REQUEST),
            delivery_latency: Histogram::new(DELIVERY),
        }
    }
}

/// The sum that has to come out even: received = delivered + dead-lettered + dropped + handed over + returned + in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Messages taken from the source.
    pub received: u64,
    /// Messages that the webhook accepted.
    pub delivered: u64,
    /// Messages that were published as dead letters.
    pub dead_lettered: u64,
    /// Messages that were given up.
    pub dropped: u64,
    /// Messages that another replica took over.
    pub handed_over: u64,
    /// Messages that were given back to the stream they came from.
    pub returned: u64,
}

impl Account {
    /// What is neither delivered nor dead yet. When everything has stopped, anything but 0 is a bug.
    pub const fn in_hand(&self) -> i64 {
        let settled = self.delivered + self.dead_lettered + self.dropped + self.handed_over + self.returned;
        self.received.wrapping_sub(settled).cast_signed()
    }
}

impl std::ops::Add for Account {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            delivered: self.delivered + other.delivered,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            dropped: self.dropped + other.dropped,
            handed_over: self.handed_over + other.handed_over,
            returned: self.returned + other.returned,
        }
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
            let counted: Vec<_> = requests.by_transport_failure().filter(|(_, count)| *count == 1).collect();
            assert_eq!(counted, [(failure, 1)]);
        }
    }

    #[test]
    fn the_account_shows_what_is_in_hand() {
        let stats = RouteStats::default();
        stats.received.add(10);
        stats.delivered.add(4);
        stats.dead_lettered.add(3);
        stats.dropped.add(2);
        assert_eq!(stats.account().in_hand(), 1);
    }
}
