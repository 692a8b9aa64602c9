//! The head of a request, written into memory that is there already.

use std::hint::black_box;

use broadcaster::{
    base::clock::Time,
    deliver::{h1::head::HeadWriter, request::Template},
    message::batch::Batch,
};
use criterion::{Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let template = Template::new(&sample::route().webhook, None);
    let head_writer = HeadWriter::new(&template);
    let batch = Batch::from(sample::message());
    let mut head = Vec::new();

    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    group.bench_function("head", |bencher| {
        bencher.iter(|| {
            head.clear();
            let request = template.prepare(black_box(&batch), Time::START);
            head_writer.write(&request, &mut head);
            black_box(&head);
        });
    });
    group.finish();
}
