//! The simulation of an hour, second by second: load, autoscaler and replicas.

use std::ops::RangeInclusive;

use crate::{
    autoscaler::{Autoscaler, Metrics, PERIOD, float},
    curve::Curve,
    fleet::{Fleet, Second},
    pod::Pod,
};

pub(crate) struct Simulation<'a> {
    pod: &'a Pod,
    autoscaler: Autoscaler,
}

/// What happened.
pub(crate) struct Run {
    pub(crate) rule: &'static str,
    pub(crate) seconds: Vec<Moment>,
}

/// A second of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) published: f64,
    pub(crate) replicas: usize,
    pub(crate) second: Second,
}

/// What there is to say of a run.
pub(crate) struct Summary {
    pub(crate) replicas: RangeInclusive<usize>,
    pub(crate) pod_hours: f64,
    /// For how many seconds messages waited for CPU time.
    pub(crate) overloaded: usize,
    /// The longest wait, in seconds.
    pub(crate) delay: f64,
    pub(crate) lag: f64,
    pub(crate) turned_away: f64,
}

impl<'a> Simulation<'a> {
    pub(crate) const fn new(pod: &'a Pod, autoscaler: Autoscaler) -> Self {
        Self { pod, autoscaler }
    }

    pub(crate) fn run(mut self, curve: Curve) -> Run {
        let rules = self.autoscaler.rules;
        let mut fleet = Fleet::new(self.pod, rules.least, rules.lag.is_some());
        let mut seconds: Vec<Moment> = Vec::new();
        for now in 0..curve.seconds() {
            if now % PERIOD == 0 {
                let lag = seconds.last().map_or(0.0, |moment| moment.second.lag);
                let metrics = Metrics { utilization: fleet.figures(now), lag };
                fleet.scale(self.autoscaler.decide(now, &metrics), now);
            }
            let published = curve.at(now);
            let second = fleet.second(now, published);
            seconds.push(Moment { published, replicas: fleet.len(), second });
        }
        Run { rule: rules.name, seconds }
    }
}

impl Run {
    pub(crate) fn summary(&self) -> Summary {
        let all = || self.seconds.iter();
        let highest =
            |figure: fn(&Second) -> f64| all().map(|moment| figure(&moment.second)).fold(0.0, f64::max);
        let replicas = all().map(|moment| moment.replicas);
        Summary {
            replicas: replicas.clone().min().unwrap_or(0)..=replicas.clone().max().unwrap_or(0),
            pod_hours: float(replicas.sum()) / 3600.0,
            overloaded: all().filter(|moment| moment.second.lag >= 1.0).count(),
            delay: highest(|second| second.delay),
            lag: highest(|second| second.lag),
            turned_away: all().map(|moment| moment.second.turned_away).sum(),
        }
    }
}
