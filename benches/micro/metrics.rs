//! Counting, and what a scrape costs.

use std::{hint::black_box, num::NonZeroUsize, sync::Arc, time::Duration};

use broadcaster::{
    config::Bounds,
    control::{
        metrics::{Figures, Metrics, RouteFigures},
        server::Pages as _,
    },
    lane::LaneStatus,
    route::schedule::breaker::Breaker,
    stats::RouteStats,
};
use criterion::{BenchmarkId, Criterion, Throughput};

const LANES: usize = 2;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    let stats = RouteStats::default();
    group.throughput(Throughput::Elements(1));
    group.bench_function("count", |bencher| bencher.iter(|| count_delivered(black_box(&stats))));

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for routes in [1, 32] {
        let metrics = Metrics::new(Figures {
            routes: (0..routes).map(figures).collect(),
            lanes: (0..LANES).map(|_| Arc::<LaneStatus>::default()).collect(),
            links: Vec::new(),
            control: runtime.metrics(),
        });
        group.throughput(Throughput::Elements(routes));
        for (format, accept) in [("OpenMetrics", Some("application/openmetrics-text")), ("classic", None)] {
            group.bench_function(BenchmarkId::new(format!("scrape, {format}"), routes), |bencher| {
                bencher.iter(|| metrics.page("/metrics", accept).expect("the page is there"));
            });
        }
    }
    group.finish();
}

/// Counts all that a line and `Settle` count about a message that is delivered at once.
fn count_delivered(stats: &RouteStats) {
    stats.received.add(1);
    // The load is shown when the message is offered, taken and finished.
    for messages in [1, 0, 0] {
        stats.queue_messages.set(messages);
        stats.queue_bytes.set(messages * 512);
        stats.retry_messages.set(0);
        stats.retry_bytes.set(0);
        stats.in_flight.set(1);
    }
    stats.request_duration.observe(black_box(Duration::from_micros(300)));
    stats.requests.answered(200);
    stats.delivered.add(1);
    stats.delivery_latency.observe(black_box(Duration::from_micros(1300)));
}

/// The figures of a route after some work.
fn figures(number: u64) -> RouteFigures {
    let lane = || {
        let stats = RouteStats::default();
        (0..1000).for_each(|_| count_delivered(&stats));
        Arc::new(stats)
    };
    let name = format!("route-{number}").parse().expect("a good name");
    let bounds = Bounds { messages: NonZeroUsize::MAX, bytes: NonZeroUsize::MAX };
    RouteFigures {
        name,
        lanes: (0..LANES).map(|_| lane()).collect(),
        breaker: Breaker::new(None),
        queue: bounds,
        retries: bounds,
        is_durable: false,
    }
}
