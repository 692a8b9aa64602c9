//! The machine of a breaker, told literal times: when it opens, how it probes, and how it closes again.

use super::{machine::Machine, *};
use crate::route::schedule::testing::down as first;

const CONFIG: fn() -> config::Breaker = config::Breaker::default;

fn ms(ms: u64) -> Time {
    Time::from_start(Duration::from_millis(ms))
}

fn fail(machine: &mut Machine, now: Time) -> Blame {
    machine.failed(&first(now))
}

fn succeed(machine: &mut Machine, now: Time) {
    machine.succeeded(now, now, None);
}

/// A machine that was opened at the start.
fn open() -> Machine {
    let mut machine = Machine::new(CONFIG());
    for _ in 0..20 {
        assert_eq!(fail(&mut machine, ms(0)), Blame::Endpoint);
    }
    machine
}

#[test]
fn failures_in_a_row_open_it_and_fewer_do_not() {
    let mut machine = Machine::new(config::Breaker { rate: 1.0, ..CONFIG() });
    for round in 0..50 {
        for _ in 0..19 {
            fail(&mut machine, ms(round));
        }
        succeed(&mut machine, ms(round));
    }
    assert_eq!(machine.state(), BreakerState::Closed);
    assert_eq!(open().state(), BreakerState::Open);
}

#[test]
fn a_share_of_the_attempts_opens_it_within_the_window_only() {
    let alternate = |step: u64| {
        let mut machine = Machine::new(CONFIG());
        for n in 0..40 {
            succeed(&mut machine, ms(2 * n * step));
            fail(&mut machine, ms((2 * n + 1) * step));
        }
        machine.state()
    };
    assert_eq!(alternate(10), BreakerState::Open);
    assert_eq!(alternate(1_000), BreakerState::Closed, "never 20 of them in ten seconds");
}

#[test]
fn nothing_is_attempted_while_it_is_open() {
    let mut machine = open();
    for now in [0, 1, 4_999] {
        assert_eq!(machine.admit(ms(now)), Err(ms(5_000)));
        assert_eq!(machine.capacity(ms(now)), 0);
    }
    let before = Failed { began: Time::START, ..first(ms(10)) };
    assert_eq!(machine.failed(&before), Blame::Endpoint, "an attempt from before");
    assert_eq!(machine.admit(ms(5_000)), Ok(()));
}

#[test]
fn a_few_probes_at_a_time() {
    let mut machine = open();
    let admitted = (0..100).filter(|_| machine.admit(ms(5_000)).is_ok()).count();
    assert_eq!(admitted, 3);
    assert_eq!(machine.capacity(ms(9_999)), 0);
    assert!(machine.opens(ms(5_000)) > ms(5_000));
    // They were never heard of again.
    assert_eq!((machine.capacity(ms(10_000)), machine.opens(ms(10_000))), (3, Time::START));
    assert_eq!(machine.admit(ms(10_000)), Ok(()));
}

#[test]
fn a_probe_that_fails_opens_it_again_and_counts_for_nothing() {
    let mut machine = open();
    machine.admit(ms(5_000)).unwrap();
    assert_eq!(fail(&mut machine, ms(5_100)), Blame::Endpoint);
    assert_eq!(machine.state(), BreakerState::Open);
    assert_eq!(machine.opens(ms(5_100)), ms(10_100));
}

#[test]
fn one_probe_among_others_may_fail_and_the_others_tell() {
    let probing = || {
        let mut machine = open();
        assert_eq!((0..3).filter(|_| machine.admit(ms(5_000)).is_ok()).count(), 3);
        assert_eq!(fail(&mut machine, ms(5_100)), Blame::Endpoint);
        assert_eq!(fail(&mut machine, ms(5_200)), Blame::Endpoint);
        assert_eq!(machine.state(), BreakerState::HalfOpen);
        machine
    };
    let mut machine = probing();
    succeed(&mut machine, ms(5_300));
    assert!(machine.closes().is_some(), "it ramps: {machine:?}");
    let mut machine = probing();
    assert_eq!(fail(&mut machine, ms(5_300)), Blame::Endpoint);
    assert_eq!(machine.state(), BreakerState::Open);
}

