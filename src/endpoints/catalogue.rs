//! Which routes of the bucket run, beside those of the file: a decision about values, without I/O.
//!
//! A value with a mistake changes nothing: the one before it runs on. So does one that has no room beside the others: whoever
//! was there first stays, and the file is always first.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    num::NonZeroUsize,
    sync::Arc,
};

use crate::config::{Route, RouteName, unfit};

/// What was read out of a value: a route, or what is wrong with it, in words for operators.
pub type Value = Result<Arc<Route>, Arc<[String]>>;

/// What has changed in the bucket.
#[derive(Debug, Default)]
pub struct Changes {
    /// Names with a value, each with the revision of that; none where it was removed.
    pub values: Vec<(RouteName, u64, Option<Value>)>,
    /// Whether these are all values that there are: what is not among them is gone.
    pub is_all: bool,
    /// The revision of the bucket that this makes.
    pub revision: u64,
}

/// What stands in the bucket, and what of it runs.
#[derive(Debug)]
pub struct Catalogue {
    most: NonZeroUsize,
    entries: BTreeMap<RouteName, Entry>,
}

#[derive(Debug)]
struct Entry {
    revision: u64,
    value: Value,
    /// What runs, and the revision since which this name does.
    running: Option<(Arc<Route>, u64)>,
}

/// Which routes are to run, and what came of each value.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The routes.
    pub routes: Vec<Arc<Route>>,
    /// What came of each value.
    pub states: BTreeMap<RouteName, State>,
}

/// What came of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which value.
    pub revision: u64,
    /// Whether it runs.
    pub standing: Standing,
}

/// Whether a value runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Active,
    /// The file has a route of this name, which runs.
    Overridden,
    /// It does not.
    Refused {
        /// Why, in words for operators. No secret is among them.
        problems: Arc<[String]>,
        /// Whether a value that was there before runs on.
        former_runs: bool,
    },
}

/// Who has to fit beside whom: each beside those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seniority {
    Running,
    Changed,
    New,
}

impl Entry {
    /// What would run of it: its value, or else what runs already.
    fn candidate(&self) -> Option<&Arc<Route>> {
        self.value.as_ref().ok().or_else(|| self.running.as_ref().map(|(route, _)| route))
    }

    /// What runs already comes first, then other values of what runs, and what is new comes last.
    fn seniority(&self) -> (Seniority, u64) {
        match (&self.running, &self.value) {
            (None, _) => (Seniority::New, self.revision),
            (Some((running, since)), Ok(value)) if !Arc::ptr_eq(running, value) => {
                (Seniority::Changed, *since)
            }
            (Some((_, since)), _) => (Seniority::Running, *since),
        }
    }
}

impl Catalogue {
    /// An empty one, of which `most` routes run at most.
    pub const fn new(most: NonZeroUsize) -> Self {
        Self { most, entries: BTreeMap::new() }
    }

    /// Takes note of `changes`. What runs does so until it is [resolved](Self::resolve) anew.
    pub fn take(&mut self, changes: Changes) {
        if changes.is_all {
            let there: HashSet<_> = changes.values.iter().map(|(name, ..)| name.clone()).collect();
            self.entries.retain(|name, _| there.contains(name));
        }
        for (name, revision, value) in changes.values {
            match (value, self.entries.get_mut(&name)) {
                (None, _) => drop(self.entries.remove(&name)),
                (Some(value), Some(entry)) => (entry.revision, entry.value) = (revision, value),
                (Some(value), None) => {
                    self.entries.insert(name, Entry { revision, value, running: None });
                }
            }
        }
    }

