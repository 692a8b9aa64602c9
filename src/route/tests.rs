use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{task::LocalSet, time::sleep};

use super::{
    pipeline::{Equipment, Line},
    schedule::{
        Dispatch,
        breaker::{Breaker, State},
        pause::Hold,
        policy::Policy,
        queue::Queue,
        retry_queue::RetryQueue,
        testing::{bounds, message, retry},
    },
    settle::Settle,
    webhook_health::Condition,
};
use crate::{
    base::clock::{Clock, Time},
    config::{self, Bounds, Overflow, RouteName},
    deliver::Deliver,
    message::{
        Message,
        ack_queue::Acks,
        outcome::{Attempt, Failure},
    },
    stats::RouteStats,
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
    workers: Cell<usize>,
}

const LATENCY: Duration = Duration::from_millis(10);

struct Worker {
    number: usize,
    hook: Rc<Hook>,
}

impl Deliver for Worker {
    async fn deliver(&mut self, message: &Message, _now: Time) -> Attempt {
        let hook = &self.hook;
        hook.under_way.set(hook.under_way.get() + 1);
        hook.most_under_way.set(hook.most_under_way.get().max(hook.under_way.get()));
        sleep(LATENCY).await;
        hook.under_way.set(hook.under_way.get() - 1);
        if hook.failures.get() > 0 {
            hook.failures.set(hook.failures.get() - 1);
            return Attempt::Failed {
                failure: Failure::Status(503),
                retry_after: hook.retry_after.get(),
                excerpt: None,
            };
        }
        let number = String::from_utf8_lossy(&message.payload).into_owned();
        hook.answered.borrow_mut().push((number, self.number));
        Attempt::Delivered(200)
    }

