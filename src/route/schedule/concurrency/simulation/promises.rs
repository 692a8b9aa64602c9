//! What is promised of an adaptive limit, at each of the receivers.

use std::time::Duration;

use super::{
    Run, Summary, Traffic, World,
    cases::{Case, Who, becomes_slower, fast, ms, refuses_more_than_50, replicas, slow, steps},
    receiver::{Receiver, Refusal, Spread},
    seconds,
    senders::Route,
};

const SEEDS: [u64; 2] = [1, 2];

fn expect(what: &str, seed: u64, summary: &Summary, holds: bool) {
    println!("{what}, seed {seed}: {summary:?}");
    assert!(holds, "{what}, seed {seed}: {summary:?}");
}

/// What came after the first third.
fn settled(run: &Run, case: &Case) -> Summary {
    let end = case.seconds as f64;
    run.summary(end / 3.0, end)
}

#[test]
fn nearly_all_of_the_capacity_is_used_and_few_stand_in_line() {
    for case in Case::all() {
        for seed in SEEDS {
            let run = case.run(Who::Adaptive, seed);
            let summary = settled(&run, &case);
            let servers = case.receiver.condition(seconds(case.seconds)).servers as f64;
            // A wait that nobody minds is none.
            let is_short = summary.in_line <= 4.0 + 0.6 * servers.max(16.0) || summary.latency < 0.004;
            let holds = summary.throughput >= 0.9 && is_short;
            expect(case.title, seed, &summary, holds && run.lost == 0 && summary.refused < 2.0);
        }
    }
}

#[test]
fn it_is_never_much_worse_than_a_fixed_number() {
    for case in [fast(), slow(), steps(), becomes_slower(), refuses_more_than_50()] {
        let [adaptive, fixed] =
            [Who::Adaptive, Who::Fixed].map(|who| case.run(who, 1).summary(0.0, case.seconds as f64));
        println!("{}: {adaptive:?} {fixed:?}", case.title);
        assert!(adaptive.throughput >= 0.93 * fixed.throughput, "{}: {adaptive:?} {fixed:?}", case.title);
    }
}

#[test]
fn a_receiver_without_bounds_gets_all_that_may_be_sent() {
    let receiver = Receiver::new(100_000, ms(20));
    let run =
        World::new(1, receiver, vec![(Box::new(Route::adaptive(Duration::ZERO)), Traffic::from(0))], 5).run();
    let limits: Vec<_> = run.measured.iter().map(|second| second.limits[0]).collect();
    assert_eq!(limits.last(), Some(&500), "{limits:?}");
}

#[test]
fn it_follows_a_capacity_that_changes() {
    let run = steps().run(Who::Adaptive, 1);
    for (from, until) in [(5.0, 20.0), (23.0, 40.0), (44.0, 60.0)] {
        let summary = run.summary(from, until);
        expect("steps", 1, &summary, summary.throughput > 0.93 && summary.in_line < 45.0);
    }
}

#[test]
fn replicas_share_a_receiver() {
    for (count, spread, least) in [
        (2, Spread::Even, 0.4),
        (3, Spread::Even, 0.4),
        (5, Spread::Even, 0.4),
        (2, Spread::HeavyTailed, 0.3),
        (5, Spread::HeavyTailed, 0.3),
    ] {
        for apart in [0, 10] {
            let receiver = Receiver::new(40, ms(100)).spread(spread);
            let run = replicas(receiver, count, apart, ms(3), 160, 1);
            let summary = run.summary(70.0, 160.0);
            let holds = summary.throughput > 0.95 && summary.fairness > least && summary.in_line < 25.0;
            expect(&format!("{count} replicas, {spread:?}, {apart} s apart"), 1, &summary, holds);
        }
    }
}

#[test]
fn replicas_share_a_receiver_that_refuses() {
    let receiver = || Receiver::new(1_000, ms(50)).refusing(Refusal::Beyond(50, 429));
    for count in [2, 3] {
        let run = replicas(receiver(), count, 5, ms(3), 120, 1);
        let summary = run.summary(40.0, 120.0);
        let holds = summary.throughput > 0.85 && summary.refused < 2.0 && run.lost == 0;
        expect(&format!("{count} replicas, 429"), 1, &summary, holds);
    }
}

/// Their clocks may be anything: then the line is longer, and the throughput the same.
#[test]
fn replicas_whose_clocks_differ_still_share() {
    for count in [2, 5] {
        let run = replicas(Receiver::new(40, ms(100)), count, 5, ms(2_900), 160, 1);
        let summary = run.summary(70.0, 160.0);
        let holds = summary.throughput > 0.95 && summary.fairness > 0.3 && summary.in_line < 160.0;
        expect(&format!("{count} replicas, clocks"), 1, &summary, holds);
    }
}

/// While there is little to send, the limit neither grows nor shrinks; what comes then at once finds what was known.
#[test]
fn a_burst_after_a_quiet_time_finds_the_limit_as_it_was() {
    let quiet: Vec<_> = (0..600).map(|tenth| (seconds(20) + ms(100) * tenth, 1)).collect();
    let traffic = Traffic {
        always: (seconds(0), seconds(20)),
        arrivals: quiet.into_iter().chain([(seconds(80), 20_000)]).collect(),
    };
    let run = World::new(
        1,
        Receiver::new(64, ms(50)),
        vec![(Box::new(Route::adaptive(Duration::ZERO)), traffic)],
        90,
    )
    .run();
    let limit = |second: usize| run.measured[second].limits[0];
    let (before, after) = (limit(19), limit(78));
    assert!((50..110).contains(&before) && (50..110).contains(&after), "{before} {after}");
    let burst = run.summary(81.0, 90.0);
    expect("burst", 1, &burst, burst.throughput > 0.93 && burst.in_line < 40.0);
}

/// A limit that nobody has come close to is not raised.
#[test]
fn an_unused_limit_stays_small() {
    let arrivals = (0..3_000).map(|number| (seconds(0) + ms(10) * number, 1)).collect();
    let traffic = Traffic { always: (seconds(0), seconds(0)), arrivals };
    let run = World::new(
        1,
        Receiver::new(64, ms(10)),
        vec![(Box::new(Route::adaptive(Duration::ZERO)), traffic)],
        30,
    )
    .run();
    let limit = run.measured.last().unwrap().limits[0];
    assert!(limit <= 16, "{limit}");
}

/// The models must be able to fail what is promised: else the promises would be worth nothing.
#[test]
fn others_do_not_do_all_of_that() {
    let fails = |who: Who| {
        let kept = |case: &Case| {
            let summary = settled(&case.run(who, 1), case);
            summary.throughput >= 0.9 && summary.in_line <= 30.0 && summary.refused < 2.0
        };
        [slow(), steps(), refuses_more_than_50()].iter().filter(|case| !kept(case)).count()
    };
    assert_eq!([Who::Fixed, Who::Vector, Who::Push].map(fails).iter().filter(|fails| **fails > 0).count(), 3);
    assert_eq!(fails(Who::Adaptive), 0);
}
