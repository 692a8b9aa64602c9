//! The routes of this process, by name: what should run, not what runs at the moment.
//!
//! There is one list of what should run. Whoever changes it publishes a new one; lanes, hand-over and health follow it.
//! A route is only ever found by its name: by its position in a list, a change of the order would send the messages of
//! one route to the webhook of another, and no error would show it.

mod figures;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use self::figures::Figures;
pub use self::figures::{AllFigures, RouteFigures};
use super::{
    hold::{Hold, HoldAct, Holds},
    shared::Route,
    trouble::Trouble,
};
use crate::{
    base::clock::Time,
    config::{self, RouteName},
    stats::{NamedDrops, RouteStats, Tally},
};

/// The figures of a route, one set for each lane of the process.
pub type LaneStats = Arc<[Arc<RouteStats>]>;

/// What should run.
#[derive(Debug, Default)]
pub struct Routes {
    /// Grows by one with each change, so that whoever carries a list out can say which one.
    pub generation: u64,
    /// How long a route that is not in the list any more goes on delivering what is in hand.
    pub grace: Duration,
    /// Whether this is the last list, and the process ends when it is carried out.
    pub is_last: bool,
    by_name: BTreeMap<RouteName, Arc<Route>>,
    /// What operators hold, also of routes that are not there: a hold outlives all settings.
    holds: Arc<Holds>,
}

/// By which names two lists differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Routes that are new, sorted as those below.
    pub added: Vec<RouteName>,
    /// Routes with other settings than before.
    pub changed: Vec<RouteName>,
    /// Routes that are gone.
    pub removed: Vec<RouteName>,
}

/// Has the list of routes, and the figures of all that ever stood in it.
#[derive(Debug)]
pub struct Registry {
    lanes: usize,
    current: watch::Sender<Arc<Routes>>,
    figures: Mutex<Figures>,
    named_drops: NamedDrops,
}

impl Changes {
    /// Whether this route is new, or has other settings.
    pub fn brings(&self, name: &RouteName) -> bool {
        // Both are sorted, as all lists of routes are.
        self.added.binary_search(name).is_ok() || self.changed.binary_search(name).is_ok()
    }
}

impl Routes {
    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.by_name.values()
    }

    /// The route of this name.
    pub fn get(&self, name: &RouteName) -> Option<&Arc<Route>> {
        self.by_name.get(name)
    }

    /// Who holds the route of this name, where somebody does.
    pub fn held(&self, name: &RouteName) -> Option<&Hold> {
        self.holds.of(name)
    }

    /// What operators hold.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Why the messages of `route` wait at `now`, where they do: what an operator decided comes before what is wrong with the
    /// webhook.
    pub fn trouble(&self, route: &Route, now: Time) -> Option<Trouble> {
        match self.held(route.name()).map(|hold| hold.act) {
            Some(HoldAct::Pause) => Some(Trouble::Held),
            Some(HoldAct::Drain) => Some(Trouble::Drained),
            None => route.trouble(now),
        }
    }

    /// Why `route` is in `trouble`, in the words of whoever knows.
    pub fn cause(&self, route: &Route, trouble: Trouble, now: Time) -> Option<String> {
        match trouble {
            Trouble::Held => self.held(route.name()).map(Hold::to_string),
            // Whoever waits for the end of what it has wants to know what keeps that from coming.
            Trouble::Drained => {
                let webhook = route.trouble(now).map(|trouble| format!("; {trouble}")).unwrap_or_default();
                self.held(route.name()).map(|hold| format!("{hold}{webhook}"))
            }
            _ => route.cause(trouble, now),
        }
    }

    /// What has to change for `wanted` to be what runs. Routes with equal settings are not mentioned.
    pub fn compare<'r>(&self, wanted: impl IntoIterator<Item = &'r config::Route>) -> Changes {
        let mut changes = Changes::default();
        let mut names = HashSet::new();
        for settings in wanted {
            names.insert(&settings.name);
            match self.get(&settings.name) {
                None => changes.added.push(settings.name.clone()),
                Some(route) if *route.settings != *settings => changes.changed.push(settings.name.clone()),
                Some(_) => {}
            }
        }
        // The bucket's routes come after those of the file.
        changes.added.sort_unstable();
        changes.changed.sort_unstable();
        changes.removed = self.by_name.keys().filter(|name| !names.contains(name)).cloned().collect();
        changes
    }
}

