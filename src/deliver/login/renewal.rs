//! When a token is fetched: ahead of its end, again after a failure, and once where a webhook does not take it. Plain
//! decisions that are told the time.

use std::time::Duration;

use crate::base::{
    backoff::{Backoff, Jitter},
    clock::Time,
};

/// Not more often than this, however short the tokens live and whatever fails.
const SHORTEST: Duration = Duration::from_millis(250);
/// What a server in trouble is left alone for at most, beside that.
const LONGEST: Duration = Duration::from_secs(30);
/// How often an answer of 401 has a token fetched. A webhook that takes none gets no better by more of them; but what the
/// client may do can be changed meanwhile, and only a new token knows.
const EXCHANGES: Duration = Duration::from_secs(60);
/// A token without a word about its end is renewed as if it lived for so long, and used as long as the webhook takes it.
const UNSAID: Duration = Duration::from_secs(3600);
/// No token is believed to live for longer than this without a new one being fetched.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A token is not used in the last moment of its life, or the last tenth of a short one: it would end on its way, or by a
/// clock that is ahead.
const LAST_MOMENT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Renewal {
    due: Time,
    /// How many have failed since the last one that did not.
    failures: u32,
    /// When a 401 was answered by a fetch the last time.
    exchanged: Option<Time>,
    backoff: Backoff,
}

impl Renewal {
    /// The first fetch is due at once.
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(Duration::from_secs(1), LONGEST, 2.0, Jitter::Full);
        Self { due: Time::START, failures: 0, exchanged: None, backoff }
    }

    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// A token that was asked for at `asked` lives for `life`, if that was said. Until when it is used.
    pub(super) fn fetched(&mut self, asked: Time, life: Option<Duration>) -> Time {
        self.failures = 0;
        let life = life.map(whole_seconds);
        let span = life.unwrap_or(UNSAID).min(LONGEST_LIFE);
        // Between 70 and 80 % of its life: replicas that were started together don't renew together.
        let spread = Backoff::new(span / 10, span / 10, 1.0, Jitter::Full).delay(1);
        self.due = asked + (span.mul_f64(0.7) + spread).max(SHORTEST);
        let last_moment = |life: Duration| life.saturating_sub(LAST_MOMENT.min(life / 10));
        asked + life.map_or(Duration::MAX, last_moment)
    }

    pub(super) fn failed(&mut self, now: Time) {
        self.failures = self.failures.saturating_add(1);
        self.due = now + SHORTEST + self.backoff.delay(self.failures);
    }

    /// The webhook has answered 401 to the present token at `now`. Whether another one is fetched for that, at once.
    pub(super) fn exchange(&mut self, now: Time) -> bool {
        let allowed = self.exchanged.is_none_or(|before| now.since(before) >= EXCHANGES);
        if allowed {
            self.exchanged = Some(now);
            self.due = Time::START;
        }
        allowed
    }
}

/// What is certain of a life that a server counts in whole seconds of its clock: a token of the end of a second may end
/// nearly one earlier than it says.
fn whole_seconds(life: Duration) -> Duration {
    life.saturating_sub(Duration::from_secs(1)).max(life / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_is_renewed_well_ahead_of_its_end_and_not_by_all_at_once() {
        let due = |_| {
            let mut renewal = Renewal::new();
            assert_eq!(renewal.fetched(at(1000), Some(HOUR)), at(1000) + Duration::from_secs(3600 - 1 - 5));
            renewal.due().since(at(1000)).as_secs()
        };
        let all: std::collections::BTreeSet<_> = (0..100).map(due).collect();
        assert!(all.iter().all(|due| (2519..=2880).contains(due)) && all.len() > 20, "{all:?}");
    }

    #[test]
    fn a_short_life_leaves_a_second_and_a_tenth_and_a_life_without_end_is_renewed_all_the_same() {
        let mut renewal = Renewal::new();
        assert_eq!(renewal.fetched(at(0), Some(Duration::from_secs(3))), at(1800));
        assert!((at(1400)..=at(1600)).contains(&renewal.due()));
        assert_eq!(renewal.fetched(at(0), Some(Duration::from_secs(1))), at(450));
        assert!(renewal.fetched(at(0), None) > at(0) + LONGEST_LIFE * 365);
        assert!(renewal.due() <= at(0) + HOUR);
        renewal.fetched(at(0), Some(Duration::MAX));
        assert!(renewal.due() <= at(0) + LONGEST_LIFE);
    }

    #[test]
    fn failures_are_spread_and_bounded() {
        let mut renewal = Renewal::new();
        for _ in 0..100 {
            renewal.failed(at(0));
            assert!((at(250)..=at(30_250)).contains(&renewal.due()));
        }
        renewal.fetched(at(0), None);
        renewal.failed(at(0));
        assert!(renewal.due() <= at(1250), "it begins again");
    }

    #[test]
    fn a_refusal_is_answered_by_one_fetch_a_minute() {
        let mut renewal = Renewal::new();
        renewal.fetched(at(0), Some(HOUR));
        assert!(renewal.exchange(at(1000)));
        assert_eq!(renewal.due(), Time::START);
        renewal.fetched(at(1001), Some(HOUR));
        assert!(!renewal.exchange(at(1002)) && !renewal.exchange(at(60_999)));
        assert!(renewal.due() > at(60_999));
        assert!(renewal.exchange(at(61_000)));
    }
}
