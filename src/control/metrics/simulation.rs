//! Names and accounts of fleets that chance makes up, as a Prometheus would see them, and held against what is promised of
//! them. Each fleet has a number that makes it again.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ledger::Ledger,
    names::{Names, Seen},
};
use crate::{
    base::clock::Time,
    message::outcome::Outcome,
    stats::{Counts, RouteStats},
};

const FLEETS: u64 = 20;
const SCRAPES: usize = 100;
const HOUR: Duration = Duration::from_secs(3600);

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

struct Route {
    number: u64,
    name: u64,
    stats: RouteStats,
    is_troubled: bool,
}

/// What a Prometheus has stored of messages received, by series.
#[derive(Default)]
struct Prometheus {
    latest: BTreeMap<String, u64>,
    /// By how much all series together have grown. One that begins, or begins anew, does so at 0.
    increase: u64,
}

impl Prometheus {
    fn scrape(&mut self, samples: Vec<(String, u64)>) -> Result<(), String> {
        let mut latest = BTreeMap::new();
        for (series, value) in samples {
            let before = self.latest.get(&series).copied().unwrap_or_default();
            let grown =
                value.checked_sub(before).ok_or_else(|| format!("{series} fell: {before}, {value}"))?;
            self.increase += grown;
            if latest.insert(series.clone(), value).is_some() {
                return Err(format!("{series} is there twice"));
            }
        }
        self.latest = latest;
        Ok(())
    }
}

struct Fleet {
    chance: Chance,
    routes: Vec<Route>,
    gone: Counts,
    numbers: u64,
    truth: u64,
    now: Time,
}

impl Fleet {
    fn of(chance: Chance) -> Self {
        Self {
            chance,
            routes: Vec::new(),
            gone: Counts::default(),
            numbers: 0,
            truth: 0,
            now: Time::START + Duration::from_secs(1),
        }
    }

    fn happen(&mut self) {
        self.now = self.now + Duration::from_secs(1 + self.chance.below(600));
        for _ in 0..self.chance.below(20) {
            let chosen = usize::try_from(self.chance.below(1 + self.routes.len() as u64)).unwrap();
            let what = self.chance.below(40);
            let Some(route) = self.routes.get_mut(chosen) else {
                self.come();
                continue;
            };
            match what {
                0 => {
                    let route = self.routes.remove(chosen);
                    self.gone.add(&Counts::of([&route.stats]));
                }
                1..=3 => route.is_troubled = true,
                4..=9 => route.is_troubled = false,
                10 => {
                    route.stats.received.add(1);
                    self.truth += 1;
                    route.stats.count(Outcome::Dropped);
                }
                _ => {
                    let messages = self.chance.below(1000);
                    route.stats.received.add(messages);
                    self.truth += messages;
                }
            }
        }
    }

    /// Some of the names have been there before.
    fn come(&mut self) {
        self.numbers += 1;
        let (number, name) = (self.numbers, self.chance.below(40));
        if self.routes.iter().all(|route| route.name != name) {
            self.routes.push(Route { number, name, stats: RouteStats::default(), is_troubled: false });
        }
    }
}

/// What is known of a route from one scrape to the next.
#[derive(Clone, Copy, Default)]
struct Known {
    /// What it had counted.
    received: u64,
    dropped: u64,
    /// Messages lately, where those of ten minutes ago count half.
    activity: f64,
    /// When it was in trouble last.
    troubled: Option<Time>,
    /// Since when it has had its name, and what its series has shown.
    named: Option<(Time, u64)>,
}

/// Holds names and series against what is promised.
struct Watcher {
    most: usize,
    known: BTreeMap<u64, Known>,
    /// The latest number at the scrape before.
    newest: u64,
    looked: Time,
}

