//! What a schedule decides, told literal times: which message is next, and what follows an attempt.

mod batches;

use std::num::{NonZeroU32, NonZeroUsize};

use super::{
    breaker::{Breaker, BreakerState},
    login::LoginGate,
    pace::Pace,
    pause::Pause,
    rate_limit::{Limiter, SharedLimit},
    slow_start::SlowStart,
    testing::{at, bounds, down, message, names, retry},
    *,
};
use crate::{
    config::{Overflow, RateLimit},
    deliver::login::readiness::Readiness,
    message::{acknowledgement::AckHandle, outcome::Failure},
};

fn schedule(limit: Option<u32>) -> Schedule {
    schedule_with(Breaker::new(None), limit)
}

fn schedule_with(breaker: Breaker, limit: Option<u32>) -> Schedule {
    let limit = limit
        .and_then(NonZeroU32::new)
        .map(|per_second| Limiter::new(SharedLimit::new(RateLimit { per_second, burst: NonZeroU32::MIN })));
    Schedule::new(
        Queue::new(bounds(100, 1 << 20), Overflow::DeadLetter),
        RetryQueue::new(bounds(2, 1 << 20)),
        Gates::new(None, Pause::default(), limit, Pace::default(), breaker),
        Policy::from(&retry()),
        SlowStart::new(NonZeroUsize::MAX, 64).into(),
    )
}

fn offer(schedule: &mut Schedule, numbers: std::ops::Range<usize>) {
    for number in numbers {
        schedule.offer(message(number), |_| panic!("the queue has room"));
    }
}

/// Picks the one message that is to be attempted now.
fn begin(schedule: &mut Schedule, now: Time) -> Message {
    match schedule.pick(now) {
        Pick::Attempt(batch) => {
            assert_eq!(batch.count(), 1);
            let mut messages = Vec::new();
            batch.for_each(|message| messages.push(message));
            only(messages)
        }
        other => panic!("expected an attempt at {now:?}, got {other:?}"),
    }
}

fn only<T>(items: impl IntoIterator<Item = T>) -> T {
    let mut items = items.into_iter();
    let first = items.next().expect("there is one");
    assert!(items.next().is_none(), "there is only one");
    first
}

/// What becomes of `message` after an attempt that took no time.
fn resolve(schedule: &mut Schedule, message: Message, attempt: &Attempt, now: Time) -> Verdict {
    let mut verdicts = Vec::new();
    schedule.resolve(message.into(), attempt, now, now, |verdict| verdicts.push(verdict));
    only(verdicts)
}

fn status(status: u16) -> Attempt {
    Attempt::failed(Failure::Status(status))
}

#[test]
fn nothing_is_attempted_while_there_is_nothing_to_log_in_with() {
    let readiness = Readiness::default();
    let mut schedule = schedule(None);
    schedule.gates.login = Some(LoginGate::new(readiness.clone()));
    assert!(matches!(schedule.pick(at(1)), Pick::Idle));
    offer(&mut schedule, 0..1);
    let soon = at(1) + Duration::from_millis(50);
    assert!(matches!(schedule.pick(at(1)), Pick::Wait(until) if until == soon));
    assert_eq!(schedule.outlook(at(1)), Outlook::Look(Some(soon)));
    assert_eq!(schedule.paused_until(at(1)), Some(soon), "a stream is not asked for more");
    readiness.set(at(10));
    assert_eq!(schedule.outlook(at(2)), Outlook::Work(1));
    let message = begin(&mut schedule, at(2));
    readiness.take_away();
    // What was refused for its token pays nothing.
    let verdict = resolve(&mut schedule, message, &Attempt::failed(Failure::Login), at(3));
    let Verdict::Retry(due) = verdict else { panic!("{verdict:?}") };
    assert!(matches!(schedule.pick(due), Pick::Wait(_)));
    readiness.set(at(10));
    assert_eq!(begin(&mut schedule, due).attempts, 1);
    assert_eq!(schedule.outlook(at(10)), Outlook::Look(None));
}

