//! The rule of the `HorizontalPodAutoscaler`, which KEDA uses too, as Kubernetes documents it ("Algorithm details" and
//! "Configurable scaling behavior" in the page on horizontal pod autoscaling). Plain code that is told the time.

use std::collections::VecDeque;

/// How often Kubernetes looks, in seconds.
pub(crate) const PERIOD: u32 = 15;
/// A ratio so near to 1 changes nothing.
const TOLERANCE: f64 = 0.1;

/// What the manifests say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) name: &'static str,
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// The share of the quota that the pods should use on average.
    pub(crate) utilization: f64,
    /// How many messages of the lag each replica stands for; in durable mode only.
    pub(crate) lag: Option<f64>,
    /// For how long a rise, and a fall, must have been due, in seconds.
    pub(crate) up: u32,
    pub(crate) down: u32,
}

impl Rules {
    const CORE: Self =
        Self { name: "HPA, 1 to 5", least: 1, most: 5, utilization: 0.7, lag: None, up: 60, down: 300 };

    /// All that are compared.
    pub(crate) const ALL: [Self; 3] = [
        Self::CORE,
        Self { name: "HPA, 2 to 5", least: 2, ..Self::CORE },
        Self { name: "KEDA, 2 to 5", least: 2, lag: Some(2000.0), ..Self::CORE },
    ];
}

#[derive(Clone, Debug)]
pub(crate) struct Autoscaler {
    pub(crate) rules: Rules,
    /// What was recommended, and when.
    recommendations: VecDeque<(u32, usize)>,
}

/// What the autoscaler gets to see.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The average of each pod's use of its quota; none where there is no figure of it yet.
    pub(crate) utilization: Vec<Option<f64>>,
    /// Messages that wait in the stream or are in hand.
    pub(crate) lag: f64,
}

impl Autoscaler {
    pub(crate) const fn new(rules: Rules) -> Self {
        Self { rules, recommendations: VecDeque::new() }
    }

    /// How many replicas there should be.
    pub(crate) fn decide(&mut self, now: u32, metrics: &Metrics) -> usize {
        let current = metrics.utilization.len();
        let by_lag = self.rules.lag.map(|each| scaled(current, metrics.lag / each / float(current)));
        let wanted = by_cpu(self.rules.utilization, &metrics.utilization).max(by_lag.unwrap_or(0));
        let wanted = wanted.clamp(self.rules.least, self.rules.most);
        let longest = self.rules.up.max(self.rules.down);
        self.recommendations.retain(|(when, _)| when + longest > now);
        self.recommendations.push_back((now, wanted));
        let within = |window: u32| {
            self.recommendations
                .iter()
                .filter(move |(when, _)| when + window > now)
                .map(|(_, wanted)| *wanted)
        };
        // A rise must have been due all the time, and a fall too.
        let up = within(self.rules.up).min().unwrap_or(wanted);
        let down = within(self.rules.down).max().unwrap_or(wanted);
        let stable = current.max(up).min(down);
        // At most four pods or as many as there are, whichever is more, in a period.
        stable.min(current + current.max(4))
    }
}

fn by_cpu(target: f64, utilization: &[Option<f64>]) -> usize {
    let current = utilization.len();
    let known: Vec<f64> = utilization.iter().flatten().copied().collect();
    if known.is_empty() {
        return current;
    }
    let sum: f64 = known.iter().sum();
    let ratio = sum / float(known.len()) / target;
    if known.len() == current || is_near(ratio) {
        return scaled(current, ratio);
    }
    // Pods without a figure count as idle when it goes up, and as at the target when it goes down; and where that turns the
    // direction, nothing happens.
    let missing = float(current - known.len()) * if ratio > 1.0 { 0.0 } else { target };
    let careful = (sum + missing) / float(current) / target;
    if (ratio > 1.0) == (careful > 1.0) { scaled(current, careful) } else { current }
}

fn scaled(current: usize, ratio: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of replicas")]
    let wanted = (float(current) * ratio).ceil() as usize;
    if is_near(ratio) { current } else { wanted }
}

fn is_near(ratio: f64) -> bool {
    (ratio - 1.0).abs() <= TOLERANCE
}

#[expect(clippy::cast_precision_loss, reason = "a handful of replicas")]
pub(crate) const fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(utilization: &[f64]) -> Metrics {
        Metrics { utilization: utilization.iter().copied().map(Some).collect(), lag: 0.0 }
    }

    #[test]
    fn a_rise_waits_for_its_window_and_a_fall_for_a_longer_one() {
        let mut hpa = Autoscaler::new(Rules::CORE);
        assert_eq!(hpa.decide(0, &seen(&[0.3])), 1);
        let during_the_rise = [15, 30, 45].map(|now| hpa.decide(now, &seen(&[1.0])));
        assert_eq!(during_the_rise, [1, 1, 1], "one figure of low use is within 60 s");
        assert_eq!(hpa.decide(60, &seen(&[1.0])), 2, "1 × 1.0 / 0.7, rounded up");
        let during_the_fall: Vec<_> =
            (75..375).step_by(15).map(|now| hpa.decide(now, &seen(&[0.1, 0.1]))).collect();
        assert!(during_the_fall[..18].iter().all(|&replicas| replicas == 2), "{during_the_fall:?}");
        assert_eq!(during_the_fall[19], 1, "300 s after the last high figure");
    }

    #[test]
    fn what_is_near_the_target_changes_nothing_and_the_bounds_hold() {
        assert_eq!(by_cpu(0.7, &[Some(0.76), Some(0.76)]), 2);
        assert_eq!(by_cpu(0.7, &[Some(0.78), Some(0.78)]), 3);
        let mut hpa = Autoscaler::new(Rules::CORE);
        assert_eq!(hpa.decide(0, &seen(&[1.0; 5])), 5, "8 would be wanted");
        assert_eq!(hpa.decide(600, &seen(&[0.0; 5])), 1, "0 would be wanted");
    }

    #[test]
    fn pods_without_figures_hold_it_back() {
        assert_eq!(by_cpu(0.7, &[Some(1.0), Some(1.0)]), 3);
        assert_eq!(
            by_cpu(0.7, &[Some(1.0), Some(1.0), None]),
            3,
            "(1 + 1 + 0) / 3 is near the target: no rise"
        );
        assert_eq!(by_cpu(0.7, &[Some(0.2), None]), 2, "(0.2 + 0.7) / 2 wants 1.3");
        assert_eq!(by_cpu(0.7, &[None, None]), 2);
    }

    #[test]
    fn lag_and_cpu_want_and_the_larger_one_gets() {
        let mut keda = Autoscaler::new(Rules::ALL[2]);
        let metrics = |lag| Metrics { lag, ..seen(&[0.5, 0.5]) };
        assert_eq!(keda.decide(0, &metrics(7_000.0)), 4, "7,000 / 2,000, rounded up");
        assert_eq!(keda.decide(600, &metrics(100.0)), 2);
    }
}
