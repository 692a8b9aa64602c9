//! What the body of a request costs, with the fields around it: the payload as it is, an envelope, a template, and a
//! hundred of them in a batch.

use std::hint::black_box;

use broadcaster::{
    base::clock::{Clock, Time},
    deliver::{endpoint::Surroundings, request::Template},
    message::batch::Batch,
};
use criterion::{Criterion, Throughput};

use crate::sample;

/// As an operator would write it for a chat service.
const TEMPLATE: &str =
    r#"{"text": "{{ data.title }} by {{ data.by.name }} ({{ subject }})", "id": {{ id }}}"#;

pub(crate) fn bench(criterion: &mut Criterion) {
    let formats: [(&str, &[(&str, &str)]); 3] = [
        ("raw", &[]),
        ("envelope", &[("webhook.format", "envelope")]),
        ("template", &[("webhook.format", "template"), ("webhook.template", TEMPLATE)]),
    ];
    let batch = Batch::from(sample::todo());
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Elements(1));
    for (name, settings) in formats {
        let route = sample::route_with(settings);
        let template =
            Template::new(&route.webhook, &Surroundings::default().endpoint(&route, Clock::start()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(template.prepare(black_box(&batch), Time::START).is_ok()));
        });
    }
    let hundred = Batch::of((0..100).map(|_| sample::todo()).collect()).expect("it is not empty");
    group.throughput(Throughput::Elements(100));
    for (name, format) in [("batch of raw", "raw"), ("batch of envelopes", "envelope")] {
        let route = sample::route_with(&[("webhook.format", format), ("batch.max_messages", "100")]);
        let endpoint = Surroundings::default().endpoint(&route, Clock::start());
        let template = Template::new(&route.webhook, &endpoint).batching(&route.batch);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(template.prepare(black_box(&hundred), Time::START).is_ok()));
        });
    }
    group.finish();
}