#[test]
fn nothing_is_attempted_while_an_operator_holds_the_route() {
    let mut schedule = schedule(Some(1));
    assert!(schedule.hold(true) && !schedule.hold(true));
    assert!(matches!(schedule.pick(at(1)), Pick::Idle));
    offer(&mut schedule, 0..1);
    let day = at(24 * 60 * 60 + 1);
    assert!(matches!(schedule.pick(at(1)), Pick::Wait(until) if until == day), "nobody knows when it ends");
    assert_eq!(schedule.outlook(at(1)), Outlook::Look(Some(day)));
    assert_eq!(schedule.paused_until(at(1)), Some(day), "a stream is not asked for more");
    assert!(schedule.hold(false));
    assert_eq!((schedule.outlook(at(2)), schedule.paused_until(at(2))), (Outlook::Work(1), None));
    assert_eq!(begin(&mut schedule, at(2)).attempts, 1, "the hold has cost it nothing");
}

#[test]
fn a_webhook_that_is_left_alone_is_not_probed_while_its_route_is_held() {
    let breaker = Breaker::new(Some(&crate::config::Breaker::default()));
    let mut schedule = schedule_with(breaker.clone(), None);
    offer(&mut schedule, 0..60);
    let mut now = at(1);
    while breaker.state() != BreakerState::Open {
        match schedule.pick(now) {
            Pick::Attempt(batch) => {
                let attempt = Attempt::failed(Failure::Connect);
                schedule.resolve(batch, &attempt, now, now + Duration::from_millis(1), |_| {});
            }
            other => panic!("{other:?}"),
        }
        now = now + Duration::from_millis(200);
    }
    schedule.hold(true);
    for second in 0..600 {
        let now = now + Duration::from_secs(second);
        schedule.tick(now);
        assert!(matches!(schedule.pick(now), Pick::Wait(_)), "{second}");
    }
    schedule.hold(false);
    assert!(matches!(schedule.pick(now + Duration::from_secs(600)), Pick::Attempt(_)));
}

#[test]
fn idle_when_nothing_is_in_hand() {
    assert!(matches!(schedule(None).pick(at(1)), Pick::Idle));
}

#[test]
fn a_failed_message_comes_back_when_it_is_due_and_before_newer_ones() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..1);
    let first = begin(&mut schedule, at(10));
    let verdict = resolve(&mut schedule, first, &status(503), at(10));
    let due = at(10) + Duration::from_millis(500);
    assert!(matches!(verdict, Verdict::Retry(when) if when == due));
    assert!(matches!(schedule.pick(at(10)), Pick::Wait(when) if when == due));
    offer(&mut schedule, 1..2);
    let again = begin(&mut schedule, at(11));
    assert_eq!((names(&[again])[0].as_str(), schedule.queue().len()), ("0", 1));
}

#[test]
fn a_waiting_retry_does_not_hold_up_newer_messages() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..2);
    let first = begin(&mut schedule, at(10));
    resolve(&mut schedule, first, &status(503), at(10));
    assert_eq!(names(&[begin(&mut schedule, at(10))]), ["1"]);
}

#[test]
fn eight_attempts_and_no_more() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..1);
    let mut now = at(0);
    for attempt in 1..=8 {
        let message = begin(&mut schedule, now);
        match resolve(&mut schedule, message, &status(500), now) {
            Verdict::Retry(due) => now = due,
            Verdict::Dead(message, Reason::AttemptsExhausted) => {
                assert_eq!((attempt, message.attempts), (8, 8));
                assert_eq!(message.last_failure, Some(Failure::Status(500)));
                return;
            }
            other => panic!("attempt {attempt}: {other:?}"),
        }
    }
    panic!("still retried after eight attempts");
}

