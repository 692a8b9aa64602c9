//! Names and accounts of fleets that chance makes up, as a Prometheus would see them. Each fleet has a number that makes it
//! again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    ledger::Ledger,
    names::{Names, Seen},
};
use crate::{
    base::clock::Time,
    message::outcome::Outcome,
    stats::{Counts, RouteStats},
};

const FLEETS: u64 = 50;
const SCRAPES: usize = 100;

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
    fn happen(&mut self) {
        self.now = self.now + Duration::from_secs(1 + self.chance.below(600));
        for _ in 0..self.chance.below(12) {
            let chosen = usize::try_from(self.chance.below(1 + self.routes.len() as u64)).unwrap();
            let what = self.chance.below(10);
            let Some(route) = self.routes.get_mut(chosen) else {
                self.numbers += 1;
                // Some of the names have been there before.
                let (number, name) = (self.numbers, self.chance.below(40));
                if self.routes.iter().all(|route| route.name != name) {
                    self.routes.push(Route {
                        number,
                        name,
                        stats: RouteStats::default(),
                        is_troubled: false,
                    });
                }
                continue;
            };
            match what {
                0 => {
                    let route = self.routes.remove(chosen);
                    self.gone.add(&Counts::of([&route.stats]));
                }
                1 => route.is_troubled = !route.is_troubled,
                2 => {
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
}

/// Plays a fleet, scraped now and then.
fn play(seed: u64) -> Result<(), String> {
    let mut chance = Chance(seed);
    let most = usize::try_from(chance.below(12)).unwrap();
    let mut fleet = Fleet {
        chance,
        routes: Vec::new(),
        gone: Counts::default(),
        numbers: 0,
        truth: 0,
        now: Time::START + Duration::from_secs(1),
    };
    let (mut names, mut ledger, mut prometheus) =
        (Names::new(most), Ledger::default(), Prometheus::default());
    let mut troubled_before = BTreeSet::new();
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
        if named.len() > most {
            return Err(format!("{} of {most} names are given", named.len()));
        }
        let accounts = named.iter().map(|(route, counts)| (route.number, counts));
        let (shown, rest) = ledger.settle(accounts, &total, fleet.numbers);
        let series = named.iter().zip(&shown).map(|((route, _), counts)| {
            // As a series that ended is another one for Prometheus, so is that of a route that came anew.
            (format!("{} ({})", route.name, route.number), counts.tally().received)
        });
        prometheus.scrape(series.chain([("rest".to_owned(), rest.tally().received)]).collect())?;
        if prometheus.increase != fleet.truth {
            return Err(format!("{} messages were received, {} are seen", fleet.truth, prometheus.increase));
        }
        let troubled: BTreeSet<_> =
            fleet.routes.iter().filter(|route| route.is_troubled).map(|route| route.number).collect();
        let without = troubled.iter().find(|number| !names.has(**number));
        if let Some(number) = without.filter(|_| troubled.len() <= most / 2 && named.len() < most) {
            return Err(format!("route {number} is in trouble, and has none of the free names"));
        }
        let lost = troubled.intersection(&troubled_before).find(|number| !names.has(**number));
        if let Some(number) = lost {
            return Err(format!("route {number} has lost its name in the middle of its trouble"));
        }
        troubled_before = troubled.into_iter().filter(|number| names.has(*number)).collect();
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
