//! What goes through each route, sampled: rates of now, and the last ten minutes of those that have something to show.
//!
//! Nothing is done for this where messages pass: one task reads the counters that there are. It is told the time.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{task::yield_now, time::sleep};

use super::{
    model::{History, Latency, Rates},
    ring::{self, Durations, Ring, STEP},
};
use crate::{
    base::clock::{Clock, Time},
    config::RouteName,
    message::outcome::Outcome,
    route::registry::{LaneStats, Registry},
    stats::RouteStats,
};

/// How many routes have their last ten minutes kept: with 2 KiB each, that is less than half a MiB. Beyond that, the busiest.
const RINGS: usize = 200;
/// How often the counters are read. Where there are more routes than rings, it is as often as there is a new point.
const TICK: Duration = Duration::from_secs(1);
/// Rates are those of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(5);
/// How many routes are read before other tasks have their turn.
const AT_ONCE: usize = 500;
/// A failed attempt counts as much as so many delivered messages where it is asked what is worth a ring.
const WEIGHT_OF_FAILURES: f64 = 10.0;

/// The counters of a route at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    received: u64,
    delivered: u64,
    failed: u64,
}

impl Counts {
    fn of(lanes: &[Arc<RouteStats>]) -> Self {
        lanes.iter().fold(Self::default(), |sum, lane| {
            let tally = lane.tally();
            Self {
                received: sum.received + tally.received,
                delivered: sum.delivered + tally.of(Outcome::Delivered),
                failed: sum.failed + lane.requests.failures(),
            }
        })
    }
}

/// The samples of all routes.
#[derive(Clone, Debug, Default)]
pub struct Samples(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    routes: BTreeMap<RouteName, Track>,
    rings: usize,
    /// All routes together.
    all: Ring,
    /// The number of the latest point.
    point: u64,
}

/// What is kept of one route.
#[derive(Debug, Default)]
struct Track {
    /// The counts of the last seconds, the latest last.
    window: VecDeque<(Time, Counts)>,
    /// The counts at the latest point, and when that was.
    at_point: Option<(Time, Counts)>,
    last_message: Option<Time>,
    ring: Option<Ring>,
}

/// What is known of a route beside its counters.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    pub(super) rates: Rates,
    pub(super) latency: Option<Latency>,
    pub(super) last_message: Option<Time>,
}

impl Samples {
    /// Reads the counters of all routes of `registry`, again and again.
    pub async fn keep(self, registry: Arc<Registry>, clock: Clock) {
        let mut next_point = clock.now() + STEP;
        loop {
            let routes = registry.stats();
            let is_point = clock.now() >= next_point;
            for routes in routes.chunks(AT_ONCE) {
                let now = clock.now();
                routes.iter().for_each(|(name, lanes)| self.0.borrow_mut().read(name, lanes, now));
                yield_now().await;
            }
            self.0.borrow_mut().forget_others(&routes);
            if is_point {
                next_point = (next_point + STEP).max(clock.now());
                self.0.borrow_mut().add_points(&routes, clock.now());
            }
            let pause = if routes.len() > RINGS { STEP } else { TICK };
            drop(routes);
            sleep(pause).await;
        }
    }

    /// What goes through the route of this name.
    pub(super) fn of(&self, name: &RouteName) -> Sampled {
        let state = self.0.borrow();
        let Some(track) = state.routes.get(name) else { return Sampled::default() };
        Sampled {
            rates: track.rates(),
            latency: track.ring.as_ref().and_then(Ring::latency),
            last_message: track.last_message,
        }
    }

    /// The number of the latest point.
    pub(super) fn latest(&self) -> u64 {
        self.0.borrow().point
    }

    /// The last ten minutes of all routes together; how long attempts took is not among it.
    pub(super) fn history_of_all(&self) -> History {
        let state = self.0.borrow();
        state.all.history(state.point)
    }

    /// The last ten minutes of the route of this name, where they are kept.
    pub(super) fn history(&self, name: &RouteName) -> Option<History> {
        let state = self.0.borrow();
        let ring = state.routes.get(name)?.ring.as_ref()?;
        Some(ring.history(state.point))
    }
}

