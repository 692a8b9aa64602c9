//! The head of a request, written into memory that is there already.

use std::hint::black_box;

use broadcaster::{
    base::clock::{Clock, Time},
    deliver::{endpoint::Surroundings, h1::head::HeadWriter, request::Template},
    message::batch::Batch,
};
use criterion::{Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let token = folder.path().join("token");
    // As long as one of Kubernetes.
    std::fs::write(&token, "t".repeat(1000)).expect("the folder is writable");
    let login = [("webhook.auth.bearer.token_file", token.to_str().expect("the path is text"))];
    let batch = Batch::from(sample::message());
    let mut head = Vec::new();

    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    for (name, settings) in [("head", &[][..]), ("head with a token from a file", &login)] {
        let route = sample::route_with(settings);
        let endpoint = Surroundings::default().endpoint(&route, Clock::start());
        let template = Template::new(&route.webhook, endpoint.login.as_ref());
        let head_writer = HeadWriter::new(&template);
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
