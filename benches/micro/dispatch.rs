//! All decisions about one message that is delivered at once: offered, picked, resolved.

use std::time::Duration;

use broadcaster::{
    base::clock::Time,
    message::{Message, outcome::Attempt},
    route::schedule::{
        Dispatch, Pick, Verdict, breaker::Breaker, pause::Hold, policy::Policy, queue::Queue,
        retry_queue::RetryQueue,
    },
};
use criterion::{Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let route = sample::route();
    let mut dispatch = Dispatch::new(
        Queue::new(route.queue.bounds, route.queue.overflow),
        RetryQueue::new(route.retry.bounds),
        None,
        Hold::default(),
        Breaker::new(route.breaker.as_ref()),
        Policy::from(&route.retry),
    );
    let mut message = Some(sample::message());

    let mut group = criterion.benchmark_group("dispatch");
    group.throughput(Throughput::Elements(1));
    group.bench_function("delivered", |bencher| {
        bencher.iter(|| message = message.take().and_then(|message| deliver(&mut dispatch, message)));
    });
    group.finish();
    assert!(message.is_some(), "it was delivered each time");
}

/// Takes `message` through `dispatch`, and gives it back when it was delivered.
fn deliver(dispatch: &mut Dispatch, message: Message) -> Option<Message> {
    let now = Time::from_start(Duration::from_secs(1));
    dispatch.offer(message, |_| unreachable!("the queue has room"));
    let Pick::Attempt(message) = dispatch.pick(now) else { return None };
    match dispatch.resolve(message, &Attempt::Delivered(200), now) {
        Verdict::Delivered(message) => Some(message),
        Verdict::Retry(_) | Verdict::Return(..) | Verdict::Dead(..) => None,
    }
}
