//! Webhooks that chance makes up: when they are well, what is wrong with them else, and what they have against some
//! messages.

use std::time::Duration;

use crate::{
    base::clock::Time,
    message::outcome::{Attempt, Failure},
};

/// A sequence of numbers that looks like chance, and is the same for the same seed
/// (splitmix64, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Clone, Debug)]
pub(in crate::route::schedule) struct Chance(u64);

impl Chance {
    pub(in crate::route::schedule) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::route::schedule) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }

    fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }
}

/// How a webhook is for a while.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    Up,
    /// Every answer is this server error; none for connections that are refused.
    Down(Option<u16>),
    /// No answer comes before the timeout.
    Hangs,
    /// Every answer is this refusal.
    Refuses(u16),
    /// So many requests of a hundred fail.
    Flaky(u64),
    /// One request each `interval` is taken, others are answered 429. `says` when to come back, or not.
    Limited {
        interval: Duration,
        says: bool,
    },
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Poison {
    /// It is answered 422.
    Rejected,
    /// It is answered 500.
    Fails,
    /// It is answered 403.
    Refused,
    /// It is answered 429.
    PutOff,
}

/// A webhook and its messages.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) arrivals: Vec<Time>,
    pub(super) end: Time,
    /// Whether so many messages come when it is well that whoever fails among them has to die.
    pub(super) has_many: bool,
    conditions: Vec<(Time, Condition)>,
    poison: Vec<(usize, Poison)>,
    latency: Duration,
    taken: Option<Time>,
    /// From when until when there is nothing to log in with.
    lacks: Vec<(Time, Time)>,
    chance: Chance,
}

/// What comes of a request, and after what time.
pub(super) struct Answer {
    pub(super) attempt: Attempt,
    pub(super) after: Duration,
}

impl Webhook {
    pub(super) fn made_by(mut chance: Chance) -> Self {
        let mut now = Time::from_start(Duration::from_secs(1));
        let mut conditions =
            vec![(now, chance.one_of(&[Condition::Up, Condition::Up, Condition::Down(Some(503))]))];
        for _ in 0..chance.below(4) {
            now = now + chance.ms(100, 120_000);
            let interval = chance.ms(50, 3_000);
            let condition = chance.one_of(&[
                Condition::Up,
                Condition::Down(None),
                Condition::Down(Some(500)),
                Condition::Down(Some(502)),
                Condition::Hangs,
                Condition::Refuses(401),
                Condition::Refuses(403),
                Condition::Refuses(404),
                Condition::Refuses(302),
                Condition::Flaky(30),
                Condition::Flaky(50),
                Condition::Flaky(70),
                Condition::Limited { interval, says: true },
                Condition::Limited { interval, says: false },
            ]);
            conditions.push((now, condition));
        }
        now = now + chance.ms(100, 300_000);
        conditions.push((now, Condition::Up));
        let recovered = now;
        let mut arrivals = Vec::new();
        let mut at = Time::from_start(Duration::from_secs(2));
        // Some routes are quiet, some are not.
        let pause = chance.one_of(&[20, 300, 5_000, 60_000]);
        while at < recovered && arrivals.len() < 60 {
            arrivals.push(at);
            at = at + chance.ms(0, 2 * pause);
        }
        let has_many = chance.below(2) == 0;
        let early = arrivals.len();
        if has_many {
            // After the longest pause between probes, so that enough is taken while the last poison comes again.
            let mut at = recovered + Duration::from_secs(80);
            for _ in 0..150 {
                arrivals.push(at);
                at = at + chance.ms(200, 2_000);
            }
        }
        let kinds = [Poison::Rejected, Poison::Fails, Poison::Refused, Poison::PutOff];
        let mut poison = Vec::new();
        for number in 0..early {
            if chance.below(20) == 0 {
                poison.push((number, chance.one_of(&kinds)));
            }
        }
        let end = arrivals.last().copied().unwrap_or(recovered).max(recovered) + Duration::from_secs(900);
        let latency = chance.ms(1, 300);
        Self { arrivals, end, has_many, conditions, poison, latency, taken: None, lacks: Vec::new(), chance }
    }

