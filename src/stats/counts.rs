//! All that is counted of a route, or of several together, read at one moment: numbers that can be added up.

use std::{borrow::Cow, ops::Range, time::Duration};

use super::{DELIVERY_BOUNDS, Histogram, REQUEST_BOUNDS, RouteStats, Tally};
use crate::message::outcome::{Failure, Outcome, Publication};

/// Statuses with a code of their own: what receivers of webhooks and what stands before them answer. All others share one
/// for each hundred, so that every code is there from the start and its first increase is seen as one.
const NAMED_STATUSES: [usize; 30] = [
    200, 201, 202, 204, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 407, 408, 409, 410, 413, 415, 421,
    422, 425, 426, 429, 500, 501, 502, 503, 504,
];
/// The codes of the other statuses from 200, 300, 400 and 500 on, and of those that are in no hundred.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];

// Where each of the numbers stands.
const RECEIVED: usize = 0;
const UNJUDGED: usize = 1;
const FETCHES: [usize; 2] = [2, 3];
const OUTCOMES: Range<usize> = after(FETCHES[1], Outcome::ALL.len());
const PUBLICATIONS: Range<usize> = after(OUTCOMES.end - 1, Publication::ALL.len());
const STATUSES: Range<usize> = after(PUBLICATIONS.end - 1, NAMED_STATUSES.len());
const CLASSED: Range<usize> = after(STATUSES.end - 1, CLASSES.len());
const TRANSPORT: Range<usize> = after(CLASSED.end - 1, Failure::TRANSPORT.len());
/// With the sum of the durations, in nanoseconds, behind the ranges.
const REQUESTS: Range<usize> = after(TRANSPORT.end - 1, REQUEST_BOUNDS.len() + 2);
const DELIVERIES: Range<usize> = after(REQUESTS.end - 1, DELIVERY_BOUNDS.len() + 2);

const fn after(last: usize, len: usize) -> Range<usize> {
    last + 1..last + 1 + len
}

/// What was counted of one route or of several, over all lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; DELIVERIES.end]);

/// How long something took, of all times that it happened.
#[derive(Clone, Copy, Debug)]
pub struct Durations<'c> {
    /// Where the ranges end, in seconds; the last one has no end.
    pub bounds: &'static [f64],
    /// How many fell into each range.
    pub counts: &'c [u64],
    /// All together.
    pub sum: Duration,
}

impl Default for Counts {
    fn default() -> Self {
        Self([0; DELIVERIES.end])
    }
}

