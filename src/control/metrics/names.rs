//! Which routes have series of their own, where there are too many for all: a decision, told the time.
//!
//! Half of the names are for the busiest routes, and half for those that are in trouble. A series that ends and begins
//! again is of little use, so that a name is kept: for an hour at least where it was given for being busy, and for an hour
//! after the trouble where it was given for that.

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use crate::base::clock::Time;

/// For how long a name is kept.
const KEPT: Duration = Duration::from_secs(3600);
/// In what time half of what a route has done is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// How many times as busy a route has to be as the one whose name it takes.
const BUSIER: f64 = 2.0;

/// What is seen of a route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The number of its figures.
    pub(super) number: u64,
    /// Messages that it has received so far.
    pub(super) received: u64,
    /// Messages of those that somebody may ask after: lost, dead, or not judged by the filter.
    pub(super) mourned: u64,
    /// Whether something is wrong with it now.
    pub(super) is_troubled: bool,
}

/// Who has a name.
#[derive(Debug)]
pub(super) struct Names {
    most: usize,
    routes: BTreeMap<u64, Known>,
    /// Who has a name, and since when.
    named: BTreeMap<u64, Time>,
    looked: Time,
}

/// What is known of a route.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    received: u64,
    mourned: u64,
    /// Messages lately, where those of [`HALF_LIFE`] ago count half.
    activity: f64,
    /// When it was last in trouble.
    troubled: Option<Time>,
    /// When it was last seen.
    seen: Time,
}

impl Known {
    fn is_troubled(&self, now: Time) -> bool {
        self.troubled == Some(now)
    }

    /// Whether it is in trouble, or was within the last hour.
    fn was_troubled(&self, now: Time) -> bool {
        self.troubled.is_some_and(|troubled| now.since(troubled) < KEPT)
    }
}

impl Names {
    /// For so many names at most.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, routes: BTreeMap::new(), named: BTreeMap::new(), looked: Time::START }
    }

    /// Whether the route with this number has a name.
    pub(super) fn has(&self, number: u64) -> bool {
        self.named.contains_key(&number)
    }

    /// Decides again. `seen` are all routes that there are.
    pub(super) fn look(&mut self, seen: impl IntoIterator<Item = Seen>, now: Time) {
        let halves = now.since(self.looked).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.looked = now;
        let remembered = 0.5_f64.powf(halves);
        for route in seen {
            let known = self.routes.entry(route.number).or_default();
            #[expect(clippy::cast_precision_loss, reason = "it is only compared")]
            let fresh = (route.received - known.received) as f64;
            known.activity = known.activity * remembered + fresh;
            if route.is_troubled || route.mourned > known.mourned {
                known.troubled = Some(now);
            }
            (known.received, known.mourned, known.seen) = (route.received, route.mourned, now);
        }
        self.routes.retain(|_, known| known.seen == now);
        self.named.retain(|number, _| self.routes.contains_key(number));
        self.give(now);
    }

    /// Gives names to those that have none.
    fn give(&mut self, now: Time) {
        if self.routes.len() <= self.most {
            for number in self.routes.keys() {
                self.named.entry(*number).or_insert(now);
            }
            return;
        }
        let Self { routes, named, .. } = &*self;
        let is_candidate = |(number, known): &(&u64, &Known)| {
            !named.contains_key(number) && (known.activity > 0.0 || known.is_troubled(now))
        };
        let candidates = routes.iter().filter(is_candidate);
        let mut candidates: Vec<_> = candidates.map(|(number, known)| (*number, *known)).collect();
        candidates.sort_by(|one, other| busier_first(&one.1, &other.1));
        let (troubled, well): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(_, known)| known.is_troubled(now));
        for (number, _) in troubled {
            if !self.make_room_for_trouble(now) {
                break;
            }
            self.named.insert(number, now);
        }
        for (number, known) in well {
            if !self.make_room_for(known.activity, now) {
                break;
            }
            self.named.insert(number, now);
        }
    }

    /// Whether one more route in trouble may have a name: a free one, or that of the least busy of those that are well, which
    /// have half of them for themselves.
    fn make_room_for_trouble(&mut self, now: Time) -> bool {
        if self.named.len() < self.most {
            return true;
        }
        let is_beyond_half = self.well(now).count() > self.most / 2;
        let loser = self.least_busy(now).map(|(number, _)| number).filter(|_| is_beyond_half);
        loser.is_some_and(|loser| self.named.remove(&loser).is_some())
    }

    /// Whether one more route with this `activity` may have a name: a free one of the half for those that are well, or that of
    /// one that was busier once.
    fn make_room_for(&mut self, activity: f64, now: Time) -> bool {
        if self.named.len() < self.most && self.well(now).count() < self.most - self.most / 2 {
            return true;
        }
        let is_over = |(number, known): &(u64, Known)| {
            let since = self.named.get(number).copied().unwrap_or(now);
            now.since(since) >= KEPT && activity > BUSIER * known.activity
        };
        let loser = self.least_busy(now).filter(is_over);
        loser.is_some_and(|(loser, _)| self.named.remove(&loser).is_some())
    }

    /// Those with a name that have been well for an hour.
    fn well(&self, now: Time) -> impl Iterator<Item = (u64, Known)> {
        let known = self.named.keys().filter_map(|number| Some((*number, *self.routes.get(number)?)));
        known.filter(move |(_, known)| !known.was_troubled(now))
    }

    fn least_busy(&self, now: Time) -> Option<(u64, Known)> {
        self.well(now).max_by(|one, other| busier_first(&one.1, &other.1))
    }
}