impl State {
    fn read(&mut self, name: &RouteName, lanes: &LaneStats, now: Time) {
        let counts = Counts::of(lanes);
        match self.routes.get_mut(name) {
            Some(track) => track.read(counts, now),
            None => {
                let mut track = Track::default();
                track.read(counts, now);
                self.routes.insert(name.clone(), track);
            }
        }
    }

    /// Lets go of those that are not among `routes`, which are sorted by name.
    fn forget_others(&mut self, routes: &[(RouteName, LaneStats)]) {
        if self.routes.len() > routes.len() {
            self.routes.retain(|name, _| routes.binary_search_by(|(known, _)| known.cmp(name)).is_ok());
            self.rings = self.routes.values().filter(|track| track.ring.is_some()).count();
        }
    }

    /// Adds a point to each ring, and gives rings to routes that have something to show.
    fn add_points(&mut self, routes: &[(RouteName, LaneStats)], now: Time) {
        self.point += 1;
        let mut candidates = Vec::new();
        let mut all = Rates::default();
        for (name, lanes) in routes {
            let Some(track) = self.routes.get_mut(name) else { continue };
            let rates = track.add_point(|| durations(lanes), now);
            all.delivered += rates.delivered;
            all.failed += rates.failed;
            let activity = rates.delivered + rates.failed * WEIGHT_OF_FAILURES;
            if track.ring.is_none() && activity > 0.0 {
                if self.rings < RINGS {
                    self.rings += 1;
                    track.ring = Some(new_ring(lanes));
                } else {
                    candidates.push((activity, name, lanes));
                }
            }
        }
        self.all.push(all.delivered, all.failed, Durations::default());
        self.replace(candidates);
    }

    /// Gives the rings of those that have shown the least to `candidates` that have shown more in this point alone than
    /// those in all their time: rings that went to and fro between routes alike would show nothing of any.
    fn replace(&mut self, mut candidates: Vec<(f64, &RouteName, &LaneStats)>) {
        if candidates.is_empty() {
            return;
        }
        candidates.sort_by(|one, other| other.0.total_cmp(&one.0));
        let ringed = self.routes.iter().filter_map(|(name, track)| {
            let activity = track.ring.as_ref()?.activity();
            Some((activity, name.clone()))
        });
        let mut ringed: Vec<_> = ringed.collect();
        ringed.sort_by(|one, other| one.0.total_cmp(&other.0));
        for ((activity, name, lanes), (least, loser)) in candidates.into_iter().zip(ringed) {
            if activity <= least {
                return;
            }
            if let Some(track) = self.routes.get_mut(&loser) {
                track.ring = None;
            }
            if let Some(track) = self.routes.get_mut(name) {
                track.ring = Some(new_ring(lanes));
            }
        }
    }
}

fn durations(lanes: &LaneStats) -> Durations {
    ring::durations(lanes.iter().map(|lane| &lane.request_duration))
}

/// A ring for a route: what has been before is not shown.
fn new_ring(lanes: &LaneStats) -> Ring {
    let bounds = lanes.first().map_or(&[][..], |lane| lane.request_duration.bounds());
    Ring::new(bounds, durations(lanes))
}

impl Track {
    fn read(&mut self, counts: Counts, now: Time) {
        let before = self.window.back().map(|(_, counts)| counts.received);
        // The first reading may be of a route that had messages before.
        if counts.received > before.unwrap_or_default() {
            self.last_message = Some(now);
        }
        // One that is older stays, for the begin of the window.
        while self.window.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW) {
            self.window.pop_front();
        }
        self.window.push_back((now, counts));
        self.at_point.get_or_insert((now, counts));
    }

    fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.window.front(), self.window.back()) else {
            return Rates::default();
        };
        rates(*first, *last)
    }

    /// Adds a point where there is a ring. Returns what has gone through since the last one.
    fn add_point(&mut self, durations: impl FnOnce() -> Durations, now: Time) -> Rates {
        let Some((_, counts)) = self.window.back() else { return Rates::default() };
        let latest = (now, *counts);
        let before = self.at_point.replace(latest).unwrap_or(latest);
        let rates = rates(before, latest);
        if let Some(ring) = &mut self.ring {
            ring.push(rates.delivered, rates.failed, durations());
        }
        rates
    }
}

