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

/// So many times it is looked whether a value that falls back takes the place of another one. A look takes some milliseconds with
/// ten thousand routes.
const MOST_PASSES: u32 = 32;

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
    ///
    /// Where a new value does not fit, the former one runs on in its place, and that is as senior as what was not changed. So
    /// another new value may not fit any more that wanted the place, and falls back, too.
    pub fn resolve(&mut self, file: &[Arc<Route>]) -> Resolved {
        let of_file: BTreeSet<_> = file.iter().map(|route| &route.name).collect();
        let mut problems = BTreeMap::new();
        let names = self.admitted(&of_file, &mut problems);
        let (mut fallen, mut passes) = (BTreeSet::new(), 0);
        let running = loop {
            let chosen = self.choose(&names, &fallen);
            let found = beside(file, &chosen);
            let before = fallen.len();
            for ((name, route), problem) in chosen.iter().zip(&found) {
                if let Some(problem) = problem.as_ref().filter(|_| self.has_former(name, route)) {
                    problems.insert(name.clone(), problem.clone());
                    fallen.insert(name.clone());
                }
            }
            if fallen.len() == before {
                let fits = |((name, route), problem): ((RouteName, Arc<Route>), Option<String>)| match problem
                {
                    Some(problem) => {
                        problems.entry(name).or_insert(problem);
                        None
                    }
                    None => Some((name, route)),
                };
                break chosen.into_iter().zip(found).filter_map(fits).collect();
            }
            passes += 1;
            if passes == MOST_PASSES {
                self.let_all_fall(&names, &mut fallen, &mut problems);
            }
        };
        self.settle(&of_file, &problems, &running)
    }

    /// The names of which no more than the operator wants may run, the senior ones.
    fn admitted(
        &self,
        of_file: &BTreeSet<&RouteName>,
        problems: &mut BTreeMap<RouteName, String>,
    ) -> Vec<RouteName> {
        let is_candidate =
            |(name, entry): &(&RouteName, &Entry)| !of_file.contains(name) && entry.candidate().is_some();
        let mut order: Vec<_> = self.entries.iter().filter(is_candidate).collect();
        order.sort_by_key(|(_, entry)| entry.seniority());
        let too_many = order.split_off(order.len().min(self.most.get()));
        let problem = || format!("expected no more than endpoints.max_routes = {} routes", self.most);
        problems.extend(too_many.into_iter().map(|(name, _)| (name.clone(), problem())));
        order.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// What would run of these names, the senior ones first: of those that have `fallen` back what runs already.
    fn choose(&self, names: &[RouteName], fallen: &BTreeSet<RouteName>) -> Vec<(RouteName, Arc<Route>)> {
        let choice = |name: &RouteName| {
            let entry = self.entries.get(name)?;
            let former = entry.running.as_ref().filter(|_| fallen.contains(name));
            let (route, seniority) = match former {
                Some((route, since)) => (route, (Seniority::Running, *since)),
                None => (entry.candidate()?, entry.seniority()),
            };
            Some((seniority, name.clone(), Arc::clone(route)))
        };
        let mut chosen: Vec<_> = names.iter().filter_map(choice).collect();
        chosen.sort_by_key(|(seniority, ..)| *seniority);
        chosen.into_iter().map(|(_, name, route)| (name, route)).collect()
    }

    /// Whether something else than `route` runs of this name.
    fn has_former(&self, name: &RouteName, route: &Arc<Route>) -> bool {
        let running = self.entries.get(name).and_then(|entry| entry.running.as_ref());
        running.is_some_and(|(running, _)| !Arc::ptr_eq(running, route))
    }

    /// Has no other value run of what runs already: so many depend on each other that to find out which of them fit takes longer
    /// than they are worth.
    fn let_all_fall(
        &self,
        names: &[RouteName],
        fallen: &mut BTreeSet<RouteName>,
        problems: &mut BTreeMap<RouteName, String>,
    ) {
        const PROBLEM: &str = "expected values that fit one after the other: too many were changed at once that are in each other's \
                               place, write it again";
        let is_changed = |name: &&RouteName| {
            let entry = self.entries.get(*name);
            entry.is_some_and(|entry| entry.seniority().0 == Seniority::Changed)
        };
        for name in names.iter().filter(is_changed) {
            problems.entry(name.clone()).or_insert_with(|| PROBLEM.to_owned());
            fallen.insert(name.clone());
        }
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
mod tests;
