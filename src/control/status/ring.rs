//! The last ten minutes of one route, in some 2 KiB.

use std::{array, collections::VecDeque, time::Duration};

use super::model::{History, Latency};
use crate::stats::Histogram;

/// How long it is from one point to the next.
pub(super) const STEP: Duration = Duration::from_secs(5);
/// How many points are kept.
const POINTS: usize = 120;
/// A latency is that of the latest attempts within so many points.
const LATELY: usize = 3;
/// How many ranges the histograms have at the most.
const RANGES: usize = 16;

/// One point: rates per second, latencies in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    delivered: f32,
    failed: f32,
    latency: Option<[f32; 2]>,
}

/// How many attempts took how long, by the ranges of a histogram.
pub(super) type Durations = [u64; RANGES];

/// The points of a route, the latest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    points: VecDeque<Point>,
    bounds: &'static [f64],
    before: Durations,
}

impl Ring {
    /// A ring for attempts that have taken so long until now, of a histogram with these `bounds`.
    pub(super) fn new(bounds: &'static [f64], before: Durations) -> Self {
        Self { points: VecDeque::with_capacity(POINTS), bounds, before }
    }

    /// Adds a point: so many per second, and attempts that have taken so long since the start.
    pub(super) fn push(&mut self, delivered: f64, failed: f64, durations: Durations) {
        let fresh = array::from_fn(|range| durations[range].saturating_sub(self.before[range]));
        self.before = durations;
        let latency = [0.5, 0.99].map(|share| quantile(self.bounds, &fresh, share));
        let [Some(p50), Some(p99)] = latency else {
            return self.add(Point { delivered: short(delivered), failed: short(failed), latency: None });
        };
        let latency = Some([short(p50), short(p99)]);
        self.add(Point { delivered: short(delivered), failed: short(failed), latency });
    }

    fn add(&mut self, point: Point) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// How much has happened in all points together.
    pub(super) fn activity(&self) -> f64 {
        self.points.iter().map(|point| f64::from(point.delivered) + f64::from(point.failed)).sum()
    }

    /// How long attempts take now.
    pub(super) fn latency(&self) -> Option<Latency> {
        let [p50, p99] = self.points.iter().rev().take(LATELY).find_map(|point| point.latency)?;
        Some(Latency { p50: f64::from(p50), p99: f64::from(p99) })
    }

    /// All points, the last of which has this number.
    pub(super) fn history(&self, last: u64) -> History {
        let points = || self.points.iter();
        History {
            step: STEP.as_secs_f64(),
            last,
            delivered: points().map(|point| point.delivered).collect(),
            failed: points().map(|point| point.failed).collect(),
            p50: points().map(|point| point.latency.map(|[p50, _]| p50)).collect(),
            p99: points().map(|point| point.latency.map(|[_, p99]| p99)).collect(),
        }
    }
}

/// The counts of `histograms`, added up.
pub(super) fn durations<'h>(histograms: impl Iterator<Item = &'h Histogram>) -> Durations {
    let mut sums = [0; RANGES];
    for histogram in histograms {
        sums.iter_mut().zip(histogram.counts()).for_each(|(sum, count)| *sum += count);
    }
    sums
}

/// `value` with three digits that count: a list of hundreds is sent to whoever looks.
fn short(value: f64) -> f32 {
    if value <= 0.0 {
        return 0.0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the logarithm of a float is a small number")]
    let digits = 10_f64.powi(2 - value.log10().floor() as i32);
    #[expect(clippy::cast_possible_truncation, reason = "three digits are enough to draw")]
    let short = ((value * digits).round() / digits) as f32;
    short
}

/// Below what this `share` of all lies, of counts in ranges that end at `bounds`; none where there is none. Within a range
/// they are taken to lie evenly. What is beyond the last bound counts as that.
fn quantile(bounds: &[f64], counts: &Durations, share: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "a share of them is wanted")]
    let wanted = all as f64 * share;
    let mut below = 0.0;
    let mut begins = 0.0;
    for (end, count) in bounds.iter().zip(counts) {
        #[expect(clippy::cast_precision_loss, reason = "a share of them is wanted")]
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            return Some(begins + (end - begins) * (wanted - below) / count);
        }
        below += count;
        begins = *end;
    }
    (all > 0).then_some(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[f64] = &[0.1, 1.0, 10.0];

    fn counts(first: [u64; 4]) -> Durations {
        array::from_fn(|range| first.get(range).copied().unwrap_or_default())
    }

    #[test]
    fn a_quantile_lies_within_its_range() {
        let of = |first, share| quantile(BOUNDS, &counts(first), share);
        assert_eq!(of([0; 4], 0.5), None);
        assert_eq!(of([10, 0, 0, 0], 0.5), Some(0.05));
        assert_eq!(of([10, 10, 0, 0], 0.5), Some(0.1));
        assert_eq!(of([10, 0, 10, 0], 0.75), Some(5.5));
        assert_eq!(of([0, 0, 0, 5], 0.5), Some(10.0), "beyond the last bound");
    }

    #[test]
    fn ten_minutes_are_kept_and_each_point_has_what_is_new() {
        let mut ring = Ring::new(BOUNDS, counts([7, 0, 0, 0]));
        ring.push(1.0, 0.0, counts([7, 0, 0, 0]));
        assert_eq!(ring.latency(), None, "what was before does not count");
        ring.push(1234.5, 0.012_345, counts([7, 10, 0, 0]));
        let history = ring.history(2);
        assert_eq!((&history.delivered[..], &history.failed[..]), (&[1.0, 1230.0][..], &[0.0, 0.0123][..]));
        assert_eq!(history.p50, [None, Some(0.55)]);
        for number in 0..500 {
            ring.push(f64::from(number), 0.0, counts([7, 10, 0, 0]));
        }
        let history = ring.history(502);
        assert_eq!(
            (history.delivered.len(), history.delivered[119], history.delivered[0]),
            (120, 499.0, 380.0)
        );
        assert_eq!(ring.latency(), None, "too long ago");
    }
}