    fn poll_idle(&mut self, _cx: &mut std::task::Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

struct Setting {
    line: Rc<Line<Worker>>,
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
    let route: RouteName = "todos".parse().unwrap();
    let client = {
        let hook = Rc::clone(&hook);
        Box::new(move || {
            hook.workers.set(hook.workers.get() + 1);
            Worker { number: hook.workers.get(), hook: Rc::clone(&hook) }
        })
    };
    let line = Line::start(Equipment {
        dispatch: Dispatch::new(
            Queue::new(queue, Overflow::DropNewest),
            RetryQueue::new(bounds(1000, 1 << 20)),
            None,
            Hold::default(),
            breaker.clone(),
            Policy::from(&retry()),
        ),
        overflow: Overflow::DropNewest,
        concurrency,
        client,
        settle: Settle::new(route.clone(), Arc::clone(&stats), None, Acks::default(), clock),
        condition: Arc::new(Condition::new(route)),
        breaker,
        stats: Arc::clone(&stats),
        clock,
    });
    Setting { line, hook, stats, clock, began: clock.now() }
}

impl Setting {
    fn offer(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.line.offer(message(number));
        }
        self.line.summon();
    }

    /// The numbers of the messages that were delivered, each once.
    fn delivered(&self) -> HashSet<String> {
        let answered = self.hook.answered.borrow();
        let distinct: HashSet<_> = answered.iter().map(|(number, _)| number.clone()).collect();
        assert_eq!(distinct.len(), answered.len(), "duplicates among {answered:?}");
        distinct
    }

    fn in_hand(&self) -> i64 {
        self.stats.account().in_hand()
    }
}

/// Runs `test` with time that passes when everybody waits.
async fn on_a_lane(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn everything_offered_is_delivered_once() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.offer(0..100);
        set.line.drained(set.clock.now() + Duration::from_secs(60)).await;
        assert_eq!(set.delivered().len(), 100);
        assert_eq!((set.stats.delivered.get(), set.in_hand()), (100, 0));
        // A hundred messages, four at a time, ten milliseconds each.
        let took = set.clock.now().since(set.began);
        assert!(took < Duration::from_millis(300), "took {took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_at_once_than_allowed() {
    on_a_lane(async {
        let set = setting(7, bounds(1000, 1 << 20));
        set.offer(0..50);
        set.offer(50..100);
        set.line.drained(set.clock.now() + Duration::from_secs(60)).await;
        assert_eq!((set.hook.most_under_way.get(), set.hook.workers.get()), (7, 7));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_route_keeps_to_one_worker() {
    on_a_lane(async {
        let set = setting(64, bounds(1000, 1 << 20));
        for number in 0..20 {
            set.offer(number..number + 1);
            sleep(LATENCY * 3).await;
        }
        assert_eq!(set.delivered().len(), 20);
        assert_eq!(set.hook.workers.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_that_sat_down_last_are_called_first() {
    on_a_lane(async {
        let set = setting(64, bounds(1000, 1 << 20));
        set.offer(0..10);
        sleep(LATENCY * 3).await;
        set.hook.answered.borrow_mut().clear();
        for number in 10..20 {
            set.offer(number..number + 1);
            sleep(LATENCY * 3).await;
        }
        let workers: HashSet<_> = set.hook.answered.borrow().iter().map(|(_, worker)| *worker).collect();
        assert_eq!(workers.len(), 1, "messages one by one went through {workers:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_when_it_is_due_though_all_are_idle() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.hook.failures.set(3);
        set.offer(0..1);
        set.line.drained(set.clock.now() + Duration::from_secs(60)).await;
        // 0.5 s, 1 s and 2 s of waiting, and four attempts.
        let took = set.clock.now().since(set.began);
        assert!((3540..3560).contains(&took.as_millis()), "took {took:?}");
        assert_eq!(set.delivered().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_retry_holds_no_worker() {
    on_a_lane(async {
        let set = setting(1, bounds(1000, 1 << 20));
        set.hook.failures.set(1);
        set.offer(0..10);
        sleep(Duration::from_millis(150)).await;
        assert_eq!(set.delivered().len(), 9);
        assert_eq!(set.stats.retry_messages.get(), 1);
        sleep(Duration::from_millis(500)).await;
        assert_eq!(set.delivered().len(), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_webhook_asked_for_stops_all_workers() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.hook.failures.set(1);
        set.hook.retry_after.set(Some(Duration::from_secs(20)));
        set.offer(0..1);
        sleep(LATENCY * 2).await;
        set.offer(1..50);
        sleep(Duration::from_secs(19)).await;
        assert_eq!(set.delivered().len(), 0);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(set.delivered().len(), 50);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_counted_as_dropped() {
    on_a_lane(async {
        let set = setting(1, bounds(10, 1 << 20));
        set.offer(0..100);
        set.line.drained(set.clock.now() + Duration::from_secs(60)).await;
        let account = set.stats.account();
        assert_eq!((account.received, account.delivered, account.dropped), (100, 10, 90));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_early_when_nothing_can_be_tried_in_time() {
    on_a_lane(async {
        let set = setting(1, bounds(10, 1 << 20));
        set.hook.failures.set(100);
        set.offer(0..1);
        let began = set.clock.now();
        set.line.drained(began + Duration::from_millis(1400)).await;
        let waited = set.clock.now().since(began);
        assert!(waited < Duration::from_millis(600), "waited {waited:?} for a retry that is due later");
        assert_eq!(set.in_hand(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_accounts_for_everything() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.hook.failures.set(4);
        set.offer(0..20);
        // Four wait for a retry, four are under way, twelve were never tried.
        sleep(LATENCY + LATENCY / 2).await;
        assert_eq!((set.stats.retry_messages.get(), set.stats.in_flight.get()), (4, 4));
        set.line.cut().await;
        assert_eq!(set.in_hand(), 20);
        set.line.give_up(set.clock.now()).await;
        let account = set.stats.account();
        assert_eq!((account.dropped, account.in_hand()), (20, 0));
        assert_eq!((set.stats.queue_messages.get(), set.stats.in_flight.get()), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_after_a_cut_can_be_handed_over_or_put_back() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.hook.failures.set(4);
        set.offer(0..20);
        sleep(LATENCY + LATENCY / 2).await;
        set.line.cut().await;
        let left: Vec<_> = std::iter::from_fn(|| set.line.take_left()).collect();
        // Four failed, four were broken off in the middle: all of these were tried once.
        assert_eq!((left.len(), left.iter().filter(|message| message.attempts == 1).count()), (20, 8));
        assert!(set.line.is_empty());
        for (n, message) in left.into_iter().enumerate() {
            if n % 2 == 0 { set.line.handed_over(message) } else { set.line.put_back(message) }
        }
        set.line.give_up(set.clock.now()).await;
        let account = set.stats.account();
        assert_eq!((account.handed_over, account.dropped, account.in_hand()), (10, 10, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn takes_over_what_there_is_room_for_and_nothing_after_the_cut() {
    on_a_lane(async {
        let set = setting(1, bounds(3, 1 << 20));
        let taken = (0..5).filter(|n| set.line.take_over(message(*n)).is_ok()).count();
        assert_eq!((taken, set.stats.received.get(), set.stats.dropped.get()), (3, 3, 0));
        set.line.drained(set.clock.now() + Duration::from_secs(60)).await;
        assert_eq!(set.delivered().len(), 3);
        set.line.cut().await;
        assert!(set.line.take_over(message(9)).is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn towards_the_end_nothing_is_begun_that_would_be_broken_off() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.offer(0..8);
        sleep(3 * LATENCY).await;
        set.offer(8..100);
        let deadline = set.clock.now() + 10 * LATENCY;
        set.line.close(deadline);
        set.line.drained(deadline).await;
        assert!(set.clock.now() < deadline);
        assert_eq!((set.stats.in_flight.get(), set.hook.under_way.get()), (0, 0));
        assert!((24..=40).contains(&set.delivered().len()), "{}", set.delivered().len());
    })
    .await;
}

/// A breaker that was opened at `now`.
fn opened(now: Time) -> Breaker {
    let breaker = Breaker::new(Some(&config::Breaker::default()));
    for _ in 0..20 {
        breaker.failed(Failure::Connect, now, now);
    }
    breaker
}

#[tokio::test(start_paused = true)]
async fn probes_that_are_never_heard_of_again_hold_up_nobody() {
    on_a_lane(async {
        let breaker = opened(Clock::start().now());
        let set = setting_with(breaker.clone(), 4, bounds(1000, 1 << 20));
        set.offer(0..10);
        // The probes are those of another lane, which does not come back to them.
        sleep(Duration::from_millis(4_990)).await;
        assert_eq!((0..4).filter(|_| breaker.admit(set.clock.now() + LATENCY).is_ok()).count(), 3);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(set.delivered().len(), 0);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(set.delivered().len(), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker_closes_on_a_route_that_has_become_quiet() {
    on_a_lane(async {
        let breaker = opened(Clock::start().now());
        let set = setting_with(breaker.clone(), 4, bounds(1000, 1 << 20));
        set.offer(0..1);
        sleep(Duration::from_secs(6)).await;
        assert_eq!((set.delivered().len(), breaker.state()), (1, State::HalfOpen));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(breaker.state(), State::Closed);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_uses_up_no_attempts() {
    on_a_lane(async {
        let set = setting_with(Breaker::new(Some(&config::Breaker::default())), 4, bounds(1000, 1 << 20));
        // Thirteen rounds of probes.
        set.hook.failures.set(20 + 3 * 13);
        set.offer(0..30);
        sleep(Duration::from_secs(100)).await;
        assert_eq!((set.delivered().len(), set.in_hand()), (30, 0));
    })
    .await;
}