#[test]
fn retry_after_pauses_the_whole_route() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..2);
    let first = begin(&mut schedule, at(10));
    let asked = Attempt::Failed {
        failure: Failure::Status(429),
        retry_after: Some(Duration::from_secs(30)),
        excerpt: None,
        content: None,
        cause: None,
    };
    resolve(&mut schedule, first, &asked, at(10));
    assert!(matches!(schedule.pick(at(39)), Pick::Wait(when) if when == at(40)));
    let probe = begin(&mut schedule, at(40));
    assert!(matches!(schedule.pick(at(40)), Pick::Wait(when) if when > at(40)), "one finds out");
    assert!(matches!(resolve(&mut schedule, probe, &Attempt::delivered(200), at(40)), Verdict::Delivered(_)));
    begin(&mut schedule, at(41));
}

#[test]
fn retries_pass_the_rate_limit_too() {
    let mut schedule = schedule(Some(1));
    offer(&mut schedule, 0..1);
    let first = begin(&mut schedule, at(10));
    resolve(&mut schedule, first, &status(503), at(10));
    let due = at(10) + Duration::from_millis(500);
    assert!(matches!(schedule.pick(due), Pick::Wait(when) if when == at(11)));
    assert_eq!(names(&[begin(&mut schedule, at(11))]), ["0"]);
}

#[test]
fn an_empty_route_uses_up_no_permit() {
    let mut schedule = schedule(Some(1));
    assert!(matches!(schedule.pick(at(10)), Pick::Idle));
    offer(&mut schedule, 0..1);
    begin(&mut schedule, at(10));
}

#[test]
fn a_full_retry_queue_says_so() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..3);
    let mut dead = Vec::new();
    for _ in 0..3 {
        let message = begin(&mut schedule, at(1));
        if let Verdict::Dead(message, reason) = resolve(&mut schedule, message, &status(503), at(1)) {
            dead.push((names(&[message]).remove(0), reason));
        }
    }
    assert_eq!(dead, [("2".to_owned(), Reason::RetryQueueFull)]);
}

#[test]
fn giving_up_takes_everything_out() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..3);
    let first = begin(&mut schedule, at(1));
    resolve(&mut schedule, first, &status(503), at(1));
    let left: Vec<_> = std::iter::from_fn(|| schedule.pop_any()).map(|waiting| waiting.message).collect();
    assert_eq!(names(&left), ["0", "1", "2"]);
    assert_eq!((schedule.queue().bytes(), schedule.retries().bytes()), (0, 0));
}

#[test]
fn expediting_gives_a_far_retry_one_more_chance() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..1);
    let mut first = begin(&mut schedule, at(1));
    first.attempts = 7;
    resolve(&mut schedule, first, &status(503), at(1));
    schedule.expedite(at(1), Duration::from_secs(4));
    assert_eq!(schedule.next_due(at(1)), Some(at(1)));
}

#[test]
fn the_webhook_is_left_alone_until_the_first_probe_is_due() {
    let breaker = Breaker::new(Some(&crate::config::Breaker::default()));
    let mut schedule = schedule_with(breaker.clone(), None);
    assert_eq!(schedule.paused_until(at(10)), None);
    for _ in 0..20 {
        breaker.failed(&down(at(10)));
    }
    assert_eq!(schedule.paused_until(at(14)), Some(at(15)));
    assert_eq!(schedule.paused_until(at(15)), None, "nothing would be there to probe with");
    offer(&mut schedule, 0..5);
    assert!(matches!(schedule.pick(at(14)), Pick::Wait(when) if when == at(15)));
    assert_eq!(schedule.outlook(at(15)), Outlook::Work(3));
    for _ in 0..3 {
        begin(&mut schedule, at(15));
    }
    assert!(matches!(schedule.pick(at(15)), Pick::Wait(when) if when > at(15)));
}

