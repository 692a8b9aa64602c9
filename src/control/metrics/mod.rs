//! `GET /metrics`: what the lanes have counted, added up and written as text. All of it is done at a scrape, on a thread
//! of its own: a lane counts for itself and does nothing for this, and no probe waits for it.

mod classic;
mod endpoints;
mod fetches;
mod ledger;
mod levels;
mod names;
pub(super) mod process;
mod reload;
mod rendering;
mod routes;
mod runtime;
mod series;
#[cfg(test)]
mod simulation;

use std::{fmt, sync::Arc};

use http::{Method, header::ACCEPT};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::{runtime::RuntimeMetrics, sync::watch};

use self::{classic::Classic, rendering::Rendering};
use super::{
    reload::ReloadStatus,
    server::{self, Handler, Head, Problem, ProblemKind, Reply},
};
use crate::{
    base::{blocking::BlockingThreads, clock::Clock},
    config::PerRoute,
    endpoints::Status,
    history,
    lane::LaneStatus,
    nats::Connections,
    route::registry,
    trace::spans::Counts,
};

/// The metrics page.
#[derive(Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    open: Rendering,
    classic: Rendering,
    /// For one page at a time.
    threads: BlockingThreads,
}

/// The formats of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What Prometheus asks for.
    OpenMetrics,
    /// The older text format, for everybody else.
    Classic,
}

/// What the metrics are taken from.
pub struct Observed {
    /// The routes that run, and the figures of those that run or drain.
    pub registry: Arc<registry::Registry>,
    /// How many of those have series of their own.
    pub per_route: PerRoute,
    /// What the lanes show, by their numbers.
    pub lanes: Vec<Arc<LaneStatus>>,
    /// The connections to NATS beside those of the lanes.
    pub connections: Arc<Connections>,
    /// What came of reading the configuration again.
    pub reloads: watch::Receiver<ReloadStatus>,
    /// What became of spans.
    pub spans: Arc<Counts>,
    /// What became of what was to be told of attempts.
    pub attempts: Arc<history::Counts>,
    /// What is known of the bucket of endpoints, where there is one.
    pub endpoints: Option<Arc<Status>>,
    /// The clock of the process.
    pub clock: Clock,
    /// The runtime that serves everything but the lanes.
    pub control: RuntimeMetrics,
}

impl Metrics {
    /// Collects from `observed` at each scrape.
    pub fn new(observed: Observed) -> Self {
        let Observed {
            registry: routes,
            per_route,
            lanes,
            connections,
            reloads,
            spans,
            attempts,
            endpoints,
            clock,
            control,
        } = observed;
        let mut registry = Registry::default();
        registry.register_collector(Box::new(BuildInfo));
        registry.register_collector(Box::new(routes::Collected::new(routes, per_route, clock)));
        registry.register_collector(Box::new(Nats { lanes: lanes.clone(), connections }));
        registry.register_collector(Box::new(Spans(spans)));
        registry.register_collector(Box::new(reload::Reloads(reloads)));
        registry.register_collector(Box::new(Attempts(attempts)));
        if let Some(endpoints) = endpoints {
            registry.register_collector(Box::new(endpoints::Collected(endpoints)));
        }
        registry.register_collector(Box::new(runtime::Runtimes { lanes, control }));
        registry.register_collector(Box::new(process::Process));
        Self {
            registry: Arc::new(registry),
            open: Rendering::default(),
            classic: Rendering::default(),
            threads: BlockingThreads::of(1),
        }
    }

    /// Writes the metrics as they are now.
    ///
    /// # Errors
    /// Those of `page`.
    pub fn write(&self, format: Format, page: &mut impl fmt::Write) -> fmt::Result {
        write(&self.registry, format, page)
    }

