//! What is measured of a run, and the median of several.

use serde::Serialize;

/// One run, or the medians of several.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Messages a second, from the first publication to the last delivery.
    pub(crate) rate: f64,
    /// CPU time per message, user and system, in µs. None where a run is too short for the kernel's clock.
    pub(crate) cpu: Option<f64>,
    /// Time on the way in µs, from publishing to receiving: what 50 %, 99 % and 99.9 % of the messages did not exceed.
    pub(crate) latency: Option<[f64; 3]>,
    /// Resident memory before the load, in MiB.
    pub(crate) idle: Option<f64>,
    /// The most resident memory, in MiB.
    pub(crate) peak: f64,
    /// Memory beyond the idle one, per byte that the bounds count.
    pub(crate) overhead: Option<f64>,
    /// Messages that came to nothing, and that the daemon has counted as dropped.
    pub(crate) dropped: f64,
    /// Messages that came to nothing and are not accounted for.
    pub(crate) lost: f64,
    /// Messages that were accepted more than once.
    pub(crate) duplicates: f64,
}

impl Sample {
    /// Figure by figure.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(samples.iter().map(figure));
        let of_some = |figure: fn(&Self) -> Option<f64>| {
            let some: Vec<_> = samples.iter().filter_map(figure).collect();
            (!some.is_empty()).then(|| median(some))
        };
        let has_latency = samples.iter().any(|sample| sample.latency.is_some());
        let latency = |index: usize| {
            median(samples.iter().filter_map(|sample| sample.latency).map(|latency| latency[index]))
        };
        Self {
            rate: of(|sample| sample.rate),
            cpu: of_some(|sample| sample.cpu),
            latency: has_latency.then(|| [latency(0), latency(1), latency(2)]),
            idle: of_some(|sample| sample.idle),
            peak: of(|sample| sample.peak),
            overhead: of_some(|sample| sample.overhead),
            dropped: of(|sample| sample.dropped),
            lost: of(|sample| sample.lost),
            duplicates: of(|sample| sample.duplicates),
        }
    }
}

fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// `count`, for reckoning.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}
