//! The head of a request, written into memory that is there already.

use std::hint::black_box;

use broadcaster::{
    base::clock::Time,
    deliver::{endpoint::Surroundings, h1::head::HeadWriter, request::Template},
    message::batch::Batch,
};
use criterion::{Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let route = sample::route();
    let template = Template::new(&route.webhook, &Surroundings::default().endpoint(&route));
    let head_writer = HeadWriter::new(&template);
    let batch = Batch::from(sample::message());
    let mut head = Vec::new();

    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    group.bench_function("head", |bencher| {
        bencher.iter(|| {
            head.clear();
            let request = template.prepare(black_box(&batch), Time::START).expect("it can be sent");
            head_writer.write(&request, &mut head);
            black_box(&head);
        });
    });
    group.finish();
}