impl Watcher {
    /// Looks at a scrape in which these have series, with what they show.
    fn look(&mut self, fleet: &Fleet, series: &BTreeMap<u64, u64>) -> Result<(), String> {
        let now = fleet.now;
        let remembered = 0.5_f64.powf(now.since(self.looked).as_secs_f64() / 600.0);
        let mut known = BTreeMap::new();
        for route in &fleet.routes {
            let before = self.known.get(&route.number).copied().unwrap_or_default();
            let tally = route.stats.tally();
            let (received, dropped) = (tally.received, tally.of(Outcome::Dropped));
            #[expect(clippy::cast_precision_loss, reason = "it is only compared")]
            let fresh = (received - before.received) as f64;
            let is_troubled = route.is_troubled || dropped > before.dropped;
            let named = series.get(&route.number).map(|shown| {
                let since = before.named.map_or(now, |(since, _)| since);
                (since, *shown)
            });
            self.series_shows(route.number, received, before, named)?;
            let after = Known {
                received,
                dropped,
                activity: before.activity * remembered + fresh,
                troubled: if is_troubled { Some(now) } else { before.troubled },
                named,
            };
            known.insert(route.number, after);
        }
        self.names_are_given(&known, now)?;
        self.names_are_kept(&known, now)?;
        self.names_are_halved(&known, now)?;
        (self.known, self.newest, self.looked) = (known, fleet.numbers, now);
        Ok(())
    }

    /// A series grows by what its route counts. It begins with all of that where the route has just come, else at 0.
    fn series_shows(
        &self,
        number: u64,
        received: u64,
        before: Known,
        named: Option<(Time, u64)>,
    ) -> Result<(), String> {
        let Some((_, shown)) = named else { return Ok(()) };
        let expected = match before.named {
            Some((_, shown)) => shown + received - before.received,
            None if number > self.newest => received,
            None => 0,
        };
        let is_right = shown == expected;
        is_right.then_some(()).ok_or_else(|| format!("route {number} shows {shown} instead of {expected}"))
    }

    /// Nobody who may have a name is without one while there is one to give.
    fn names_are_given(&self, known: &BTreeMap<u64, Known>, now: Time) -> Result<(), String> {
        let named = known.values().filter(|route| route.named.is_some());
        let well = named.clone().filter(|route| !within_an_hour(route.troubled, now)).count();
        let taken = named.count();
        if taken > self.most {
            return Err(format!("{taken} of {} names are given", self.most));
        }
        for (number, route) in known.iter().filter(|(_, route)| route.named.is_none()) {
            let is_owed = if known.len() <= self.most {
                true
            } else if route.troubled == Some(now) {
                taken < self.most || well > self.most / 2
            } else {
                route.activity > 0.0 && taken < self.most && well < self.most - self.most / 2
            };
            if is_owed {
                return Err(format!("route {number} has no name, {taken} of {} are given", self.most));
            }
        }
        Ok(())
    }

    /// Who has lost a name was well for an hour, and it went to one in trouble, or after an hour to one twice as busy. Of those
    /// that might have lost it, it was the least busy.
    fn names_are_kept(&self, known: &BTreeMap<u64, Known>, now: Time) -> Result<(), String> {
        let had = |number: &u64| self.known.get(number).and_then(|before| before.named);
        let newly: Vec<_> =
            known.iter().filter(|(n, route)| route.named.is_some() && had(n).is_none()).collect();
        let is_to_trouble = newly.iter().any(|(_, route)| route.troubled == Some(now));
        let busiest = newly.iter().map(|(_, route)| route.activity).fold(0.0, f64::max);
        let is_kept = |(n, route): &(&u64, &Known)| {
            route.named.is_some() && had(n).is_some() && !within_an_hour(route.troubled, now)
        };
        let least = known.iter().filter(is_kept).map(|(_, route)| route.activity).fold(f64::MAX, f64::min);
        for (number, route) in known.iter().filter(|(_, route)| route.named.is_none()) {
            let Some((since, _)) = had(number) else { continue };
            if within_an_hour(route.troubled, now) {
                return Err(format!("route {number} has lost its name within an hour of its trouble"));
            }
            let is_over = now.since(since) >= HOUR && busiest > 2.0 * route.activity;
            if !is_to_trouble && !is_over {
                return Err(format!("route {number} has lost its name too soon"));
            }
            if route.activity > least {
                return Err(format!("route {number} has lost its name, and is not the least busy"));
            }
        }
        Ok(())
    }