#[test]
fn attempts_from_before_it_opened_say_nothing_about_the_webhook_of_today() {
    let mut machine = Machine::new(CONFIG());
    for _ in 0..20 {
        fail(&mut machine, ms(1_000));
    }
    machine.admit(ms(6_000)).unwrap();
    let stale = Failed { began: ms(999), ..first(ms(6_001)) };
    assert_eq!(machine.failed(&stale), Blame::Endpoint);
    machine.succeeded(ms(999), ms(6_002), None);
    assert_eq!(
        (machine.state(), machine.closes()),
        (BreakerState::HalfOpen, None),
        "the probe is on its way"
    );
    machine.succeeded(ms(6_000), ms(6_003), None);
    for _ in 0..100 {
        machine.failed(&stale);
    }
    assert!(machine.closes().is_some(), "it ramps: {machine:?}");
}

/// Workers are woken as `capacity` says, and the alarm is set as `opens` says: where one says that nothing can begin,
/// the other must name a time, or a message would wait for ever.
#[test]
fn there_is_room_whenever_the_next_attempt_is_due_and_only_then() {
    let mut probing = open();
    while probing.admit(ms(5_000)).is_ok() {}
    let mut ramping = open();
    ramping.admit(ms(5_000)).unwrap();
    succeed(&mut ramping, ms(5_000));
    while ramping.admit(ms(6_000)).is_ok() {}
    for machine in [Machine::new(CONFIG()), open(), probing, ramping] {
        for now in (0..30_000).step_by(10).map(ms) {
            assert_eq!(machine.opens(now) <= now, machine.capacity(now) > 0, "at {now:?}: {machine:?}");
        }
    }
}

#[test]
fn who_is_in_a_hurry_probes_at_once_and_does_not_wait_long_after_that() {
    let mut machine = open();
    machine.expedite(ms(10), Duration::from_millis(200));
    assert_eq!(machine.admit(ms(10)), Ok(()));
    fail(&mut machine, ms(11));
    assert_eq!(machine.admit(ms(12)), Err(ms(211)));
    assert_eq!(machine.admit(ms(211)), Ok(()));
}

#[test]
fn after_a_probe_the_rate_grows_and_then_it_closes() {
    let mut machine = open();
    machine.admit(ms(5_000)).unwrap();
    succeed(&mut machine, ms(5_001));
    assert_eq!(machine.state(), BreakerState::HalfOpen);
    let mut in_second = Vec::new();
    let mut now = 5_001;
    for _ in 0..4 {
        let end = now + 1_000;
        let mut count = 0;
        while now < end {
            while machine.admit(ms(now)).is_ok() {
                succeed(&mut machine, ms(now));
                count += 1;
            }
            now += 1;
        }
        in_second.push(count);
    }
    assert!((20..=60).contains(&in_second[0]), "{in_second:?}");
    for pair in in_second.windows(2) {
        assert!(
            (3 * pair[0]..=5 * pair[0]).contains(&pair[1]),
            "it grows fourfold each second: {in_second:?}"
        );
    }
    assert_eq!(machine.capacity(ms(15_001)), usize::MAX);
    assert_eq!(machine.admit(ms(15_001)), Ok(()));
    succeed(&mut machine, ms(15_001));
    assert_eq!(machine.state(), BreakerState::Closed);
}

#[test]
fn it_closes_though_nothing_is_attempted_any_more() {
    let mut machine = open();
    machine.admit(ms(5_000)).unwrap();
    succeed(&mut machine, ms(5_001));
    assert_eq!(machine.closes(), Some(ms(15_001)));
    machine.tick(ms(15_000));
    assert_eq!(machine.state(), BreakerState::HalfOpen);
    machine.tick(ms(15_001));
    assert_eq!((machine.state(), machine.closes()), (BreakerState::Closed, None));
}

