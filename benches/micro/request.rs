//! The head of a request, written into memory that is there already.

use std::hint::black_box;

use broadcaster::{
    base::clock::Time,
    deliver::{endpoint::Surroundings, h1::head::HeadWriter, request::Template},
    message::{Headers, Message, batch::Batch},
};
use criterion::{Criterion, Throughput};

use crate::sample;

/// As a publisher that traces has them.
const TRACE: [(&str, &str); 2] = [
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "congo=t61rcWkgMzE"),
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let route = sample::route();
    let template = Template::new(&route.webhook, &Surroundings::default().endpoint(&route));
    let head_writer = HeadWriter::new(&template);
    let traced = Message { headers: Headers::new(TRACE), ..sample::message() };
    let mut head = Vec::new();

    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    for (name, message) in [("head", sample::message()), ("head_with_two_forwarded", traced)] {
        let batch = Batch::from(message);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                head.clear();
                let request = template.prepare(black_box(&batch), Time::START).expect("it can be sent");
                head_writer.write(&request, &mut head);
                black_box(&head);
            });
        });
    }
    group.finish();
}