    /// Half of the names are for each kind: the busy get no more than theirs, and trouble takes none of them.
    fn names_are_halved(&self, known: &BTreeMap<u64, Known>, now: Time) -> Result<(), String> {
        let had = |number: &u64| self.known.get(number).is_some_and(|before| before.named.is_some());
        let named = known.values().filter(|route| route.named.is_some());
        let well = named.filter(|route| !within_an_hour(route.troubled, now)).count();
        let has_lost = known.iter().any(|(number, route)| route.named.is_none() && had(number));
        let newly = known.iter().filter(|(number, route)| route.named.is_some() && !had(number));
        let is_troubled = |(_, route): (&u64, &Known)| route.troubled == Some(now);
        let (is_to_busy, is_to_trouble) =
            (newly.clone().any(|new| !is_troubled(new)), newly.clone().any(is_troubled));
        if known.len() > self.most && is_to_busy && !has_lost && well > self.most - self.most / 2 {
            return Err(format!("{well} of {} names are for the busy", self.most));
        }
        if has_lost && is_to_trouble && !is_to_busy && well < self.most / 2 {
            return Err(format!("{well} of {} names are left to the busy", self.most));
        }
        Ok(())
    }
}

fn within_an_hour(troubled: Option<Time>, now: Time) -> bool {
    troubled.is_some_and(|troubled| now.since(troubled) < HOUR)
}

/// Plays a fleet, scraped now and then.
fn play(seed: u64) -> Result<(), String> {
    let mut chance = Chance(seed);
    let most = usize::try_from(chance.below(16)).unwrap();
    let mut fleet = Fleet::of(chance);
    let (mut names, mut ledger) = (Names::new(most), Ledger::default());
    let mut prometheus = Prometheus::default();
    let mut watcher = Watcher { most, known: BTreeMap::new(), newest: 0, looked: Time::START };
    for _ in 0..SCRAPES {
        fleet.happen();
        let counted: Vec<_> = fleet.routes.iter().map(|route| (route, Counts::of([&route.stats]))).collect();
        let seen = counted.iter().map(|(route, counts)| Seen {
            number: route.number,
            received: counts.tally().received,
            mourned: counts.tally().of(Outcome::Dropped),
            is_troubled: route.is_troubled,
        });
        names.look(seen, fleet.now);
        let mut total = fleet.gone.clone();
        counted.iter().for_each(|(_, counts)| total.add(counts));
        let named: Vec<_> = counted.iter().filter(|(route, _)| names.has(route.number)).collect();
        let accounts = named.iter().map(|(route, counts)| (route.number, counts));
        let (shown, rest) = ledger.settle(accounts, &total, fleet.numbers);
        let shown: Vec<_> = shown.iter().map(|counts| counts.tally().received).collect();
        let numbers = named.iter().map(|(route, _)| route.number);
        watcher.look(&fleet, &numbers.zip(shown.iter().copied()).collect())?;
        let series = named.iter().zip(shown).map(|((route, _), received)| {
            // As a series that ended is another one for Prometheus, so is that of a route that came anew.
            (format!("{} ({})", route.name, route.number), received)
        });
        prometheus.scrape(series.chain([("rest".to_owned(), rest.tally().received)]).collect())?;
        if prometheus.increase != fleet.truth {
            return Err(format!("{} messages were received, {} are seen", fleet.truth, prometheus.increase));
        }
    }
    Ok(())
}

#[test]
fn nothing_is_lost_or_seen_twice_whoever_has_a_name() {
    for seed in 0..FLEETS {
        if let Err(problem) = play(seed) {
            panic!("fleet {seed}: {problem}");
        }
    }
}