#[test]
fn each_change_is_told_once() {
    let breaker = Breaker::new(Some(&CONFIG()));
    let mut changes = Vec::new();
    for _ in 0..30 {
        changes.extend(breaker.failed(&first(ms(0))).1);
    }
    for now in (5_000..20_000).step_by(10).map(ms) {
        if breaker.admit(now).is_ok() {
            changes.extend(breaker.succeeded(now, now, None));
        }
    }
    let opened = Change::Opened { why: Why::Down, wait: Duration::from_secs(5) };
    assert_eq!(changes, [opened, Change::Ramping, Change::Closed]);
}

#[test]
fn a_webhook_that_falls_over_again_in_the_ramp_is_left_alone_again() {
    let mut machine = open();
    machine.admit(ms(5_000)).unwrap();
    succeed(&mut machine, ms(5_001));
    for _ in 0..20 {
        fail(&mut machine, ms(6_000));
    }
    assert_eq!(machine.state(), BreakerState::Open);
}

/// The `nth` failure of a message that failed at `before`.
fn again(before: Time, now: Time) -> Failed {
    Failed { before: Some(before), ..first(now) }
}

#[test]
fn a_message_pays_only_where_others_were_taken_since_it_failed_last() {
    let mut machine = Machine::new(CONFIG());
    fail(&mut machine, ms(0));
    assert_eq!(machine.failed(&again(ms(0), ms(500))), Blame::Endpoint, "nothing was taken");
    succeed(&mut machine, ms(600));
    assert_eq!(machine.failed(&again(ms(500), ms(700))), Blame::Message { required: 1 });
    assert_eq!(machine.failed(&again(ms(700), ms(800))), Blame::Endpoint, "nothing more was taken");
    let known_to_the_lane = Failed { proof: ms(750), ..again(ms(700), ms(900)) };
    assert_eq!(machine.failed(&known_to_the_lane), Blame::Message { required: 1 });
}

#[test]
fn a_delivery_that_began_before_a_failure_proves_nothing_about_it() {
    let mut machine = Machine::new(CONFIG());
    fail(&mut machine, ms(100));
    machine.succeeded(ms(99), ms(300), None);
    assert_eq!(
        machine.failed(&again(ms(100), ms(400))),
        Blame::Endpoint,
        "a credential may have expired at 100"
    );
}

#[test]
fn a_message_that_always_fails_among_others_opens_nothing() {
    let mut machine = Machine::new(CONFIG());
    fail(&mut machine, ms(0));
    for round in 1..1_000 {
        succeed(&mut machine, ms(10 * round - 5));
        let blame = machine.failed(&again(ms(10 * (round - 1)), ms(10 * round)));
        assert!(matches!(blame, Blame::Message { .. }), "{blame:?}");
    }
    assert_eq!(machine.state(), BreakerState::Closed);
}

#[test]
fn one_message_alone_opens_nothing_and_a_second_one_does_after_two_seconds() {
    let mut machine = Machine::new(CONFIG());
    fail(&mut machine, ms(0));
    for now in (500..60_000).step_by(500) {
        machine.failed(&again(ms(now - 500), ms(now)));
    }
    assert_eq!(machine.state(), BreakerState::Closed, "its own waits spare the webhook");
    fail(&mut machine, ms(60_000));
    assert_eq!(machine.state(), BreakerState::Open);

    let mut machine = Machine::new(CONFIG());
    fail(&mut machine, ms(0));
    fail(&mut machine, ms(1_999));
    assert_eq!(machine.state(), BreakerState::Closed, "that may have been a moment");
}

