//! What tokio says about the runtimes: one for each lane, and one for everything else.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tokio::runtime::RuntimeMetrics;

use crate::lane::LaneStatus;

#[derive(Debug)]
pub(super) struct Runtimes {
    pub(super) lanes: Vec<Arc<LaneStatus>>,
    pub(super) control: RuntimeMetrics,
}

impl Runtimes {
    fn all(&self) -> impl Iterator<Item = (String, &RuntimeMetrics)> {
        let lanes = self.lanes.iter().enumerate();
        let lanes = lanes.filter_map(|(number, lane)| Some((number.to_string(), lane.runtime.get()?)));
        lanes.chain([("control".to_owned(), &self.control)])
    }

    fn family<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, kind): (&str, &str, MetricType),
        value: impl Fn(&RuntimeMetrics) -> M,
    ) -> std::fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for (lane, runtime) in self.all() {
            value(runtime).encode(family.encode_family(&[("lane", lane)])?)?;
        }
        Ok(())
    }
}

impl Collector for Runtimes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let tasks = ("tokio_alive_tasks", "Tasks in the runtime", MetricType::Gauge);
        self.family(&mut encoder, tasks, |runtime| gauge(runtime.num_alive_tasks()))?;
        let depth = ("tokio_global_queue_depth", "Tasks that wait in the global queue", MetricType::Gauge);
        self.family(&mut encoder, depth, |runtime| gauge(runtime.global_queue_depth()))?;
        // Each runtime has a single thread, which tokio calls worker 0.
        let busy = ("tokio_worker_busy_seconds", "Time the worker was not idle", MetricType::Counter);
        self.family(&mut encoder, busy, |runtime| {
            ConstCounter::new(runtime.worker_total_busy_duration(0).as_secs_f64())
        })?;
        let parks = ("tokio_worker_parks", "Times the worker had nothing to do", MetricType::Counter);
        self.family(&mut encoder, parks, |runtime| ConstCounter::new(runtime.worker_park_count(0)))
    }
}