impl Registry {
    /// A registry without routes, for a process with so many lanes.
    pub fn new(lanes: usize) -> Self {
        Self {
            lanes,
            current: watch::Sender::new(Arc::default()),
            figures: Mutex::default(),
            named_drops: NamedDrops::default(),
        }
    }

    /// What should run now.
    pub fn current(&self) -> Arc<Routes> {
        Arc::clone(&self.current.borrow())
    }

    /// What should run, and every change of it.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Routes>> {
        self.current.subscribe()
    }

    /// The figures of the route of this name. They stay the same when its settings change, so that its counters in the
    /// metrics don't start again from 0.
    pub fn stats_of(&self, name: &RouteName) -> LaneStats {
        let of_a_lane = |_| Arc::new(RouteStats::naming(self.named_drops.clone()));
        self.figures().of(name, || (0..self.lanes).map(of_a_lane).collect())
    }

    /// Makes `routes` what should run, and returns the generation of the new list. Routes that are gone have `grace` to
    /// deliver what is in hand.
    pub fn publish(&self, routes: impl IntoIterator<Item = Arc<Route>>, grace: Duration) -> u64 {
        self.replace(routes, grace, false)
    }

    /// Makes the empty list the last one: everything ends within `grace`, and the process with it.
    pub fn close(&self, grace: Duration) {
        self.replace([], grace, true);
    }

    /// Holds the route of this name, whatever becomes of its settings, until it is [released](Self::release). Returns the
    /// generation of the list; a lane that has applied it does what the hold says.
    pub fn hold(&self, name: &RouteName, hold: Hold) -> u64 {
        self.change_holds(|holds| holds.set(name.clone(), Some(hold)))
    }

    /// Lets the route of this name go on, also where its webhook was said to be gone for good. Returns the generation of the
    /// list.
    pub fn release(&self, name: &RouteName) -> u64 {
        self.revive([name]);
        self.change_holds(|holds| holds.set(name.clone(), None))
    }

    /// Has the webhooks of these routes tried at once that were said to be gone for good.
    pub fn revive<'n>(&self, names: impl IntoIterator<Item = &'n RouteName>) {
        let routes = self.current();
        let revive = |name: &&RouteName| routes.get(name).is_some_and(|route| route.breaker.revive());
        if names.into_iter().filter(revive).count() > 0 {
            // The same list once more, for the lanes to look at what waits.
            self.current.send_modify(|current| {
                let Routes { generation, grace, is_last, .. } = **current;
                let (by_name, holds) = (current.by_name.clone(), Arc::clone(&current.holds));
                *current = Arc::new(Routes { generation: generation + 1, grace, is_last, by_name, holds });
            });
        }
    }

    /// The same, for a process that `awaits` to hear of holds: before they are [known](Self::know_holds), no route takes
    /// anything from NATS.
    #[must_use]
    pub fn awaiting_holds(self, awaits: bool) -> Self {
        let holds = Arc::new(Holds::awaited(awaits));
        Self { current: watch::Sender::new(Arc::new(Routes { holds, ..Routes::default() })), ..self }
    }

    /// Holds and releases routes by their names, all at once. No more is awaited then.
    pub fn know_holds(&self, changes: impl IntoIterator<Item = (RouteName, Option<Hold>)>) {
        self.change_holds(|holds| {
            changes.into_iter().for_each(|(name, hold)| holds.set(name, hold));
            holds.are_awaited = false;
        });
    }

    /// Who holds the route of this name, where somebody does.
    pub fn held(&self, name: &RouteName) -> Option<Hold> {
        self.current.borrow().held(name).cloned()
    }

    /// Publishes a list with other holds, where `change` makes others of them, and says what is news. Returns the generation of
    /// the list that there is then.
    fn change_holds(&self, change: impl FnOnce(&mut Holds)) -> u64 {
        let (mut generation, mut changed) = (0, None);
        self.current.send_if_modified(|current| {
            let mut holds = (*current.holds).clone();
            change(&mut holds);
            let is_news = holds != *current.holds;
            generation = current.generation + u64::from(is_news);
            if is_news {
                let Routes { grace, is_last, .. } = **current;
                let (by_name, holds) = (current.by_name.clone(), Arc::new(holds));
                changed = Some((Arc::clone(&current.holds), Arc::clone(&holds)));
                *current = Arc::new(Routes { generation, grace, is_last, by_name, holds });
            }
            is_news
        });
        if let Some((former, holds)) = changed {
            holds.announce(&former);
        }
        generation
    }

    fn replace(&self, routes: impl IntoIterator<Item = Arc<Route>>, grace: Duration, is_last: bool) -> u64 {
        let by_name = routes.into_iter().map(|route| (route.name().clone(), route)).collect();
        let mut generation = 0;
        self.current.send_modify(|current| {
            generation = current.generation + 1;
            let holds = Arc::clone(&current.holds);
            *current = Arc::new(Routes { generation, grace, is_last, by_name, holds });
        });
        self.figures().prune(&self.current());
        generation
    }

    /// The figures of every route that runs, or whose last messages are still on their way.
    pub fn stats(&self) -> Vec<(RouteName, LaneStats)> {
        let present = self.all_figures().present;
        present.into_iter().map(|RouteFigures { name, lanes, .. }| (name, lanes)).collect()
    }

    /// The same, with what those have counted that are gone: nothing that was ever counted is missing.
    pub fn all_figures(&self) -> AllFigures {
        let mut figures = self.figures();
        figures.prune(&self.current.borrow());
        figures.all()
    }

    /// What became of all messages since the start.
    pub fn tally(&self) -> Tally {
        self.figures().tally()
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_named_twenty_times_a_second_for_the_whole_process() {
        let registry = Registry::new(4);
        let now = Time::from_start(Duration::from_secs(1));
        let routes = ["a", "b", "c"].map(|name| registry.stats_of(&name.parse().unwrap()));
        let lanes = routes.iter().flat_map(|lanes| lanes.iter());
        let named = lanes.map(|lane| (0..100).filter(|_| lane.named_drops.pass(now).is_some()).count());
        assert_eq!(named.sum::<usize>(), 20);
    }
    use std::time::SystemTime;

    use crate::{
        base::clock::Clock,
        config::{Sources, load},
        deliver::endpoint::Surroundings,
        message::outcome::Outcome,
    };

    fn settings(routes: &[(&str, &str)]) -> Vec<config::Route> {
        let key = |route: &str, key: &str| format!("routes.{route}.{key}");
        let flags = routes.iter().flat_map(|(name, url)| {
            [("webhook.url", *url), ("queue_group", *name)]
                .map(|(k, value)| (key(name, k), value.to_owned(), "--set".to_owned()))
        });
        load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap().routes
    }

    fn routes(registry: &Registry, settings: Vec<config::Route>) -> Vec<Arc<Route>> {
        let route = |settings: config::Route| {
            let stats = registry.stats_of(&settings.name);
            let endpoint = Surroundings::default().endpoint(&settings, Clock::start());
            Arc::new(Route::new(settings, stats, endpoint, None))
        };
        settings.into_iter().map(route).collect()
    }

    fn names(names: &[RouteName]) -> Vec<&str> {
        names.iter().map(RouteName::as_str).collect()
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let registry = Registry::new(2);
        let before = settings(&[("a", "http://a/"), ("b", "http://b/"), ("c", "http://c/")]);
        registry.publish(routes(&registry, before), Duration::ZERO);
        let after = settings(&[("a", "http://a/"), ("b", "http://b/other"), ("d", "http://d/")]);
        let changes = registry.current().compare(&after);
        assert_eq!(names(&changes.added), ["d"]);
        assert_eq!(names(&changes.changed), ["b"]);
        assert_eq!(names(&changes.removed), ["c"]);
    }

    #[test]
    fn a_hold_outlives_the_settings_of_its_route() {
        let registry = Registry::new(1);
        let (act, why) = (HoldAct::Pause, Some("moving".to_owned()));
        let hold = Hold { act, why, by: "ada".to_owned(), since: SystemTime::UNIX_EPOCH };
        let name = "a".parse().unwrap();
        let trouble = || {
            let routes = registry.current();
            let trouble = routes.trouble(routes.get(&name)?, Time::START)?;
            Some((trouble.label(), routes.cause(routes.get(&name)?, trouble, Time::START)?))
        };
        assert_eq!(registry.hold(&name, hold.clone()), 1, "it need not be there yet");
        for url in ["http://a/", "http://other/"] {
            registry.publish(routes(&registry, settings(&[("a", url)])), Duration::ZERO);
            assert_eq!(trouble(), Some(("held", "by ada since 1970-01-01T00:00:00.000Z: moving".to_owned())));
        }
        assert_eq!((registry.held(&name), registry.release(&name)), (Some(hold), 4));
        assert_eq!((registry.held(&name), trouble()), (None, None));
    }

    #[test]
    fn nothing_is_taken_before_it_is_known_what_is_held_and_nothing_of_what_is_drained() {
        let registry = Registry::new(1).awaiting_holds(true);
        let [drained, paused, free] = ["drained", "paused", "free"].map(|name| name.parse().unwrap());
        let takes = |name: &RouteName| registry.current().holds().takes(name);
        let attempts = |name: &RouteName| registry.current().holds().attempts(name);
        assert!([&drained, &paused, &free].into_iter().all(|name| !takes(name) && attempts(name)));
        let hold = |act| Hold { act, why: None, by: "ada".to_owned(), since: SystemTime::UNIX_EPOCH };
        let holds = [(&drained, HoldAct::Drain), (&paused, HoldAct::Pause)];
        registry.know_holds(holds.map(|(name, act)| (name.clone(), Some(hold(act)))));
        let all = [&drained, &paused, &free];
        assert_eq!(
            all.map(|name| (takes(name), attempts(name))),
            [(false, true), (true, false), (true, true)]
        );
        registry.release(&drained);
        assert!(takes(&drained));
        registry.know_holds([]);
        assert!(!attempts(&paused), "what is not mentioned stays held");
    }

    #[test]
    fn the_figures_of_a_route_outlive_its_settings_and_those_that_count_for_it() {
        let registry = Registry::new(1);
        registry.publish(routes(&registry, settings(&[("a", "http://a/")])), Duration::ZERO);
        registry.stats_of(&"a".parse().unwrap())[0].received.add(1);
        registry.publish(routes(&registry, settings(&[("a", "http://other/")])), Duration::ZERO);
        assert_eq!(registry.tally().received, 1);

        let draining = Arc::clone(&registry.stats()[0].1[0]);
        registry.close(Duration::ZERO);
        assert_eq!(registry.stats().len(), 1, "somebody still counts for it");
        draining.count(Outcome::Delivered);
        drop(draining);
        assert!(registry.stats().is_empty());
        assert_eq!((registry.tally().received, registry.tally().in_hand()), (1, 0));
    }

    #[test]
    fn a_route_that_comes_again_has_figures_of_its_own_and_the_former_ones_are_not_lost() {
        let registry = Registry::new(2);
        let name = "a".parse().unwrap();
        let mut numbers = Vec::new();
        for _ in 0..2 {
            registry.publish(routes(&registry, settings(&[("a", "http://a/")])), Duration::ZERO);
            registry.stats_of(&name)[1].received.add(1);
            numbers.extend(registry.all_figures().present.iter().map(|figures| figures.number));
            registry.publish([], Duration::ZERO);
        }
        assert_eq!(numbers, [1, 2]);
        let AllFigures { present, gone } = registry.all_figures();
        assert_eq!((present.len(), gone.tally().received), (0, 2));
    }
}
