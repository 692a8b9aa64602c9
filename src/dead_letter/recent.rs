//! The latest letters of a route, for whoever looks at the route: nothing of their payloads.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use crate::message::{Id, outcome::Reason};

/// How many are kept.
const MOST: usize = 10;

/// A letter that NATS has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentLetter {
    /// The id of its message.
    pub id: Id,
    /// Why that died.
    pub reason: Reason,
    /// When it was published.
    pub at: SystemTime,
}

/// The latest letters. Nobody who delivers messages has to do with them.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<RecentLetter>>);

impl Recent {
    /// Adds a letter, in the place of the oldest where there are many.
    pub(super) fn add(&self, letter: RecentLetter) {
        let mut letters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.len() >= MOST {
            letters.pop_back();
        }
        letters.push_front(letter);
    }

    /// The latest first.
    pub(super) fn latest(&self) -> Vec<RecentLetter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let (recent, at) = (Recent::default(), SystemTime::UNIX_EPOCH);
        let letter =
            |number: usize| RecentLetter { id: Id::given(number.to_string()), reason: Reason::Rejected, at };
        (0..25).for_each(|number| recent.add(letter(number)));
        assert_eq!(recent.latest(), (15..25).rev().map(letter).collect::<Vec<_>>());
    }
}
