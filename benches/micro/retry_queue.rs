//! The retry queue at several lengths: one message falls due and comes out, and goes in again for later.

use std::{num::NonZeroUsize, time::Duration};

use broadcaster::{
    base::clock::Time, config::Bounds, message::Message, route::schedule::retry_queue::RetryQueue,
};
use criterion::{BenchmarkId, Criterion, Throughput};

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("retry queue");
    group.throughput(Throughput::Elements(1));
    for length in [10_000, 100_000, 1_000_000] {
        let mut standing = Standing::new(length);
        group.bench_function(BenchmarkId::new("pop and push", length), |bencher| {
            bencher.iter(|| standing.turn());
        });
    }
    group.finish();
}

/// A retry queue that stays as long as it is.
struct Standing {
    retries: RetryQueue,
    now: Time,
    spread: u64,
}

impl Standing {
    fn new(length: usize) -> Self {
        let bounds = Bounds { messages: NonZeroUsize::MAX, bytes: NonZeroUsize::MAX };
        let mut standing = Self { retries: RetryQueue::new(bounds), now: Time::START, spread: 0 };
        for _ in 0..length {
            standing.park(sample::message());
        }
        standing
    }

    fn turn(&mut self) {
        let (message, due) = self.retries.pop().expect("it is never empty");
        self.now = due;
        self.park(message);
    }

    /// Parks `message` for anything up to some four minutes, as the jitter of a late retry does.
    fn park(&mut self, message: Message) {
        // Steps of the golden ratio, modulo one, are spread evenly and cost next to nothing.
        self.spread = self.spread.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let wait = Duration::from_nanos(self.spread >> 26);
        self.retries.push(message, self.now + wait).expect("it has no bounds");
    }
}
