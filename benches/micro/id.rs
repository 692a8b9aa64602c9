//! The identity of a message: one that is made, and one that the publisher gave.

use std::hint::black_box;

use broadcaster::message::Id;
use criterion::{Criterion, Throughput};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("id");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fresh", |bencher| bencher.iter(Id::fresh));
    group.bench_function("given", |bencher| bencher.iter(|| Id::given(black_box("order-17:created"))));
    group.finish();
}
