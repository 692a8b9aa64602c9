//! Counting, and what a scrape costs.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, SystemTime},
};

use broadcaster::{
    base::clock::Clock,
    config::{PerRoute, Route as Settings},
    control::{
        metrics::{Format, Metrics, Observed},
        reload::reloader,
        server::Packing,
    },
    deliver::endpoint::Surroundings,
    lane::LaneStatus,
    message::outcome::Outcome,
    route::{registry::Registry, shared::Route},
    stats::{Load, RouteStats},
};
use criterion::{BenchmarkId, Criterion, Throughput};

use crate::sample;

const LANES: usize = 2;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    let stats = RouteStats::default();
    let load = stats.loads.add();
    group.throughput(Throughput::Elements(1));
    group.bench_function("count", |bencher| bencher.iter(|| count_delivered(black_box(&stats), &load)));

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for routes in [1, 32, 10_000] {
        let registry = Arc::new(Registry::new(LANES));
        let all: Vec<_> = (0..routes).map(|number| route(&registry, number)).collect();
        registry.publish(all, Duration::ZERO);
        let metrics = Metrics::new(Observed {
            spans: Arc::default(),
            attempts: Arc::default(),
            endpoints: None,
            clock: Clock::start(),
            registry,
            per_route: PerRoute::Auto,
            lanes: (0..LANES).map(|_| Arc::<LaneStatus>::default()).collect(),
            connections: Arc::default(),
            reloads: reloader(SystemTime::now()).0.status(),
            control: runtime.metrics(),
        });
        group.throughput(Throughput::Elements(routes));
        for (name, format) in [("OpenMetrics", Format::OpenMetrics), ("classic", Format::Classic)] {
            group.bench_function(BenchmarkId::new(format!("scrape, {name}"), routes), |bencher| {
                bencher.iter(|| {
                    let mut page = Packing::default();
                    metrics.write(format, &mut page).expect("it is written to memory");
                    page.finish()
                });
            });
        }
    }
    group.finish();
}

/// Counts all that a pipeline and `Settle` count about a message that is delivered at once.
fn count_delivered(stats: &RouteStats, load: &Load) {
    stats.received.add(1);
    // The load is shown when the message is offered, taken and finished.
    for messages in [1, 0, 0] {
        load.queue_messages.set(messages);
        load.queue_bytes.set(messages * 512);
        load.retry_messages.set(0);
        load.retry_bytes.set(0);
        load.in_flight.set(1);
    }
    stats.request_duration.observe(black_box(Duration::from_micros(300)));
    stats.requests.answered(200);
    stats.count(Outcome::Delivered);
    stats.delivery_latency.observe(black_box(Duration::from_micros(1300)));
}

/// A route after some work.
fn route(registry: &Registry, number: u64) -> Arc<Route> {
    let name = format!("route-{number}").parse().expect("a good name");
    let settings = Settings { name, ..sample::route() };
    let stats = registry.stats_of(&settings.name);
    for lane in &*stats {
        let load = lane.loads.add();
        (0..1000).for_each(|_| count_delivered(lane, &load));
    }
    let endpoint = Surroundings::default().endpoint(&settings, Clock::start());
    Arc::new(Route::new(settings, stats, endpoint, None))
}