    /// Decides what runs beside the routes of the `file`.
    pub fn resolve(&mut self, file: &[Arc<Route>]) -> Resolved {
        let of_file: BTreeSet<_> = file.iter().map(|route| &route.name).collect();
        let mut order: Vec<_> = self.entries.iter().filter(|(name, _)| !of_file.contains(name)).collect();
        order.sort_by_key(|(_, entry)| entry.seniority());
        let candidate =
            |(name, entry): (&RouteName, &Entry)| Some((name.clone(), Arc::clone(entry.candidate()?)));
        let mut chosen: Vec<_> = order.into_iter().filter_map(candidate).collect();
        let too_many = chosen.split_off(chosen.len().min(self.most.get()));
        let problem = || format!("expected no more than endpoints.max_routes = {} routes", self.most);
        let mut problems: BTreeMap<_, _> = too_many.into_iter().map(|(name, _)| (name, problem())).collect();

        let mut found = beside(file, &chosen);
        // Where a new value does not fit, the former one runs on in its place.
        let mut is_changed = false;
        for ((name, route), problem) in chosen.iter_mut().zip(&found) {
            let former = self.entries.get(name).and_then(|entry| entry.running.as_ref());
            let former = former.map(|(former, _)| former).filter(|former| !Arc::ptr_eq(former, route));
            if let (Some(problem), Some(former)) = (problem, former) {
                problems.insert(name.clone(), problem.clone());
                *route = Arc::clone(former);
                is_changed = true;
            }
        }
        if is_changed {
            found = beside(file, &chosen);
        }
        let mut running = BTreeMap::new();
        for ((name, route), problem) in chosen.into_iter().zip(found) {
            match problem {
                Some(problem) => drop(problems.entry(name).or_insert(problem)),
                None => drop(running.insert(name, route)),
            }
        }
        self.settle(&of_file, &problems, &running)
    }

    /// Notes what runs from now on, and what came of each value.
    fn settle(
        &mut self,
        of_file: &BTreeSet<&RouteName>,
        problems: &BTreeMap<RouteName, String>,
        running: &BTreeMap<RouteName, Arc<Route>>,
    ) -> Resolved {
        let mut resolved = Resolved::default();
        for (name, entry) in &mut self.entries {
            let runs = running.get(name);
            let since = entry.running.as_ref().map_or(entry.revision, |(_, since)| *since);
            entry.running = runs.map(|route| (Arc::clone(route), since));
            resolved.routes.extend(runs.cloned());
            let refused = |problems| Standing::Refused { problems, former_runs: runs.is_some() };
            let standing = match (&entry.value, problems.get(name)) {
                _ if of_file.contains(name) => Standing::Overridden,
                (Err(problems), _) => refused(Arc::clone(problems)),
                (Ok(_), Some(problem)) => refused([problem.clone()].into()),
                (Ok(_), None) => Standing::Active,
            };
            resolved.states.insert(name.clone(), State { revision: entry.revision, standing });
        }
        resolved
    }
}

