//! The rules with literal times and latencies.

use super::*;

const WALL: Duration = Duration::ZERO;

fn at(ms: u64) -> Time {
    Time::from_start(Duration::from_secs(1_600) + Duration::from_millis(ms))
}

fn controller(min: usize, max: usize) -> Controller {
    Controller::new(min, max)
}

/// A round of attempts that all took so long, with the limit reached or not, that ended at `now`.
fn round(controller: &mut Controller, latency: u64, limited: bool, now: Time) {
    let mut tally = Tally::default();
    (tally.limited, tally.peak) = (limited, if limited { controller.limit() } else { 1 });
    (0..=controller.limit().max(4)).for_each(|_| tally.add(Duration::from_millis(latency)));
    controller.delivered(&tally, now, WALL);
}

/// The limit after each of so many rounds of 100 ms that began at `from`.
fn limits(controller: &mut Controller, latencies: &[u64], from: u64) -> Vec<usize> {
    let rounds = latencies.iter().zip(1..);
    let each = rounds.map(|(latency, number)| {
        round(controller, *latency, true, at(from + 100 * number));
        controller.limit()
    });
    each.collect()
}

#[test]
fn it_doubles_while_nobody_stands_in_line() {
    assert_eq!(limits(&mut controller(1, 50), &[50; 5], 0), [8, 16, 32, 50, 50]);
    assert_eq!(limits(&mut controller(10, 15), &[50; 2], 0), [15, 15]);
}

#[test]
fn a_limit_that_is_not_used_is_neither_raised_nor_lowered_much() {
    let mut controller = controller(1, 500);
    assert_eq!(limits(&mut controller, &[50; 3], 0), [8, 16, 32]);
    for number in 0..10 {
        round(&mut controller, 50, false, at(1_000 + 100 * number));
    }
    assert_eq!(controller.limit(), 32);
}

/// The first line that is seen is followed by a trial: half as many, which tell how long the webhook takes.
fn after_a_trial(base: u64) -> Controller {
    let mut controller = controller(1, 500);
    assert_eq!(limits(&mut controller, &[base, base, base, base * 2], 0), [8, 16, 32, 16]);
    round(&mut controller, base, true, at(1_000));
    assert_eq!(controller.limit(), 32, "what it was");
    controller
}

#[test]
fn a_line_lowers_it_by_as_much_as_it_is_longer() {
    let mut controller = after_a_trial(50);
    // One round alone may be a hiccup.
    assert_eq!(limits(&mut controller, &[80], 1_000), [32]);
    // 50 ms and 5 % of that and 1 ms are 53.5 ms, which are 67 % of 80 ms: 21.4, and a line of 5.7.
    assert_eq!(limits(&mut controller, &[80], 1_100), [27]);
    assert_eq!(limits(&mut controller, &[50], 1_200), [32]);
}

#[test]
fn a_hiccup_changes_nothing() {
    let mut controller = after_a_trial(50);
    let limits = limits(&mut controller, &[50, 500, 50], 1_000);
    assert_eq!(limits[1], limits[0]);
    assert!(limits[2] > limits[1], "{limits:?}");
}

#[test]
fn trials_come_at_the_same_time_for_all() {
    let mut controller = after_a_trial(50);
    // They come at multiples of 16 s by the clock on the wall, of which 1,600 s is one. None before that.
    assert!(limits(&mut controller, &[60, 60, 60], 14_000).iter().all(|limit| *limit > 20));
    assert!(limits(&mut controller, &[60], 15_950)[0] < 20, "half of what it was");
    assert_eq!(trial_after(at(1), Duration::from_secs(3), 0.05), at(13_000));
    assert_eq!(trial_after(at(1), WALL, 1.0), at(1_664_000 - 1_600_000), "a slow webhook needs longer ones");
}

#[test]
fn a_webhook_that_has_become_slower_is_seen_as_that() {
    let mut controller = after_a_trial(50);
    let during = limits(&mut controller, &[150; 10], 1_000);
    assert!(during[9] < 12, "it looks like a line: {during:?}");
    round(&mut controller, 150, true, at(16_100));
    round(&mut controller, 150, true, at(17_000));
    let after = limits(&mut controller, &[150; 12], 17_000);
    assert!(after[11] > 30, "with half as many it takes as long: {after:?}");
}

#[test]
fn what_the_webhook_refuses_is_kept_below_for_longer_each_time() {
    let mut controller = after_a_trial(50);
    assert!(controller.refused(at(1_100), at(1_101), 21));
    assert_eq!(controller.limit(), 17, "85 % of twenty");
    assert!(controller.refused(at(1_050), at(1_102), 20), "what began before that says nothing");
    let held = limits(&mut controller, &[50; 90], 1_200);
    assert_eq!(held.iter().max(), Some(&19), "95 % of twenty");
    let tried = limits(&mut controller, &[50; 3], 11_200);
    assert_eq!(tried, [20, 21, 22], "with care");
    assert!(controller.refused(at(11_600), at(11_601), 21));
    let held = limits(&mut controller, &[50; 190], 11_700);
    assert_eq!(held.iter().max(), Some(&19), "for twice as long");
}

#[test]
fn a_webhook_that_refuses_however_few_there_are_limits_the_rate() {
    let mut controller = after_a_trial(50);
    let refused = (0..5_u64).map(|number| {
        let now = 1_100 + number * 300;
        round(&mut controller, 50, true, at(now));
        controller.refused(at(now + 1), at(now + 2), controller.limit())
    });
    assert_eq!(refused.collect::<Vec<_>>(), [true, true, true, false, false]);
}

#[test]
fn a_webhook_that_takes_nothing_is_not_full() {
    let mut controller = after_a_trial(50);
    for number in 0..100 {
        controller.refused(at(1_100 + number), at(1_100 + number), 32);
    }
    assert_eq!(controller.limit(), 19, "the first three lower it");
}

#[test]
fn each_change_is_counted_by_its_reason() {
    let counts = |controller: &Controller| controller.changes().counts().collect::<Vec<_>>();
    let mut controller = after_a_trial(50);
    // From 4 to 32 in three steps, halved for a trial, and back.
    assert_eq!(counts(&controller), [3, 0, 1, 1, 0]);
    limits(&mut controller, &[80, 80], 1_000);
    assert_eq!(counts(&controller), [3, 1, 1, 1, 0]);
    controller.refused(at(1_300), at(1_301), 21);
    assert_eq!(counts(&controller), [3, 1, 1, 1, 1]);
    let mut narrow = Controller::new(10, 10);
    limits(&mut narrow, &[50; 5], 0);
    assert_eq!(counts(&narrow), [0; 5], "what stays as it is has not changed");
}
