//! All decisions about one message that is delivered at once: offered, picked, resolved.

use std::time::Duration;

use broadcaster::{
    base::clock::Time,
    message::{Message, outcome::Attempt},
    route::schedule::{
        Pick, Schedule, Verdict,
        breaker::Breaker,
        gate::Gates,
        pace::Pace,
        pause::Pause,
        policy::Policy,
        queue::Queue,
        retry_queue::RetryQueue,
        slow_start::{FIRST, SlowStart},
    },
};
use criterion::{Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let route = sample::route();
    let mut schedule = Schedule::new(
        Queue::new(route.queue.bounds, route.queue.overflow),
        RetryQueue::new(route.retry.bounds),
        Gates::new(None, Pause::default(), None, Pace::default(), Breaker::new(route.breaker.as_ref())),
        Policy::from(&route.retry),
        SlowStart::new(FIRST, 64).into(),
    );
    let mut message = Some(sample::message());

    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(1));
    group.bench_function("delivered", |bencher| {
        bencher.iter(|| message = message.take().and_then(|message| deliver(&mut schedule, message)));
    });
    group.finish();
    assert!(message.is_some(), "it was delivered each time");
}

/// Takes `message` through `schedule`, and gives it back when it was delivered.
fn deliver(schedule: &mut Schedule, message: Message) -> Option<Message> {
    let now = Time::from_start(Duration::from_secs(1));
    schedule.offer(message, |_| unreachable!("the queue has room"));
    let Pick::Attempt(batch) = schedule.pick(now) else { return None };
    let mut delivered = None;
    schedule.resolve(batch, &Attempt::delivered(200), now, now, |verdict| {
        if let Verdict::Delivered(message) = verdict {
            delivered = Some(message);
        }
    });
    delivered
}
