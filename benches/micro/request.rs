//! The head of a request, written into memory that is there already.

use std::hint::black_box;

use broadcaster::{
    base::clock::{Clock, Time},
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

/// The name of a case, what is set for it, and the message.
type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], Message);

pub(crate) fn bench(criterion: &mut Criterion) {
    let keys = "webhook.signing.keys";
    let (hmac, ed25519) = (format!("{keys}.a.secret"), format!("{keys}.b.secret"));
    let symmetric = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let asymmetric = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    let traced = || Message { headers: Headers::new(TRACE), ..sample::message() };
    let cases: [Case<'_>; 4] = [
        ("head", &[], sample::message()),
        ("head_with_two_forwarded", &[], traced()),
        ("head_signed_hmac", &[(&hmac, symmetric)], sample::message()),
        ("head_signed_ed25519", &[(&ed25519, asymmetric)], sample::message()),
    ];
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    for (name, settings, message) in cases {
        let route = sample::route_with(settings);
        let template =
            Template::new(&route.webhook, &Surroundings::default().endpoint(&route, Clock::start()));
        let head_writer = HeadWriter::new(&template);
        let batch = Batch::from(message);
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
