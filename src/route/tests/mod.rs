//! A pipeline without a network: what its loops do with a schedule, workers that only wait, and time that is paused.

mod draining;
mod settling;
mod working;

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    num::NonZeroUsize,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{task::LocalSet, time::sleep};

use super::{
    pipeline::{Parts, Pipeline},
    schedule::{
        Schedule,
        breaker::{Breaker, BreakerState},
        gate::{Gate as _, Gates},
        pace::Pace,
        pause::Pause,
        policy::Policy,
        queue::Queue,
        retry_queue::RetryQueue,
        slow_start::SlowStart,
        testing::{bounds, down, message, retry},
    },
    settle::Settle,
    webhook_health::WebhookHealth,
};
use crate::{
    base::clock::{Clock, Time},
    config::{self, Bounds, Overflow, RouteName},
    deliver::Deliver,
    message::{
        batch::Batch,
        outcome::{Attempt, Failure, Outcome},
    },
    stats::{Gauge, Load, RouteStats},
};

/// What the webhook of these tests sees, and how it answers.
#[derive(Default)]
struct Hook {
    /// The number of each message that was answered, and by which worker.
    answered: RefCell<Vec<(String, usize)>>,
    under_way: Cell<usize>,
    most_under_way: Cell<usize>,
    /// How many attempts fail before the first one succeeds.
    failures: Cell<usize>,
    /// Asks for a pause with each failure.
    retry_after: Cell<Option<Duration>>,
    /// What every attempt comes to, where that is always the same.
    answer: RefCell<Option<Attempt>>,
    workers: Cell<usize>,
}

const LATENCY: Duration = Duration::from_millis(10);

struct Worker {
    number: usize,
    hook: Rc<Hook>,
    clock: Clock,
}

impl Deliver for Worker {
    async fn deliver(&mut self, batch: &Batch, _now: Time) -> (Attempt, Time) {
        let hook = &self.hook;
        hook.under_way.set(hook.under_way.get() + 1);
        hook.most_under_way.set(hook.most_under_way.get().max(hook.under_way.get()));
        sleep(LATENCY).await;
        hook.under_way.set(hook.under_way.get() - 1);
        let attempt = if let Some(answer) = &*hook.answer.borrow() {
            answer.clone()
        } else if hook.failures.get() > 0 {
            hook.failures.set(hook.failures.get() - 1);
            Attempt::Failed {
                failure: Failure::Status(503),
                retry_after: hook.retry_after.get(),
                excerpt: None,
                content: None,
                cause: None,
            }
        } else {
            let number = String::from_utf8_lossy(&batch.first().payload).into_owned();
            hook.answered.borrow_mut().push((number, self.number));
            Attempt::delivered(200)
        };
        (attempt, self.clock.now())
    }

    fn poll_idle(&mut self, _cx: &mut std::task::Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

struct Setting {
    pipeline: Rc<Pipeline<Worker>>,
    hook: Rc<Hook>,
    stats: Arc<RouteStats>,
    clock: Clock,
    began: Time,
}

fn setting(concurrency: usize, queue: Bounds) -> Setting {
    setting_with(Breaker::new(None), concurrency, queue)
}

fn setting_with(breaker: Breaker, concurrency: usize, queue: Bounds) -> Setting {
    let clock = Clock::start();
    let (hook, stats) = (Rc::new(Hook::default()), Arc::new(RouteStats::default()));
    let pipeline = Pipeline::start(parts(breaker, concurrency, queue, &hook, &stats, clock));
    Setting { pipeline, hook, stats, clock, began: clock.now() }
}

fn parts(
    breaker: Breaker,
    concurrency: usize,
    queue: Bounds,
    hook: &Rc<Hook>,
    stats: &Arc<RouteStats>,
    clock: Clock,
) -> Parts<Worker> {
    let route: RouteName = "todos".parse().unwrap();
    let hook = Rc::clone(hook);
    let client = Box::new(move || {
        hook.workers.set(hook.workers.get() + 1);
        Worker { number: hook.workers.get(), hook: Rc::clone(&hook), clock }
    });
    let retries = RetryQueue::new(bounds(1000, 1 << 20));
    let gates = Gates::new(None, Pause::default(), None, Pace::default(), breaker);
    Parts {
        filter: None,
        schedule: Schedule::new(
            Queue::new(queue, Overflow::DropNewest),
            retries,
            gates,
            Policy::from(&retry()),
            SlowStart::new(NonZeroUsize::MAX, concurrency).into(),
        ),
        overflow: Overflow::DropNewest,
        concurrency,
        under_way: Rc::default(),
        client,
        settle: Settle::new(route.clone(), Arc::clone(stats), None, clock),
        health: Arc::new(WebhookHealth::new(route)),
        stats: Arc::clone(stats),
        tracer: None,
        feed: None,
        clock,
    }
}

impl Setting {
    /// For a pipeline of the same route with another bound.
    fn parts_of_a_successor(&self, queue: Bounds) -> Parts<Worker> {
        parts(Breaker::new(None), 4, queue, &self.hook, &self.stats, self.clock)
    }

    fn offer(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.pipeline.offer(message(number));
        }
        self.pipeline.wake_workers();
    }

    /// The numbers of the messages that were delivered, each once.
    fn delivered(&self) -> HashSet<String> {
        let answered = self.hook.answered.borrow();
        let distinct: HashSet<_> = answered.iter().map(|(number, _)| number.clone()).collect();
        assert_eq!(distinct.len(), answered.len(), "duplicates among {answered:?}");
        distinct
    }

    fn in_hand(&self) -> i64 {
        self.stats.tally().in_hand()
    }

    /// How many messages came to this end.
    fn count(&self, outcome: Outcome) -> u64 {
        self.stats.tally().of(outcome)
    }

    fn load(&self, figure: impl Fn(&Load) -> &Gauge) -> usize {
        self.stats.loads.sum(figure)
    }
}

/// Runs `test` with time that passes when everybody waits.
async fn on_a_lane(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}
