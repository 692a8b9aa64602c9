//! The queue: a burst goes in, and comes out again.

use broadcaster::route::schedule::queue::Queue;
use criterion::{Criterion, Throughput};

use crate::sample;

const BURST: usize = 1000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let route = sample::route();
    let mut queue = Queue::new(route.queue.bounds, route.queue.overflow);
    let mut messages: Vec<_> = (0..BURST).map(|_| sample::message()).collect();

    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("push and pop", |bencher| {
        bencher.iter(|| {
            for message in messages.drain(..) {
                queue.push(message, |_| unreachable!("the queue has room"));
            }
            messages.extend(std::iter::from_fn(|| queue.pop()));
        });
    });
    group.finish();
    assert_eq!(messages.len(), BURST, "none was lost");
}
