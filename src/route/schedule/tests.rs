use std::num::NonZeroU32;

use super::{
    rate_limit::SharedLimit,
    testing::{at, bounds, message, names, retry},
    *,
};
use crate::{
    config::{Overflow, RateLimit},
    message::{acknowledgement::Receipt, outcome::Failure},
};

fn dispatch(limit: Option<u32>) -> Dispatch {
    dispatch_with(Breaker::new(None), limit)
}

fn dispatch_with(breaker: Breaker, limit: Option<u32>) -> Dispatch {
    let limiter = limit
        .and_then(NonZeroU32::new)
        .map(|per_second| Limiter::new(SharedLimit::new(RateLimit { per_second, burst: NonZeroU32::MIN })));
    Dispatch::new(
        Queue::new(bounds(100, 1 << 20), Overflow::DeadLetter),
        RetryQueue::new(bounds(2, 1 << 20)),
        limiter,
        Hold::default(),
        breaker,
        Policy::from(&retry()),
    )
}

fn offer(dispatch: &mut Dispatch, numbers: std::ops::Range<usize>) {
    for number in numbers {
        dispatch.offer(message(number), |_| panic!("the queue has room"));
    }
}

/// Picks a message and counts the attempt, as a worker does.
fn begin(dispatch: &mut Dispatch, now: Time) -> Message {
    match dispatch.pick(now) {
        Pick::Attempt(mut message) => {
            message.attempts += 1;
            message
        }
        other => panic!("expected an attempt at {now:?}, got {other:?}"),
    }
}

fn status(status: u16) -> Attempt {
    Attempt::failed(Failure::Status(status))
}

#[test]
fn idle_when_nothing_is_in_hand() {
    assert!(matches!(dispatch(None).pick(at(1)), Pick::Idle));
}

#[test]
fn a_failed_message_comes_back_when_it_is_due_and_before_newer_ones() {
    let mut dispatch = dispatch(None);
    offer(&mut dispatch, 0..1);
    let first = begin(&mut dispatch, at(10));
    let verdict = dispatch.resolve(first, &status(503), at(10));
    let due = at(10) + Duration::from_millis(500);
    assert!(matches!(verdict, Verdict::Retry(when) if when == due));
    assert!(matches!(dispatch.pick(at(10)), Pick::Wait(when) if when == due));
    offer(&mut dispatch, 1..2);
    let again = begin(&mut dispatch, at(11));
    assert_eq!((names(&[again])[0].as_str(), dispatch.queue().len()), ("0", 1));
}

#[test]
fn a_waiting_retry_does_not_hold_up_newer_messages() {
    let mut dispatch = dispatch(None);
    offer(&mut dispatch, 0..2);
    let first = begin(&mut dispatch, at(10));
    dispatch.resolve(first, &status(503), at(10));
    assert_eq!(names(&[begin(&mut dispatch, at(10))]), ["1"]);
}

