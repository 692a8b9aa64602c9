//! How many letters a stream keeps of a route, for whoever looks at the route without a token: counted when somebody looks, and
//! not again for a few seconds.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::config::RouteName;

/// For how long a count is good enough.
const FRESH: Duration = Duration::from_secs(5);
/// Of how many routes counts are kept: of those that somebody looks at.
const MOST: usize = 256;

/// The latest counts.
#[derive(Debug, Default)]
pub(super) struct Counts(RefCell<BTreeMap<RouteName, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    at: Instant,
    kept: Option<u64>,
}

impl Counts {
    /// How many letters are kept of the route of this name, as far as is known, and whether they are to be counted again at `now`.
    pub(super) fn of(&self, name: &RouteName, now: Instant) -> (Option<u64>, bool) {
        let known = self.0.borrow().get(name).copied();
        let is_fresh = known.is_some_and(|count| now.duration_since(count.at) < FRESH);
        (known.and_then(|count| count.kept), !is_fresh)
    }

    /// Takes note of what was counted at `at`; none where it could not be.
    pub(super) fn note(&self, name: RouteName, kept: Option<u64>, at: Instant) {
        let mut counts = self.0.borrow_mut();
        if counts.len() >= MOST {
            counts.retain(|_, count| at.duration_since(count.at) < FRESH);
        }
        if counts.len() < MOST {
            counts.insert(name, Count { at, kept });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_good_for_a_few_seconds() {
        let (counts, name, now) = (Counts::default(), "a".parse().unwrap(), Instant::now());
        assert_eq!(counts.of(&name, now), (None, true));
        counts.note(name.clone(), Some(3), now);
        assert_eq!(counts.of(&name, now + Duration::from_secs(4)), (Some(3), false));
        assert_eq!(counts.of(&name, now + Duration::from_secs(6)), (Some(3), true));
        counts.note(name.clone(), None, now);
        assert_eq!(counts.of(&name, now), (None, false));
    }

    #[test]
    fn counts_are_kept_of_a_few_routes() {
        let (counts, now) = (Counts::default(), Instant::now());
        for number in 0..2 * MOST {
            counts.note(format!("r{number}").parse().unwrap(), Some(1), now);
        }
        assert_eq!(counts.0.borrow().len(), MOST);
        counts.note("z".parse().unwrap(), Some(2), now + FRESH);
        assert_eq!(counts.0.borrow().len(), 1, "old ones are let go of");
    }
}
