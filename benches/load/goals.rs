//! What the figures should be, and whether they are.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures::Sample;

/// The medians of all cases, by name.
pub(crate) type Medians = BTreeMap<&'static str, Sample>;

/// A goal and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) wanted: Wanted,
    pub(crate) measured: f64,
}

/// Where a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    pub(crate) fn is_met(&self) -> bool {
        match self.wanted {
            Wanted::AtMost(bound) => self.measured <= bound,
            Wanted::AtLeast(bound) => self.measured >= bound,
        }
    }

    /// The goals of the cases that were measured.
    #[expect(clippy::too_many_lines, reason = "a list of goals, not a procedure")]
    pub(crate) fn list(medians: &Medians) -> Vec<Self> {
        use Wanted::{AtLeast, AtMost};
        let ratio = |one: &str, other: &str, figure: fn(&Sample) -> Option<f64>| {
            Some(figure(medians.get(one)?)? / figure(medians.get(other)?)?)
        };
        let figure = |name: &str, figure: fn(&Sample) -> Option<f64>| figure(medians.get(name)?);
        let cpu = |sample: &Sample| sample.cpu;
        let goals = [
            ("CPU per message, of the floor", "×", AtMost(1.2), ratio("burst", "floor", cpu)),
            ("CPU per message over TLS, of the TLS floor", "×", AtMost(1.25), ratio("TLS", "TLS floor", cpu)),
            ("over HTTP/2, of the floor", "×", AtMost(0.45), ratio("HTTP/2", "floor", cpu)),
            ("over HTTP/2 and TLS, of the floor", "×", AtMost(0.55), ratio("HTTP/2 over TLS", "floor", cpu)),
            ("durable over HTTP/2, of the floor", "×", AtMost(0.6), ratio("durable HTTP/2", "floor", cpu)),
            (
                "latency p99 over HTTP/2, of HTTP/1.1's",
                "×",
                AtMost(1.1),
                ratio("HTTP/2 latency", "latency", |sample| Some(sample.latency?[1])),
            ),
            (
                "peak memory with 10,000 requests at the same time over HTTP/2",
                "MiB",
                AtMost(24.0),
                figure("HTTP/2, 10,000", |sample| Some(sample.peak)),
            ),
            ("in batches of 100, of the floor", "×", AtMost(0.2), ratio("batches", "floor", cpu)),
            (
                "messages/s with twice the lanes, of one",
                "×",
                AtLeast(1.8),
                ratio("lanes", "burst", |sample| Some(sample.rate)),
            ),
            ("CPU per message with twice the lanes", "×", AtMost(1.1), ratio("lanes", "burst", cpu)),
            (
                "messages/s in durable mode, of core mode",
                "×",
                AtLeast(0.6),
                ratio("durable", "burst", |sample| Some(sample.rate)),
            ),
            (
                "latency p50, of the bare loop",
                "×",
                AtMost(1.2),
                ratio("latency", "bare loop", |sample| Some(sample.latency?[0])),
            ),
            (
                "latency p99, of the bare loop",
                "×",
                AtMost(1.5),
                ratio("latency", "bare loop", |sample| Some(sample.latency?[1])),
            ),
            (
                "peak memory in a burst of 1,000,000",
                "MiB",
                AtMost(32.0),
                figure("million", |sample| Some(sample.peak)),
            ),
            (
                "peak memory with 1,000,000 all at once",
                "MiB",
                AtMost(32.0),
                figure("flood", |sample| Some(sample.peak)),
            ),
            ("idle memory", "MiB", AtMost(10.0), figure("burst", |sample| sample.idle)),
            (
                "memory of full queues, per byte counted",
                "×",
                AtMost(1.5),
                figure("standing", |sample| sample.overhead),
            ),
            ("CPU per message with 32 routes", "×", AtMost(1.15), ratio("routes", "burst", cpu)),
            (
                "messages/s with 200 who follow the status, of as many elsewhere",
                "×",
                AtLeast(0.95),
                ratio("followers", "followers elsewhere", |sample| Some(sample.rate)),
            ),
            (
                "messages/s with 1,000 slow readers, of as many elsewhere",
                "×",
                AtLeast(0.95),
                ratio("readers", "readers elsewhere", |sample| Some(sample.rate)),
            ),
            ("CPU per message with 1,024 connections", "×", AtMost(1.15), ratio("connections", "burst", cpu)),
            (
                "the same, of a floor with as many",
                "×",
                AtMost(1.25),
                ratio("connections", "floor 1,024", cpu),
            ),
        ];
        let measured = goals.into_iter().filter_map(|(what, unit, wanted, measured)| {
            Some(Self { what, unit, wanted, measured: measured? })
        });
        measured.collect()
    }
}
