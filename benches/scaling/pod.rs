//! What a pod carries, as `cargo bench --bench load -- --scenario pod` has measured it.

use serde::Deserialize;

/// What the pod of the manifests has, in cores.
const QUOTA: f64 = 0.1;

/// A pod under a steady load.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Messages a second.
    pub(crate) rate: f64,
    /// CPU time of each, in µs.
    pub(crate) cost: f64,
    /// Time on the way, in ms.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Point {
    /// The share of the quota that is used.
    pub(crate) fn utilization(&self) -> f64 {
        (self.rate * self.cost / 1e6 / QUOTA).min(1.0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// By rising rate.
    pub(crate) points: Vec<Point>,
    /// The most messages a second, in core mode.
    pub(crate) capacity: f64,
    /// The same in durable mode.
    pub(crate) durable_capacity: f64,
}

impl Pod {
    /// From what the load bench has measured.
    pub(crate) fn from_json(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Figures {
            cases: Vec<Case>,
        }
        #[derive(Deserialize)]
        struct Case {
            case: String,
            rate: f64,
            cpu: f64,
            latency: [f64; 3],
        }
        let figures: Figures = serde_json::from_str(text).expect("the figures of the scenario `pod`");
        let capacity = |name: &str| {
            let case = figures.cases.iter().find(|case| case.case == name);
            case.expect("the figures of the scenario `pod` have it").rate
        };
        let paced = figures.cases.iter().filter(|case| case.case.starts_with("pod, "));
        let mut points: Vec<_> = paced
            .map(|case| Point {
                rate: case.rate,
                cost: case.cpu,
                p50: case.latency[0] / 1e3,
                p99: case.latency[1] / 1e3,
            })
            .collect();
        points.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        Self { capacity: capacity("pod"), durable_capacity: capacity("durable pod"), points }
    }

    /// The share of its quota that a pod uses at this rate, between what was measured below and above.
    pub(crate) fn utilization(&self, rate: f64) -> f64 {
        let (mut from, mut used) = (0.0, 0.0);
        for point in &self.points {
            if rate <= point.rate {
                return used + (point.utilization() - used) * (rate - from) / (point.rate - from);
            }
            (from, used) = (point.rate, point.utilization());
        }
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_uses_what_lies_between_the_points_and_no_more_than_all() {
        let point = |rate, cost| Point { rate, cost, p50: 0.0, p99: 0.0 };
        let points = vec![point(1000.0, 50.0), point(2000.0, 40.0), point(8000.0, 20.0)];
        let pod = Pod { points, capacity: 10_000.0, durable_capacity: 9_000.0 };
        let percent = |rate| (100.0 * pod.utilization(rate)).round();
        assert_eq!(
            [0.0, 500.0, 1000.0, 1500.0, 2000.0, 5000.0, 9000.0].map(percent),
            [0.0, 25.0, 50.0, 65.0, 80.0, 90.0, 100.0]
        );
    }
}