fn busier_first(one: &Known, other: &Known) -> Ordering {
    other.activity.total_cmp(&one.activity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const MOST: usize = 10;

    struct Fleet {
        names: Names,
        routes: Vec<Seen>,
        now: Time,
    }

    impl Fleet {
        fn of(routes: u64) -> Self {
            let route = |number| Seen { number, received: 0, mourned: 0, is_troubled: false };
            let routes = (0..routes).map(route).collect();
            Self { names: Names::new(MOST), routes, now: Time::START + MINUTE }
        }

        /// Each of these receives so many messages a minute for so many minutes.
        fn pass(&mut self, minutes: u64, rates: &[(usize, u64)]) {
            for _ in 0..minutes {
                self.now = self.now + MINUTE;
                rates.iter().for_each(|(route, rate)| self.routes[*route].received += rate);
                self.names.look(self.routes.iter().copied(), self.now);
            }
        }

        fn named(&self) -> Vec<u64> {
            let numbers = self.routes.iter().map(|route| route.number);
            numbers.filter(|number| self.names.has(*number)).collect()
        }
    }

    #[test]
    fn all_have_a_name_where_there_is_one_for_each() {
        let mut fleet = Fleet::of(MOST as u64);
        fleet.pass(1, &[]);
        assert_eq!(fleet.named().len(), MOST);
        fleet.routes.push(Seen { number: 100, ..fleet.routes[0] });
        fleet.pass(1, &[]);
        assert_eq!(fleet.named(), (0..MOST as u64).collect::<Vec<_>>(), "they keep theirs");
    }

    #[test]
    fn the_busiest_have_half_of_the_names_and_keep_them_for_an_hour() {
        let mut fleet = Fleet::of(30);
        fleet.pass(1, &(0..20).map(|route| (route, 100 + route as u64)).collect::<Vec<_>>());
        assert_eq!(fleet.named(), [15, 16, 17, 18, 19]);
        fleet.pass(58, &[(25, 1_000_000)]);
        assert_eq!(fleet.named(), [15, 16, 17, 18, 19], "less than an hour has passed");
        fleet.pass(2, &[(25, 1_000_000)]);
        assert_eq!(fleet.named(), [16, 17, 18, 19, 25]);
        fleet.pass(100, &(16..25).map(|route| (route, 100 + route as u64)).collect::<Vec<_>>());
        assert_eq!(fleet.named(), [16, 17, 18, 19, 25], "those that are hardly busier wait");
    }

    #[test]
    fn trouble_has_the_other_half_until_an_hour_after_its_end() {
        let mut fleet = Fleet::of(30);
        fleet.pass(1, &(0..20).map(|route| (route, 100)).collect::<Vec<_>>());
        let busy = fleet.named();
        fleet.routes[20..28].iter_mut().for_each(|route| route.is_troubled = true);
        fleet.pass(1, &[]);
        assert_eq!(fleet.named(), [&busy[..], &[20, 21, 22, 23, 24]].concat());
        fleet.routes[20].is_troubled = false;
        fleet.pass(59, &[]);
        assert!(fleet.names.has(20), "its trouble is over for less than an hour");
        fleet.pass(1, &[]);
        assert_eq!(fleet.named(), [&busy[..], &[21, 22, 23, 24, 25]].concat());
        fleet.routes[29].mourned += 1;
        fleet.routes[21].is_troubled = false;
        fleet.pass(60, &[]);
        assert!(fleet.names.has(26) && !fleet.names.has(29), "{:?}", fleet.named());
    }

    #[test]
    fn a_message_that_is_lost_is_trouble() {
        let mut fleet = Fleet::of(30);
        fleet.pass(1, &[]);
        fleet.routes[7].mourned += 1;
        fleet.pass(1, &[]);
        assert_eq!(fleet.named(), [7]);
    }

    #[test]
    fn what_is_gone_makes_room() {
        let mut fleet = Fleet::of(30);
        fleet.pass(1, &(0..5).map(|route| (route, 100)).collect::<Vec<_>>());
        fleet.routes.remove(2);
        fleet.pass(1, &[(10, 1)]);
        assert_eq!(fleet.named(), [0, 1, 3, 4, 11]);
        assert_eq!(fleet.names.routes.len(), 29);
    }

    #[test]
    fn without_names_nobody_has_one() {
        let mut fleet = Fleet { names: Names::new(0), ..Fleet::of(3) };
        fleet.routes[0].is_troubled = true;
        fleet.pass(2, &[(1, 100)]);
        assert!(fleet.named().is_empty());
    }
}