    /// The same webhook, which there is nothing to log in to with for some of the time until it is well for good.
    pub(super) fn with_lacks_made_by(mut self, mut chance: Chance) -> Self {
        let well = self.conditions.last().map_or(Time::START, |(at, _)| *at);
        let mut at = Time::from_start(Duration::from_secs(1));
        while at < well {
            let from = at + chance.ms(0, 60_000);
            at = from + chance.ms(10, 90_000);
            self.lacks.push((from, at));
        }
        self
    }

    pub(super) fn poison(&self, number: usize) -> Option<Poison> {
        self.poison.iter().find(|(poison, _)| *poison == number).map(|(_, kind)| *kind)
    }

    /// How it is, from when until when.
    pub(super) fn conditions(&self) -> impl Iterator<Item = (Time, Time, Condition)> {
        let ends = self.conditions.iter().skip(1).map(|(at, _)| *at).chain([self.end]);
        self.conditions.iter().zip(ends).map(|((from, condition), until)| (*from, until, *condition))
    }

    /// Whether it fails by chance for a while, so that by chance a message may die.
    pub(super) fn is_flaky(&self) -> bool {
        self.conditions.iter().any(|(_, condition)| matches!(condition, Condition::Flaky(_)))
    }

    /// Whether there is something to log in with.
    pub(super) fn has_login(&self, now: Time) -> bool {
        !self.lacks.iter().any(|(from, until)| (*from..*until).contains(&now))
    }

    fn condition(&self, now: Time) -> Condition {
        let begun = self.conditions.iter().take_while(|(from, _)| *from <= now);
        begun.last().map_or(Condition::Up, |(_, condition)| *condition)
    }

    /// Since when it has been well, where it is at `now` and has nothing against any message.
    pub(super) fn well_since(&self, now: Time) -> Option<Time> {
        let (from, _, condition) =
            self.conditions().find(|(from, until, _)| (*from..*until).contains(&now))?;
        // Nobody is held up by what comes soon after.
        let soon = now + Duration::from_secs(30);
        let lacks = self.lacks.iter().any(|(lack, until)| *lack < soon && *until > from);
        (matches!(condition, Condition::Up) && self.poison.is_empty() && !lacks).then_some(from)
    }

    /// What it answers to a request with these messages. One that it has something against decides for all of them.
    pub(super) fn answer(&mut self, numbers: &[usize], now: Time) -> Answer {
        let status = |status| Attempt::failed(Failure::Status(status));
        let mut after = self.latency;
        let attempt = match self.condition(now) {
            Condition::Down(None) => Attempt::failed(Failure::Connect),
            Condition::Down(Some(error)) => status(error),
            Condition::Refuses(refusal) => status(refusal),
            Condition::Hangs => {
                after = Duration::from_secs(10);
                Attempt::failed(Failure::Timeout)
            }
            Condition::Flaky(share) if self.chance.below(100) < share => status(502),
            Condition::Limited { interval, says }
                if self.taken.is_some_and(|taken| now.since(taken) < interval) =>
            {
                let whole = Duration::from_secs(interval.as_secs() + 1);
                Attempt::Failed {
                    failure: Failure::Status(429),
                    retry_after: says.then_some(whole),
                    excerpt: None,
                    content: None,
                    cause: None,
                }
            }
            _ => match numbers.iter().find_map(|number| self.poison(*number)) {
                None => {
                    self.taken = Some(now);
                    Attempt::delivered(200)
                }
                Some(Poison::Rejected) => status(422),
                Some(Poison::Fails) => status(500),
                Some(Poison::Refused) => status(403),
                Some(Poison::PutOff) => status(429),
            },
        };
        Answer { attempt, after }
    }
}