#[test]
fn three_messages_refused_in_a_row_are_held_and_probed_ever_more_rarely() {
    let refused = |now| Failed { fault: Fault::Refused, ..first(now) };
    let mut machine = Machine::new(CONFIG());
    for now in [0, 10, 20] {
        assert_eq!(machine.failed(&refused(ms(now))), Blame::Endpoint);
    }
    assert_eq!(machine.trouble(), Some((Why::Refused, ms(5_020))));
    let mut waits = Vec::new();
    let mut now = 5_020;
    for _ in 0..6 {
        assert_eq!((machine.capacity(ms(now)), machine.admit(ms(now))), (1, Ok(())), "one probe at a time");
        assert_eq!(machine.failed(&refused(ms(now))), Blame::Endpoint);
        let until = machine.opens(ms(now));
        waits.push(until.since(ms(now)).as_secs());
        now += u64::try_from(until.since(ms(now)).as_millis()).unwrap();
    }
    assert_eq!(waits, [10, 20, 40, 60, 60, 60]);
    machine.admit(ms(now)).unwrap();
    succeed(&mut machine, ms(now));
    assert_eq!((machine.trouble(), machine.state()), (None, BreakerState::HalfOpen));
}

#[test]
fn gone_said_twice_disables_for_long_and_a_stop_changes_nothing() {
    let gone = |before, now| Failed { fault: Fault::Gone, before, ..first(now) };
    let mut machine = Machine::new(CONFIG());
    machine.failed(&gone(None, ms(0)));
    assert_eq!(machine.state(), BreakerState::Closed, "it may be about that message");
    machine.failed(&gone(Some(ms(0)), ms(500)));
    assert_eq!(machine.trouble(), Some((Why::Gone, ms(3_600_500))));
    machine.expedite(ms(600), Duration::from_secs(1));
    assert_eq!(machine.opens(ms(600)), ms(3_600_500));
}

#[test]
fn what_another_replica_has_heard_disables_until_its_hour_is_over_or_an_operator_wants_it() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut machine = Machine::new(CONFIG());
    machine.disable(ms(0), minutes(50));
    assert_eq!(machine.trouble(), Some((Why::Gone, Time::from_start(minutes(10)))));
    assert!(matches!(machine.take_change(), Some(Change::Opened { why: Why::Gone, .. })));
    machine.disable(ms(1), minutes(0));
    assert_eq!((machine.take_change(), machine.admit(ms(2))), (None, Err(Time::from_start(minutes(10)))));
    assert!(machine.revive());
    assert_eq!((machine.capacity(ms(3)), machine.admit(ms(3))), (1, Ok(())), "one probe");
    assert!(!machine.revive(), "it is being tried");
    succeed(&mut machine, ms(4));
    assert_eq!(machine.take_change(), Some(Change::Ramping));

    // One that was heard longer ago than that is tried at once, by one probe.
    let mut late = Machine::new(CONFIG());
    late.disable(ms(0), minutes(90));
    assert_eq!(late.capacity(ms(0)), 1);
    let mut down = open();
    assert!(!down.revive(), "one that is down is left alone all the same");
}

#[test]
fn a_probe_that_tells_nothing_makes_room_for_another() {
    let mut machine = open();
    while machine.admit(ms(5_000)).is_ok() {}
    machine.told_nothing(ms(5_000));
    assert_eq!(machine.capacity(ms(5_001)), 1);
}

#[test]
fn one_that_is_switched_off_never_opens() {
    let breaker = Breaker::new(None);
    for _ in 0..1_000 {
        assert_eq!(breaker.failed(&first(ms(0))), (Blame::Message { required: 1 }, None));
    }
    assert_eq!((breaker.admit(ms(0)), breaker.capacity(ms(0))), (Ok(()), usize::MAX));
}

#[test]
fn a_successor_begins_where_its_predecessor_stands_and_goes_its_own_way() {
    let breaker = Breaker::new(Some(&CONFIG()));
    for _ in 0..20 {
        breaker.failed(&first(ms(0)));
    }
    let successor = breaker.successor();
    assert_eq!((successor.state(), successor.admit(ms(1))), (BreakerState::Open, Err(ms(5_000))));
    successor.admit(ms(5_000)).unwrap();
    assert_eq!(
        successor.succeeded(ms(5_000), ms(5_001), None),
        Some(Change::Ramping),
        "nothing is told twice"
    );
    assert_eq!((successor.state(), breaker.state()), (BreakerState::HalfOpen, BreakerState::Open));
}