#[test]
fn eight_attempts_and_no_more() {
    let mut dispatch = dispatch(None);
    offer(&mut dispatch, 0..1);
    let mut now = at(0);
    for attempt in 1..=8 {
        let message = begin(&mut dispatch, now);
        match dispatch.resolve(message, &status(500), now) {
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
    let mut dispatch = dispatch(None);
    offer(&mut dispatch, 0..2);
    let first = begin(&mut dispatch, at(10));
    let asked = Attempt::Failed {
        failure: Failure::Status(429),
        retry_after: Some(Duration::from_secs(30)),
        excerpt: None,
    };
    dispatch.resolve(first, &asked, at(10));
    assert!(matches!(dispatch.pick(at(39)), Pick::Wait(when) if when == at(40)));
    assert_eq!(names(&[begin(&mut dispatch, at(40))]), ["0"]);
    assert_eq!(names(&[begin(&mut dispatch, at(40))]), ["1"]);
}

#[test]
fn retries_pass_the_rate_limit_too() {
    let mut dispatch = dispatch(Some(1));
    offer(&mut dispatch, 0..1);
    let first = begin(&mut dispatch, at(10));
    dispatch.resolve(first, &status(503), at(10));
    let due = at(10) + Duration::from_millis(500);
    assert!(matches!(dispatch.pick(due), Pick::Wait(when) if when == at(11)));
    assert_eq!(names(&[begin(&mut dispatch, at(11))]), ["0"]);
}

#[test]
fn an_empty_route_uses_up_no_permit() {
    let mut dispatch = dispatch(Some(1));
    assert!(matches!(dispatch.pick(at(10)), Pick::Idle));
    offer(&mut dispatch, 0..1);
    begin(&mut dispatch, at(10));
}

#[test]
fn a_full_retry_queue_says_so() {
    let mut dispatch = dispatch(None);
    offer(&mut dispatch, 0..3);
    let mut dead = Vec::new();
    for _ in 0..3 {
        let message = begin(&mut dispatch, at(1));
        if let Verdict::Dead(message, reason) = dispatch.resolve(message, &status(503), at(1)) {
            dead.push((names(&[message]).remove(0), reason));
        }
    }
    assert_eq!(dead, [("2".to_owned(), Reason::RetryQueueFull)]);
}

#[test]
fn giving_up_takes_everything_out() {
    let mut dispatch = dispatch(None);
    offer(&mut dispatch, 0..3);
    let first = begin(&mut dispatch, at(1));
    dispatch.resolve(first, &status(503), at(1));
    let left: Vec<_> = std::iter::from_fn(|| dispatch.give_up()).collect();
    assert_eq!(names(&left), ["0", "1", "2"]);
    assert_eq!((dispatch.queue().bytes(), dispatch.retries().bytes()), (0, 0));
}

#[test]
fn hurrying_gives_a_far_retry_one_more_chance() {
    let mut dispatch = dispatch(None);
    offer(&mut dispatch, 0..1);
    let mut first = begin(&mut dispatch, at(1));
    first.attempts = 7;
    dispatch.resolve(first, &status(503), at(1));
    dispatch.hurry(at(1), Duration::from_secs(4));
    assert_eq!(dispatch.next_due(at(1)), Some(at(1)));
}

#[test]
fn the_webhook_is_left_alone_until_the_first_probe_is_due() {
    let breaker = Breaker::new(Some(&crate::config::Breaker::default()));
    let mut dispatch = dispatch_with(breaker.clone(), None);
    assert!(!dispatch.is_paused(at(10)));
    for _ in 0..20 {
        breaker.failed(Failure::Connect, at(10), at(10));
    }
    assert!(dispatch.is_paused(at(14)));
    assert!(!dispatch.is_paused(at(15)), "nothing would be there to probe with");
    offer(&mut dispatch, 0..5);
    assert!(matches!(dispatch.pick(at(14)), Pick::Wait(when) if when == at(15)));
    assert_eq!(dispatch.wanted(at(15)), 3);
    for _ in 0..3 {
        begin(&mut dispatch, at(15));
    }
    assert!(matches!(dispatch.pick(at(15)), Pick::Wait(when) if when > at(15)));
}

#[test]
fn a_webhook_is_tried_with_messages_that_have_not_failed_before_most_of_all() {
    let config =
        crate::config::Breaker { half_open_probes: NonZeroU32::new(100).unwrap(), ..Default::default() };
    let breaker = Breaker::new(Some(&config));
    let mut dispatch = dispatch_with(breaker.clone(), None);
    offer(&mut dispatch, 0..10);
    for _ in 0..2 {
        let message = begin(&mut dispatch, at(0));
        dispatch.resolve(message, &status(500), at(0));
    }
    for _ in 0..20 {
        breaker.failed(Failure::Connect, at(0), at(0));
    }
    let tried: Vec<_> = (0..10).map(|_| begin(&mut dispatch, at(9))).collect();
    assert_eq!(names(&tried), ["2", "3", "4", "0", "5", "6", "7", "1", "8", "9"]);
}

#[test]
fn a_long_wait_is_left_to_the_stream_that_a_message_came_from() {
    let resolve = |attempts, receipt: Option<Receipt>| {
        let mut dispatch = dispatch(None);
        let mut message = message(0);
        (message.attempts, message.receipt) = (attempts, receipt);
        dispatch.resolve(message, &Attempt::failed(Failure::Timeout), at(100))
    };
    let receipt = || Some(Receipt::new("$JS.ACK.x"));
    // 0.5 s · 2^5 and 2^6.
    assert!(matches!(resolve(6, receipt()), Verdict::Retry(due) if due == at(116)));
    assert!(matches!(resolve(7, receipt()), Verdict::Return(_, delay) if delay == Duration::from_secs(32)));
    assert!(matches!(resolve(7, None), Verdict::Retry(due) if due == at(132)));
}