/// For each of `chosen`, why it does not fit beside the `file` and those before it; none where it does.
fn beside(file: &[Arc<Route>], chosen: &[(RouteName, Arc<Route>)]) -> Vec<Option<String>> {
    let all: Vec<_> =
        file.iter().chain(chosen.iter().map(|(_, route)| route)).map(|route| &**route).collect();
    unfit(&all).split_off(file.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    const MOST: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    /// A route that takes `subject`, to be told apart from others by `url`.
    fn route(name: &str, subject: &str, url: &str) -> Route {
        let flag = |(key, value): (&str, &str)| {
            (format!("routes.{name}.{key}"), value.to_owned(), "--set".to_owned())
        };
        let flags = [("subject", subject), ("webhook.url", url)].map(flag).into();
        load(Sources { flags, ..Sources::default() }).unwrap().routes.remove(0)
    }

    fn value(name: &str, revision: u64, subject: &str) -> (RouteName, u64, Option<Value>) {
        let route = route(name, subject, &format!("http://host/{revision}"));
        (route.name.clone(), revision, Some(Ok(Arc::new(route))))
    }

    fn bad(name: &str, revision: u64) -> (RouteName, u64, Option<Value>) {
        (name.parse().unwrap(), revision, Some(Err(["no url".to_owned()].into())))
    }

    fn changes(values: impl IntoIterator<Item = (RouteName, u64, Option<Value>)>) -> Changes {
        Changes { values: values.into_iter().collect(), ..Changes::default() }
    }

    /// What runs, by name and the revision of its value, and what of the values does not.
    fn resolve(catalogue: &mut Catalogue, file: &[Arc<Route>]) -> (Vec<String>, Vec<String>) {
        let Resolved { routes, states } = catalogue.resolve(file);
        let runs = |route: &Arc<Route>| format!("{}{}", route.name, route.webhook.url.path_and_query());
        let said = |(name, state): (&RouteName, &State)| match &state.standing {
            Standing::Active => None,
            Standing::Overridden => Some(format!("{name} overridden")),
            Standing::Refused { former_runs: true, .. } => Some(format!("{name} refused, runs on")),
            Standing::Refused { .. } => Some(format!("{name} refused")),
        };
        (routes.iter().map(runs).collect(), states.iter().filter_map(said).collect())
    }

    #[track_caller]
    fn assert_resolved(catalogue: &mut Catalogue, file: &[Arc<Route>], runs: &[&str], said: &[&str]) {
        let (now, not) = resolve(catalogue, file);
        assert_eq!(
            (now.as_slice(), not.as_slice()),
            (
                &*runs.iter().map(ToString::to_string).collect::<Vec<_>>(),
                &*said.iter().map(ToString::to_string).collect::<Vec<_>>()
            )
        );
    }

    #[test]
    fn a_value_with_a_mistake_changes_nothing() {
        let mut catalogue = Catalogue::new(MOST);
        catalogue.take(changes([value("a", 1, "a"), bad("b", 2)]));
        assert_resolved(&mut catalogue, &[], &["a/1"], &["b refused"]);
        catalogue.take(changes([bad("a", 3), value("b", 4, "b")]));
        assert_resolved(&mut catalogue, &[], &["a/1", "b/4"], &["a refused, runs on"]);
        catalogue.take(changes([value("a", 5, "a")]));
        assert_resolved(&mut catalogue, &[], &["a/5", "b/4"], &[]);
    }

    #[test]
    fn whoever_was_there_first_stays() {
        let mut catalogue = Catalogue::new(MOST);
        catalogue.take(changes([value("a", 1, "x"), value("b", 2, "x.>"), value("c", 3, "x.y")]));
        assert_resolved(&mut catalogue, &[], &["a/1", "b/2"], &["c refused"]);
        catalogue.take(changes([value("b", 4, "y")]));
        assert_resolved(&mut catalogue, &[], &["a/1", "b/4", "c/3"], &[]);
        // Another value has to fit beside what runs, though its route was there first.
        catalogue.take(changes([value("a", 5, "x.*")]));
        assert_resolved(&mut catalogue, &[], &["a/1", "b/4", "c/3"], &["a refused, runs on"]);
        // It is tried again as soon as there is room.
        catalogue.take(changes([value("c", 6, "z")]));
        assert_resolved(&mut catalogue, &[], &["a/5", "b/4", "c/6"], &[]);
    }

    #[test]
    fn what_is_removed_makes_room() {
        let mut catalogue = Catalogue::new(MOST);
        catalogue.take(changes([value("a", 1, "x"), value("b", 2, "x")]));
        assert_resolved(&mut catalogue, &[], &["a/1"], &["b refused"]);
        catalogue.take(changes([("a".parse().unwrap(), 3, None)]));
        assert_resolved(&mut catalogue, &[], &["b/2"], &[]);
        let all = Changes { values: vec![value("c", 4, "x")], is_all: true, revision: 4 };
        catalogue.take(all);
        assert_resolved(&mut catalogue, &[], &["c/4"], &[]);
    }

    #[test]
    fn the_file_is_first() {
        let mut catalogue = Catalogue::new(MOST);
        catalogue.take(changes([value("a", 1, "a"), value("b", 2, "b")]));
        assert_resolved(&mut catalogue, &[], &["a/1", "b/2"], &[]);
        let file =
            [route("a", "other", "http://host/file"), route("z", "b", "http://host/file")].map(Arc::new);
        assert_resolved(&mut catalogue, &file, &[], &["a overridden", "b refused"]);
        assert_resolved(&mut catalogue, &[], &["a/1", "b/2"], &[]);
    }

    #[test]
    fn no_more_run_than_the_operator_wants() {
        let mut catalogue = Catalogue::new(MOST);
        let name = |number: u64| value(&format!("r{number}"), 10 - number, &format!("s{number}"));
        catalogue.take(changes((0..5).map(name)));
        assert_resolved(&mut catalogue, &[], &["r2/8", "r3/7", "r4/6"], &["r0 refused", "r1 refused"]);
    }
}
