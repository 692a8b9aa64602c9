//! The rate limit: a permit that is there, and one that is not.

use std::{num::NonZeroU32, time::Duration};

use broadcaster::{
    base::clock::Time,
    config::RateLimit,
    route::schedule::{
        gate::Gate as _,
        rate_limit::{Limiter, SharedLimit},
    },
};
use criterion::{Criterion, Throughput};

pub(crate) fn bench(criterion: &mut Criterion) {
    const OFTEN: NonZeroU32 = NonZeroU32::new(1_000_000).expect("a million is not 0");
    let mut group = criterion.benchmark_group("limiter");
    group.throughput(Throughput::Elements(1));

    let mut now = Time::from_start(Duration::from_secs(1));
    let frequent = limiter(OFTEN);
    group.bench_function("permit", |bencher| {
        bencher.iter(|| {
            now = now + Duration::from_micros(1);
            frequent.admit(now).expect("there is a permit each microsecond");
        });
    });

    let rare = limiter(NonZeroU32::MIN);
    rare.admit(now).expect("the first is free");
    group.bench_function("refusal", |bencher| {
        bencher.iter(|| rare.admit(now).expect_err("there is one permit a second"));
    });
    group.finish();
}

fn limiter(per_second: NonZeroU32) -> Limiter {
    Limiter::new(SharedLimit::new(RateLimit { per_second, burst: NonZeroU32::MIN }))
}
