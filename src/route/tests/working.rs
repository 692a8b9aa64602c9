//! What a pipeline does as long as nobody ends it.

use super::*;
use crate::message::{
    acknowledgement::{AckKind, Origin},
    ledger::Ledgers,
};

#[tokio::test(start_paused = true)]
async fn everything_offered_is_delivered_once() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.offer(0..100);
        set.pipeline.drained(set.clock.now() + Duration::from_secs(60)).await;
        assert_eq!(set.delivered().len(), 100);
        assert_eq!((set.count(Outcome::Delivered), set.in_hand()), (100, 0));
        // A hundred messages, four at a time, ten milliseconds each.
        let took = set.clock.now().since(set.began);
        assert!(took < Duration::from_millis(300), "took {took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_holds_waits_and_goes_on_at_once() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.offer(0..8);
        sleep(LATENCY / 2).await;
        set.pipeline.hold(true);
        set.offer(8..20);
        // Longer than after what a held route looks for itself.
        sleep(Duration::from_secs(30 * 60 * 60)).await;
        assert_eq!((set.delivered().len(), set.in_hand()), (4, 16), "what was under way has ended");
        let resumed = set.clock.now();
        set.pipeline.hold(false);
        set.pipeline.drained(set.clock.now() + Duration::from_secs(60)).await;
        assert_eq!((set.delivered().len(), set.in_hand()), (20, 0));
        let took = set.clock.now().since(resumed);
        assert!(took < LATENCY * 5, "16 messages, four at a time, took {took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_a_route_that_is_held_leaves_its_messages_to_others_at_once() {
    on_a_lane(async {
        let set = setting(4, bounds(1000, 1 << 20));
        set.pipeline.hold(true);
        set.offer(0..8);
        let deadline = set.clock.now() + Duration::from_secs(60);
        set.pipeline.close(deadline);
        set.pipeline.drained(deadline).await;
        assert!(set.clock.now().since(set.began) < Duration::from_secs(1), "there is nothing to wait for");
        set.pipeline.abort().await;
        let left = std::iter::from_fn(|| set.pipeline.take_left()).map(|message| {
            let attempts = message.attempts;
            set.pipeline.handed_over(message);
            attempts
        });
        assert_eq!(left.collect::<Vec<_>>(), [0; 8], "no attempt was made");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_at_once_than_allowed() {
    on_a_lane(async {
        let set = setting(7, bounds(1000, 1 << 20));
        set.offer(0..50);
        set.offer(50..100);
        set.pipeline.drained(set.clock.now() + Duration::from_secs(60)).await;
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
async fn those_that_were_parked_last_are_woken_first() {
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
        set.pipeline.drained(set.clock.now() + Duration::from_secs(60)).await;
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
        assert_eq!(set.load(|load| &load.retry_messages), 1);
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
        let first = set.delivered().len();
        assert!((1..50).contains(&first), "it begins with one and ramps up, and not with {first} at once");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(set.delivered().len(), 50);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_counted_as_dropped() {
    on_a_lane(async {
        let set = setting(1, bounds(10, 1 << 20));
        set.offer(0..100);
        set.pipeline.drained(set.clock.now() + Duration::from_secs(60)).await;
        let ends = (set.count(Outcome::Delivered), set.count(Outcome::Dropped));
        assert_eq!((set.stats.received.get(), ends), (100, (10, 90)));
    })
    .await;
}

/// A breaker that was opened at `now`.
fn opened(now: Time) -> Breaker {
    let breaker = Breaker::new(Some(&config::Breaker::default()));
    for _ in 0..20 {
        breaker.failed(&down(now));
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
        assert_eq!((set.delivered().len(), breaker.state()), (1, BreakerState::HalfOpen));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(breaker.state(), BreakerState::Closed);
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

#[tokio::test(start_paused = true)]
async fn what_comes_from_a_stream_and_finds_no_room_goes_back_whatever_the_overflow_rule() {
    on_a_lane(async {
        let set = setting(4, bounds(2, 1 << 20));
        let ledger = Ledgers::default().open("TODOS", Duration::from_secs(30));
        for sequence in 1..=5 {
            let reply = format!("$JS.ACK.TODOS.worker.1.{sequence}.{sequence}.1.0");
            let mut message = message(sequence);
            message.ack =
                ledger.arrived(&Origin::parse(&reply).unwrap(), &reply, set.began).map(|(ack, _)| ack);
            set.pipeline.offer(message);
        }
        let mut said = Vec::new();
        ledger.say(1, 10, set.began, |saying| {
            said.push(saying.kind);
            true
        });
        assert_eq!(said, [AckKind::Nak(Duration::from_secs(2)); 3]);
        assert_eq!((set.count(Outcome::Returned), set.count(Outcome::Dropped)), (3, 0));
    })
    .await;
}
