//! Whether a message is wanted, by a simple filter and by one that asks for the payload.

use std::hint::black_box;

use broadcaster::{
    base::clock::Time,
    expression::Expression,
    message::{Headers, Id, Message},
};
use criterion::Criterion;

pub(crate) fn bench(criterion: &mut Criterion) {
    let payload = format!(
        r#"{{"status": "paid", "amount": 199.5, "user": {{"id": 7, "name": "Zoë", "tags": ["a", "b"]}}, "text": "{}"}}"#,
        "x".repeat(120)
    );
    let headers = Headers::new([("X-Tenant", "acme"), ("X-Kind", "big")]);
    let message = Message::new(Id::fresh(), "orders.eu.created".into(), headers, payload.into(), Time::START);

    let mut group = criterion.benchmark_group("filter");
    for (name, text) in [
        ("subject", "subject == 'orders.eu.created'"),
        ("header", "headers['x-tenant'] == 'acme'"),
        ("header and token", "headers['x-tenant'] == 'acme' and tokens[1] == 'eu'"),
        ("payload", "data.amount > 100 and data.status == 'paid'"),
    ] {
        let filter = Expression::parse(text).expect("a good expression");
        group.bench_function(name, |bencher| bencher.iter(|| filter.holds(black_box(&message))));
    }
    group.finish();
}
