//! The figures of the bucket of endpoints.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::single;
use crate::endpoints::{Counts, Status};

/// Collects them, where there is a bucket.
#[derive(Debug)]
pub(super) struct Collected(pub(super) Arc<Status>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Routes in the bucket, by what came of their values";
        let mut family = encoder.encode_descriptor("broadcaster_endpoints", help, None, MetricType::Gauge)?;
        let Counts { active, refused, overridden } = self.0.counts();
        for (state, count) in [("active", active), ("refused", refused), ("overridden", overridden)] {
            let count = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            count.encode(family.encode_family(&[("state", state)])?)?;
        }
        let help = "The revision of the bucket whose routes run on all lanes, 0 before the first";
        let revision = i64::try_from(self.0.revision().unwrap_or_default()).unwrap_or(i64::MAX);
        let revision = ConstGauge::new(revision);
        single(&mut encoder, "broadcaster_endpoints_revision", help, MetricType::Gauge, &revision)?;
        let help = "1 while the bucket is followed, 0 while what was read of it before runs on";
        let is_live = self.0.revision().is_some() && self.0.trouble().is_none();
        let is_live = ConstGauge::new(i64::from(is_live));
        single(&mut encoder, "broadcaster_endpoints_live", help, MetricType::Gauge, &is_live)
    }
}