#[test]
fn a_webhook_is_tried_with_messages_that_have_not_failed_before_most_of_all() {
    let config =
        crate::config::Breaker { half_open_probes: NonZeroU32::new(100).unwrap(), ..Default::default() };
    let breaker = Breaker::new(Some(&config));
    let mut schedule = schedule_with(breaker.clone(), None);
    offer(&mut schedule, 0..10);
    for _ in 0..2 {
        let message = begin(&mut schedule, at(0));
        resolve(&mut schedule, message, &status(500), at(0));
    }
    for _ in 0..20 {
        breaker.failed(&down(at(0)));
    }
    schedule.turns = 0;
    let tried: Vec<_> = (0..10).map(|_| begin(&mut schedule, at(9))).collect();
    assert_eq!(names(&tried), ["2", "3", "4", "0", "5", "6", "7", "1", "8", "9"]);
}

#[test]
fn the_end_of_a_ramp_is_told_though_a_retry_waits() {
    let breaker = Breaker::new(Some(&crate::config::Breaker::default()));
    let mut schedule = schedule_with(breaker.clone(), None);
    for _ in 0..20 {
        breaker.failed(&down(at(0)));
    }
    offer(&mut schedule, 0..1);
    let probe = begin(&mut schedule, at(5));
    resolve(&mut schedule, probe, &Attempt::delivered(200), at(5));
    schedule.retries.push(message(1), at(500)).unwrap();
    assert_eq!(schedule.outlook(at(6)), Outlook::Look(Some(at(15))));
    schedule.tick(at(15));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn what_fails_while_a_route_ends_pays_nothing() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..1);
    schedule.expedite(at(1), Duration::from_secs(4));
    let mut message = begin(&mut schedule, at(1));
    message.attempts = 8;
    let verdict = resolve(&mut schedule, message, &status(503), at(1));
    assert!(matches!(verdict, Verdict::Retry(_)), "{verdict:?}");
    assert_eq!(schedule.pop_any().unwrap().message.attempts, 7);
}

#[test]
fn a_long_wait_is_left_to_the_stream_that_a_message_came_from() {
    let after = |attempts, ack: Option<AckHandle>| {
        let mut schedule = schedule(None);
        let mut message = message(0);
        (message.attempts, message.ack) = (attempts, ack);
        resolve(&mut schedule, message, &Attempt::failed(Failure::Timeout), at(100))
    };
    let ack = || Some(AckHandle::of("$JS.ACK.TODOS.worker.1.17.18.1700000000000000000.5"));
    // 0.5 s · 2^5 and 2^6.
    assert!(matches!(after(6, ack()), Verdict::Retry(due) if due == at(116)));
    assert!(matches!(after(7, ack()), Verdict::Return(_, delay) if delay == Duration::from_secs(32)));
    assert!(matches!(after(7, None), Verdict::Retry(due) if due == at(132)));
}

#[test]
fn what_waits_in_one_schedule_waits_in_another_as_it_did() {
    let (mut former, mut successor) = (schedule(None), schedule(None));
    offer(&mut former, 0..3);
    let first = begin(&mut former, at(10));
    resolve(&mut former, first, &status(503), at(10));
    while let Some(waiting) = former.pop_any() {
        successor.take_over(waiting).expect("there is room");
    }
    assert_eq!((former.queue().len(), former.retries().len()), (0, 0));
    assert_eq!((successor.queue().len(), successor.retries().len()), (2, 1));
    assert_eq!(successor.retries().next_due(), Some(at(10) + Duration::from_millis(500)));
}

#[test]
fn no_message_pays_for_a_proxy_even_where_messages_pay_for_everything() {
    let mut schedule = schedule(None);
    offer(&mut schedule, 0..1);
    for attempt in 0..50 {
        let now = at(attempt * 400);
        let message = begin(&mut schedule, now);
        assert_eq!(message.attempts, 1);
        let verdict = resolve(&mut schedule, message, &Attempt::failed(Failure::Proxy), now);
        assert!(matches!(verdict, Verdict::Retry(_)), "{verdict:?}");
    }
}
