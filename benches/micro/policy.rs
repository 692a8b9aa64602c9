//! The retry rule: what an answer is, what follows a failure, and how long that waits.

use std::hint::black_box;

use broadcaster::{
    base::backoff::Backoff, deliver::answer::Answer, message::outcome::Failure,
    route::schedule::policy::Policy,
};
use criterion::{BenchmarkId, Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let retry = sample::route().retry;
    let mut group = criterion.benchmark_group("policy");
    group.throughput(Throughput::Elements(1));

    let answer = Answer::new(503);
    group.bench_function("attempt", |bencher| bencher.iter(|| black_box(&answer).clone().attempt("/", None)));
    group.bench_function("status", |bencher| bencher.iter(|| retry.statuses.contains(black_box(503))));

    let backoff = Backoff::new(retry.initial, retry.max, retry.multiplier, retry.jitter);
    group.bench_function("delay", |bencher| bencher.iter(|| backoff.delay(black_box(3))));

    let policy = Policy::from(&retry);
    for (end, status) in [("retry", 503), ("dead", 400)] {
        let failure = Failure::Status(status);
        group.bench_function(BenchmarkId::new("ends", end), |bencher| {
            bencher.iter(|| policy.ends(black_box(failure), black_box(3), 1));
        });
    }
    group.finish();
}