    /// The page, as the client with this `head` takes it.
    fn page(&self, head: &Head) -> Reply {
        let (format, takes_gzip) = (Format::asked_for(head), server::takes_gzip(head));
        let rendering = match format {
            Format::OpenMetrics => &self.open,
            Format::Classic => &self.classic,
        };
        let registry = Arc::clone(&self.registry);
        let page = rendering.get(&self.threads, move |page| write(&registry, format, page));
        Reply::Awaited(Box::pin(async move {
            match page.wait().await {
                Ok(page) => page.answer(format.content_type(), takes_gzip),
                Err(error) => {
                    Problem::new(ProblemKind::Busy, format!("it can't be rendered: {error}")).into()
                }
            }
        }))
    }
}

impl Format {
    fn asked_for(head: &Head) -> Self {
        let is_open = head.header(ACCEPT).is_some_and(|types| types.contains("application/openmetrics-text"));
        if is_open { Self::OpenMetrics } else { Self::Classic }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

fn write(registry: &Registry, format: Format, page: &mut impl fmt::Write) -> fmt::Result {
    match format {
        Format::OpenMetrics => text::encode(page, registry),
        Format::Classic => text::encode(&mut Classic::of(page), registry),
    }
}

impl Handler for Metrics {
    fn handle(&self, head: &Head) -> Reply {
        match (head.path(), head.method()) {
            ("/metrics", &Method::GET | &Method::HEAD) => self.page(head),
            ("/metrics", _) => Reply::Now(Problem::method_not_allowed("GET, HEAD").into()),
            _ => {
                let detail = "there are only metrics here, at /metrics";
                Reply::Now(Problem::new(ProblemKind::NotFound, detail).into())
            }
        }
    }
}

/// `metric` under `name`.
fn single(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, kind)?)
}

#[derive(Debug)]
struct BuildInfo;

impl Collector for BuildInfo {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "The version that is running";
        let mut family =
            encoder.encode_descriptor("broadcaster_build_info", help, None, MetricType::Gauge)?;
        let labels = [("version", crate::VERSION), ("commit", crate::COMMIT)];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)
    }
}

#[derive(Debug)]
struct Nats {
    lanes: Vec<Arc<LaneStatus>>,
    connections: Arc<Connections>,
}

impl Collector for Nats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let others = self.connections.all();
        let lanes = || self.lanes.iter().map(|lane| lane.connection());
        let connected = lanes().all(|state| state.is_some_and(|state| state.is_connected()))
            && others.iter().all(|state| state.is_connected());
        let known = || lanes().flatten().chain(&others);
        let reconnects = known().map(|state| state.reconnects()).sum::<u64>();
        let cuts = known().map(|state| state.cuts()).sum::<u64>();
        single(
            &mut encoder,
            "broadcaster_nats_connected",
            "1 while every connection to NATS is up, else 0",
            MetricType::Gauge,
            &ConstGauge::new(i64::from(connected)),
        )?;
        let slowest = known().filter_map(|state| state.round_trip()).max().unwrap_or_default();
        single(
            &mut encoder,
            "broadcaster_nats_round_trip_seconds",
            "How long it takes to hear from NATS, over the slowest connection; 0 before that is known",
            MetricType::Gauge,
            &ConstGauge::new(slowest.as_secs_f64()),
        )?;
        single(
            &mut encoder,
            "broadcaster_nats_reconnects",
            "Connections to NATS that were lost and made again",
            MetricType::Counter,
            &ConstCounter::new(reconnects),
        )?;
        single(
            &mut encoder,
            "broadcaster_nats_slow_consumer",
            "Connections to NATS that the server has cut because a lane could not keep up with it",
            MetricType::Counter,
            &ConstCounter::new(cuts),
        )
    }
}

#[derive(Debug)]
struct Spans(Arc<Counts>);

impl Collector for Spans {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Spans of messages and attempts, by what became of them";
        let mut family = encoder.encode_descriptor("broadcaster_spans", help, None, MetricType::Counter)?;
        for (result, count) in [("exported", self.0.exported()), ("dropped", self.0.dropped())] {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Attempts(Arc<history::Counts>);

impl Collector for Attempts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Attempts that were to be published as history, by what became of that";
        let mut family = encoder.encode_descriptor("broadcaster_history", help, None, MetricType::Counter)?;
        for (result, count) in [("published", self.0.published()), ("dropped", self.0.dropped())] {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        Ok(())
    }
}
