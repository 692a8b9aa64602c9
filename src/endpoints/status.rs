//! What is known of the bucket and its values, for health, metrics and whoever else looks. The follower and whoever
//! applies the routes write it, and wait for nobody.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tracing::{info, warn};

use super::catalogue::{Standing, State};
use crate::config::RouteName;

/// How many values that are refused `/health` names.
const NAMED: usize = 20;

/// How far the bucket is followed.
#[derive(Debug, Default)]
pub struct Status {
    known: Mutex<Known>,
    /// Tells of each change of what came of values.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The revision of the bucket that runs on all lanes; none before the first.
    revision: Option<u64>,
    /// The revision up to which it is known what is held; none where the bucket is to be read anew.
    heard: Option<u64>,
    /// Why the bucket is not followed at present.
    trouble: Option<String>,
    states: Arc<BTreeMap<RouteName, State>>,
}

/// How many values there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That run.
    pub active: usize,
    /// With a mistake, or without room.
    pub refused: usize,
    /// In whose place the file's routes run.
    pub overridden: usize,
}

impl Status {
    /// The revision of the bucket that runs on all lanes; none before the first.
    pub fn revision(&self) -> Option<u64> {
        self.known().revision
    }

    /// Why the bucket is not followed at present, in words for operators; none where it is.
    pub fn trouble(&self) -> Option<String> {
        self.known().trouble.clone()
    }

    /// What came of each value.
    pub fn states(&self) -> Arc<BTreeMap<RouteName, State>> {
        Arc::clone(&self.known().states)
    }

    /// How many values there are, by what came of them.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for state in self.states().values() {
            match state.standing {
                Standing::Active => counts.active += 1,
                Standing::Overridden => counts.overridden += 1,
                Standing::Refused { .. } => counts.refused += 1,
            }
        }
        counts
    }

    /// Why this replica is not ready: before it has read the bucket, others have routes that it does not know of.
    pub fn reason(&self) -> Option<String> {
        let known = self.known();
        if known.revision.is_some() {
            return None;
        }
        let why = known.trouble.as_deref().unwrap_or("it is being read");
        Some(format!("the routes of the bucket are not known yet: {why}"))
    }

    /// What is not as it should be, though routes run.
    pub fn complaints(&self) -> Vec<String> {
        let known = self.known();
        let trouble = known.trouble.as_ref().filter(|_| known.revision.is_some());
        let trouble =
            trouble.map(|trouble| format!("the bucket is not followed, its routes run on: {trouble}"));
        let refused = known.states.iter().filter_map(|(name, state)| refusal(name, &state.standing));
        trouble.into_iter().chain(refused.take(NAMED)).collect()
    }

    /// Takes note of what keeps the bucket from being followed. Said once.
    pub(super) fn troubled(&self, trouble: String) {
        let mut known = self.known();
        known.heard = None;
        if known.trouble.as_ref() != Some(&trouble) {
            warn!(error = trouble, "the bucket of endpoints can't be followed: what runs, runs on");
            known.trouble = Some(trouble);
        }
    }

    /// Takes note that what the bucket holds up to `revision` is held.
    pub fn hears(&self, revision: u64) {
        self.known().heard = Some(revision);
    }

    /// Up to which revision it is known what is held; none where the bucket is to be read anew.
    pub(super) fn heard(&self) -> Option<u64> {
        self.known().heard
    }

    /// Takes note that all of the bucket up to `revision` runs.
    pub fn applied(&self, revision: u64) {
        let mut known = self.known();
        if known.revision.is_none() || known.trouble.is_some() {
            info!(revision, "the bucket of endpoints is followed");
        }
        (known.revision, known.trouble) = (Some(revision), None);
    }

    /// Takes note of what came of each value, and says what is new of that.
    pub fn resolved(&self, states: BTreeMap<RouteName, State>) {
        let mut known = self.known();
        for (name, state) in states.iter().filter(|(name, state)| known.states.get(name) != Some(state)) {
            let was_wrong = known.states.get(name).is_some_and(|before| before.standing != Standing::Active);
            let (route, revision) = (name.as_str(), state.revision);
            match &state.standing {
                Standing::Active if was_wrong => info!(route, revision, "endpoint accepted"),
                Standing::Active => {}
                Standing::Overridden => {
                    info!(route, revision, "endpoint not used: the configuration has a route of this name");
                }
                Standing::Refused { problems, former_runs } => {
                    let problems = problems.join("; ");
                    warn!(route, revision, problems, former_runs, "endpoint refused");
                }
            }
        }
        known.states = Arc::new(states);
        self.changes.send_replace(());
    }

    /// Tells of each change of what came of values.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(name: &RouteName, standing: &Standing) -> Option<String> {
    let Standing::Refused { problems, former_runs } = standing else { return None };
    let then = if *former_runs { "the value before it runs on" } else { "it does not run" };
    Some(format!("route {name}: {then}: {}", problems.join("; ")))
}
