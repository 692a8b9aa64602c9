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
    let keys = "webhook.signing.keys";
    let (hmac, ed25519) = (format!("{keys}.a.secret"), format!("{keys}.b.secret"));
    let symmetric = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let asymmetric = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    let cases: [(&str, &[(&str, &str)]); 3] = [
        ("head", &[]),
        ("head_signed_hmac", &[(&hmac, symmetric)]),
        ("head_signed_ed25519", &[(&ed25519, asymmetric)]),
    ];
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    for (name, settings) in cases {
        let route = sample::route_with(settings);
        let template =
            Template::new(&route.webhook, &Surroundings::default().endpoint(&route, Clock::start()));
        let head_writer = HeadWriter::new(&template);
        let batch = Batch::from(sample::message());
        let mut head = Vec::new();
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