/// What went through in a second from `first` to `last`.
fn rates((first, before): (Time, Counts), (last, after): (Time, Counts)) -> Rates {
    let seconds = last.since(first).as_secs_f64();
    if seconds <= 0.0 {
        return Rates::default();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate is wanted")]
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    Rates {
        received: rate(before.received, after.received),
        delivered: rate(before.delivered, after.delivered),
        failed: rate(before.failed, after.failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::outcome::Failure;

    const SECOND: Duration = Duration::from_secs(1);

    struct Process {
        state: State,
        routes: Vec<(RouteName, LaneStats)>,
        now: Time,
    }

    impl Process {
        fn with(routes: usize) -> Self {
            let route = |number| {
                let lanes: LaneStats = (0..2).map(|_| Arc::new(RouteStats::default())).collect();
                (format!("r{number:05}").parse().unwrap(), lanes)
            };
            let routes = (0..routes).map(route).collect();
            Self { state: State::default(), routes, now: Time::START }
        }

        fn delivers(&self, route: usize, messages: u64) {
            let lane = &self.routes[route].1[1];
            lane.received.add(messages);
            for _ in 0..messages {
                lane.count(Outcome::Delivered);
                lane.request_duration.observe(Duration::from_millis(4));
            }
        }

        fn tick(&mut self) {
            self.now = self.now + SECOND;
            self.routes.iter().for_each(|(name, lanes)| self.state.read(name, lanes, self.now));
            self.state.forget_others(&self.routes);
        }

        fn point(&mut self) {
            self.tick();
            self.state.add_points(&self.routes, self.now);
        }

        fn ringed(&self) -> Vec<&str> {
            let ringed = self.state.routes.iter().filter(|(_, track)| track.ring.is_some());
            ringed.map(|(name, _)| name.as_str()).collect()
        }
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut process = Process::with(1);
        process.tick();
        for _ in 0..10 {
            process.delivers(0, 20);
            process.routes[0].1[0].requests.failed(Failure::Status(503));
            process.tick();
        }
        let track = &process.state.routes[&process.routes[0].0];
        assert_eq!(track.rates(), Rates { received: 20.0, delivered: 20.0, failed: 1.0 });
        assert_eq!(track.last_message, Some(process.now));
        let last = process.now;
        for _ in 0..6 {
            process.tick();
        }
        let track = &process.state.routes[&process.routes[0].0];
        assert_eq!((track.rates(), track.last_message), (Rates::default(), Some(last)));
        assert!(track.window.len() <= 7, "{}", track.window.len());
    }

    #[test]
    fn only_what_has_something_to_show_has_a_ring_and_one_that_is_gone_is_forgotten() {
        let mut process = Process::with(3);
        process.point();
        assert!(process.ringed().is_empty());
        process.delivers(1, 5);
        process.point();
        assert_eq!(process.ringed(), ["r00001"]);
        process.delivers(1, 5);
        process.point();
        let track = &process.state.routes[&process.routes[1].0];
        let latency = track.ring.as_ref().and_then(Ring::latency).unwrap();
        assert!((0.0025..0.005).contains(&latency.p50), "{latency:?}");
        process.routes.remove(1);
        process.tick();
        assert_eq!((process.state.routes.len(), process.state.rings), (2, 0));
    }

    #[test]
    fn the_busiest_of_many_have_the_rings_and_keep_them() {
        let mut process = Process::with(RINGS + 50);
        process.point();
        (0..RINGS).for_each(|route| process.delivers(route, 2));
        process.point();
        for _ in 0..10 {
            (0..RINGS + 50).for_each(|route| process.delivers(route, 2));
            process.point();
        }
        assert!(process.ringed().ends_with(&["r00199"]), "those that came first keep theirs");
        process.delivers(RINGS + 7, 500);
        process.point();
        let ringed = process.ringed();
        assert_eq!((ringed.len(), ringed.last().copied()), (RINGS, Some("r00207")));
    }
}
