//! Whatever chance does with a connection.

use crate::multiplexing::{Ended, check};

/// How many plays there are.
const PLAYS: u64 = 3_000;

#[test]
fn whatever_is_done_and_comes_each_request_has_one_end() {
    let seed = std::env::var("H2_SEED").map_or(7, |seed| seed.parse().expect("H2_SEED is a number"));
    let mut all = Vec::new();
    for play in 0..PLAYS {
        // A generator of Marsaglia's (xorshift): whatever fails is found again by its number.
        let mut state = (seed + play).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        };
        let length = 20 + usize::from(next()) * 2;
        let script: Vec<_> = (0..length).map(|_| next()).collect();
        let played = std::panic::catch_unwind(|| check(&script));
        all.extend(played.unwrap_or_else(|_| panic!("H2_SEED={}: {script:?}", seed + play)));
    }
    // A play that never gets anywhere shows nothing.
    let count = |is_it: fn(&Ended) -> bool| all.iter().filter(|ended| is_it(ended)).count();
    let counts = [
        count(|ended| matches!(ended, Ended::Answered(200..=299))),
        count(|ended| matches!(ended, Ended::Answered(300..))),
        count(|ended| *ended == Ended::NotSent),
        count(|ended| *ended == Ended::Failed),
        count(|ended| *ended == Ended::Cancelled),
    ];
    assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
}

#[test]
fn the_seeds_of_the_fuzzer_hold() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/h2");
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus is checked in") {
        check(&std::fs::read(entry.expect("a file").path()).expect("a file"));
        seeds += 1;
    }
    assert!(seeds >= 5, "{seeds} seeds: this looks at the wrong folder");
}
