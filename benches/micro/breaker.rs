//! The breaker: what it costs a message while all is well, while there are failures among the successes, and while it is open.

use std::time::Duration;

use broadcaster::{
    base::clock::Time,
    config,
    message::outcome::Failure,
    route::schedule::{breaker::Breaker, gate::Gate as _},
};
use criterion::{Criterion, Throughput};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    group.throughput(Throughput::Elements(1));
    let config = config::Breaker::default();
    let mut now = Time::from_start(Duration::from_secs(1));

    let closed = Breaker::new(Some(&config));
    group.bench_function("closed", |bencher| {
        bencher.iter(|| (closed.admit(now), closed.succeeded(now, now)));
    });

    let troubled = Breaker::new(Some(&config));
    troubled.failed(Failure::Timeout, now, now);
    group.bench_function("after a failure", |bencher| {
        bencher.iter(|| {
            now = now + Duration::from_nanos(1);
            (troubled.admit(now), troubled.succeeded(now, now))
        });
    });

    let open = Breaker::new(Some(&config));
    for _ in 0..config.failures.get() {
        open.failed(Failure::Timeout, now, now);
    }
    group.bench_function("open", |bencher| bencher.iter(|| open.admit(now)));
    group.finish();
}
