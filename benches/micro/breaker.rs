//! The breaker: what it costs a message while all is well, while there are failures among the successes, and while it is open.

use std::time::Duration;

use broadcaster::{
    base::clock::Time,
    config,
    route::schedule::{
        breaker::{Breaker, Failed},
        fault::Fault,
        gate::Gate as _,
    },
};
use criterion::{Criterion, Throughput};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    group.throughput(Throughput::Elements(1));
    let config = config::Breaker::default();
    let mut now = Time::from_start(Duration::from_secs(1));

    let closed = Breaker::new(Some(&config));
    group.bench_function("closed", |bencher| {
        bencher.iter(|| (closed.admit(now), closed.succeeded(now, now, None)));
    });

    let troubled = Breaker::new(Some(&config));
    let failed = Failed {
        fault: Fault::Down,
        began: now,
        ended: now,
        before: None,
        is_part: false,
        proof: Time::START,
    };
    troubled.failed(&failed);
    group.bench_function("after a failure", |bencher| {
        bencher.iter(|| {
            now = now + Duration::from_nanos(1);
            (troubled.admit(now), troubled.succeeded(now, now, None))
        });
    });

    let open = Breaker::new(Some(&config));
    for _ in 0..config.failures.get() {
        open.failed(&failed);
    }
    group.bench_function("open", |bencher| bencher.iter(|| open.admit(now)));
    group.finish();
}
