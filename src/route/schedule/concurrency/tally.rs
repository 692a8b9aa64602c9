//! What the attempts of a while say about the latency of a webhook.

use std::time::Duration;

/// Latencies, averaged as logarithms: one request of a hundred that takes a hundred times as long must not look like a
/// line at the webhook, and of two latencies it is the ratio that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    count: u32,
    sum: f64,
    squares: f64,
    /// Whether more attempts could have begun than the limit allowed.
    pub(super) limited: bool,
    /// The most attempts that were under way at the same time.
    pub(super) peak: usize,
}

impl Tally {
    /// With one more attempt that was delivered after `latency`.
    pub(super) fn add(&mut self, latency: Duration) {
        // The clock may be coarse, and nothing takes no time.
        let log = latency.as_secs_f64().max(1e-6).ln();
        self.count += 1;
        self.sum += log;
        self.squares += log * log;
    }

    /// With what was counted elsewhere.
    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.limited |= other.limited;
        self.peak = self.peak.max(other.peak);
    }

    /// How many attempts were delivered.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// The mean of the logarithms of the latencies in seconds.
    pub(super) fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }

    /// By how much the mean may be off by chance: its standard error.
    pub(super) fn error(&self) -> f64 {
        let count = f64::from(self.count.max(1));
        let variance = (self.squares / count - self.mean().powi(2)).max(0.0);
        (variance / count).sqrt()
    }
}