impl Counts {
    /// What was counted in all of `lanes`.
    pub fn of<'l>(lanes: impl IntoIterator<Item = &'l RouteStats>) -> Self {
        let mut counts = Self::default();
        lanes.into_iter().for_each(|lane| counts.count(lane));
        counts
    }

    /// Adds what was counted on `lane`.
    pub fn count(&mut self, lane: &RouteStats) {
        let received = lane.received.get();
        // Most routes of many are idle on most lanes, and nothing else is counted before a message has come.
        if received == 0 {
            return;
        }
        self.0[RECEIVED] += received;
        self.0[UNJUDGED] += lane.unjudged.get();
        add(&mut self.0[OUTCOMES], lane.outcomes.iter().map(super::Counter::get));
        add(&mut self.0[PUBLICATIONS], lane.publications.iter().map(super::Counter::get));
        let mut others = [0; CLASSES.len()];
        for (status, count) in lane.requests.by_status().filter(|(_, count)| *count > 0) {
            match NAMED_STATUSES.binary_search(&status) {
                Ok(named) => self.0[STATUSES][named] += count,
                // What is below 200 is in no hundred that has a name.
                Err(_) => others[(status / 100).checked_sub(2).unwrap_or(CLASSES.len() - 1)] += count,
            }
        }
        others[CLASSES.len() - 1] += lane.requests.odd_statuses();
        add(&mut self.0[CLASSED], others);
        add(&mut self.0[TRANSPORT], lane.requests.by_transport_failure());
        add_durations(&mut self.0[REQUESTS], &lane.request_duration);
        add_durations(&mut self.0[DELIVERIES], &lane.delivery_latency);
    }

    /// What became of the messages.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { received: self.0[RECEIVED], ..Tally::default() };
        tally.outcomes.copy_from_slice(&self.0[OUTCOMES]);
        tally
    }

    /// Messages that filters could not judge.
    pub const fn unjudged(&self) -> u64 {
        self.0[UNJUDGED]
    }

    /// Requests for tokens: those that brought one, and those that did not. They are counted elsewhere, and only kept with the
    /// others: see [`Self::add_fetches`].
    pub fn fetches(&self) -> [u64; 2] {
        FETCHES.map(|index| self.0[index])
    }

    /// Adds so many requests for tokens.
    pub fn add_fetches(&mut self, fetched: u64, failed: u64) {
        add(&mut self.0[FETCHES[0]..=FETCHES[1]], [fetched, failed]);
    }

    /// Answers that were to be published, by what became of them.
    pub fn publications(&self) -> impl Iterator<Item = (Publication, u64)> {
        Publication::ALL.into_iter().zip(self.0[PUBLICATIONS].iter().copied())
    }

    /// Attempts by their code: the status, its hundred, or why there was none.
    pub fn codes(&self) -> impl Iterator<Item = (Cow<'static, str>, u64)> {
        let statuses = NAMED_STATUSES.into_iter().map(|status| Cow::from(status.to_string()));
        let failures = Failure::TRANSPORT.into_iter().map(Failure::label);
        let codes = statuses.chain(CLASSES.map(Cow::from)).chain(failures);
        codes.zip(self.0[STATUSES.start..TRANSPORT.end].iter().copied())
    }

    /// How long attempts took.
    pub fn request_duration(&self) -> Durations<'_> {
        durations(&REQUEST_BOUNDS, &self.0[REQUESTS])
    }

    /// How long it took from receiving to delivering.
    pub fn delivery_latency(&self) -> Durations<'_> {
        durations(&DELIVERY_BOUNDS, &self.0[DELIVERIES])
    }

    /// Adds those of others.
    pub fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(sum, count)| *sum = sum.wrapping_add(*count));
    }

    /// What these are more than `others`, which are part of them.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let mut rest = self.clone();
        rest.0.iter_mut().zip(&others.0).for_each(|(sum, count)| *sum = sum.wrapping_sub(*count));
        rest
    }
}

fn add(sums: &mut [u64], counts: impl IntoIterator<Item = u64>) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

fn add_durations(sums: &mut [u64], histogram: &Histogram) {
    add(sums, histogram.counts().chain([histogram.nanos.get()]));
}

fn durations<'c>(bounds: &'static [f64], numbers: &'c [u64]) -> Durations<'c> {
    let (nanos, counts) = numbers.split_last().unwrap_or((&0, &[]));
    Durations { bounds, counts, sum: Duration::from_nanos(*nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_counted_once_and_under_its_own_name() {
        let lanes = [RouteStats::default(), RouteStats::default()];
        for lane in &lanes {
            lane.received.add(3);
            lane.unjudged.add(1);
            Outcome::ALL.into_iter().for_each(|outcome| lane.count(outcome));
            lane.publications.iter().for_each(|publication| publication.add(2));
            (0..=1000).for_each(|status| lane.requests.answered(status));
            Failure::TRANSPORT.into_iter().for_each(|failure| lane.requests.failed(failure));
            lane.request_duration.observe(Duration::from_millis(4));
            lane.delivery_latency.observe(Duration::from_secs(10_000));
        }
        let mut counts = Counts::of(&lanes);
        let tally = counts.tally();
        assert_eq!((tally.received, counts.unjudged()), (6, 2));
        assert!(Outcome::ALL.into_iter().all(|outcome| tally.of(outcome) == 2));
        assert!(counts.publications().all(|(_, count)| count == 4));
        let codes: Vec<_> = counts.codes().filter(|(_, count)| *count != 2).collect();
        let expected = [("2xx", 192), ("3xx", 190), ("4xx", 168), ("5xx", 190), ("other", 1202)];
        assert_eq!(codes, expected.map(|(code, count)| (Cow::from(code), count)));
        let took = counts.request_duration();
        assert_eq!((took.counts[3], took.counts.len(), took.sum), (2, 16, Duration::from_millis(8)));
        let took = counts.delivery_latency();
        assert_eq!((took.counts[15], took.counts.len(), took.sum), (2, 16, Duration::from_secs(20_000)));

        counts.add_fetches(5, 1);
        counts.add_fetches(1, 0);
        assert_eq!((counts.fetches(), counts.tally().received), ([6, 1], 6));
        let mut twice = counts.clone();
        twice.add(&counts);
        assert_eq!(twice.without(&counts), counts);
        assert_eq!(counts.without(&counts), Counts::default());
    }
}
