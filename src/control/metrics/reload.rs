//! How far the process has followed its configuration, by the names that Prometheus has for its own.

use std::time::SystemTime;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tokio::sync::watch;

use super::single;
use crate::control::reload::ReloadStatus;

/// What came of reloads.
#[derive(Debug)]
pub(super) struct Reloads(pub(super) watch::Receiver<ReloadStatus>);

impl Collector for Reloads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let status = self.0.borrow().clone();
        let help = "Times that the configuration was read again, by what came of it";
        let mut family =
            encoder.encode_descriptor("broadcaster_config_reloads", help, None, MetricType::Counter)?;
        for (result, count) in [("applied", status.succeeded), ("refused", status.failed)] {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        single(
            &mut encoder,
            "broadcaster_config_last_reload_successful",
            "1 while the configuration as it was read last is the one that runs, else 0",
            MetricType::Gauge,
            &ConstGauge::new(i64::from(status.failure.is_none())),
        )?;
        let applied = status.applied.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        single(
            &mut encoder,
            "broadcaster_config_last_reload_success_timestamp_seconds",
            "When the configuration that runs was read",
            MetricType::Gauge,
            &ConstGauge::new(applied.as_secs_f64()),
        )?;
        single(
            &mut encoder,
            "broadcaster_config_generation",
            "The number of the list of routes that came of the configuration, 1 at the start",
            MetricType::Gauge,
            &ConstGauge::new(i64::try_from(status.generation).unwrap_or(i64::MAX)),
        )
    }
}
