//! The head of a request, written into memory that is there already.

use std::hint::black_box;

use broadcaster::deliver::request::Template;
use criterion::{Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let template = Template::new(&sample::route().webhook);
    let message = sample::message();
    let mut head = Vec::new();

    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    group.bench_function("head", |bencher| {
        bencher.iter(|| {
            head.clear();
            template.write(black_box(&message), &mut head);
            black_box(&head);
        });
    });
    group.finish();
}
