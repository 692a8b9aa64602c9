//! Which dead letters are meant.

use std::time::SystemTime;

use crate::{
    cli::options::Selection,
    config::{Config, Route, RouteName},
    dead_letter::Stored,
};

/// Tells the letters that are meant from others.
#[derive(Debug)]
pub(super) struct Selected {
    id: Option<String>,
    reason: Option<String>,
    since: Option<SystemTime>,
    route: RouteName,
    /// Other routes whose letters go to the same subject.
    others: Vec<RouteName>,
    orphans: Orphans,
}

/// What is meant with letters that are nobody's: of routes that are not configured any more, and those that name none where
/// several routes could have made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orphans {
    /// They are meant, too: somebody has to see to them.
    Included,
    /// They are not meant: nobody has said that they are for this webhook.
    Excluded,
}

impl Selected {
    /// Letters of `route` that `selection` is about.
    pub(super) fn new(config: &Config, route: &Route, selection: &Selection, orphans: Orphans) -> Self {
        let subject = |route: &Route| route.dead_letter.as_ref().map(|to| to.subject.clone());
        let shares = |other: &&Route| other.name != route.name && subject(other) == subject(route);
        Self {
            id: selection.id.clone(),
            reason: selection.reason.clone(),
            since: selection.since,
            route: route.name.clone(),
            others: config.routes.iter().filter(shares).map(|other| other.name.clone()).collect(),
            orphans,
        }
    }

    /// Whether nothing but what is meant goes to the subject.
    pub(super) fn is_all(&self) -> bool {
        self.id.is_none()
            && self.reason.is_none()
            && self.since.is_none()
            && self.others.is_empty()
            && self.orphans == Orphans::Included
    }

    /// Whether `letter` is meant.
    pub(super) fn has(&self, letter: &Stored) -> bool {
        self.would_have(letter) && (self.is_own(letter) || self.orphans == Orphans::Included)
    }

    /// Whether `letter` is left alone only because it is nobody's.
    pub(super) fn leaves_orphan(&self, letter: &Stored) -> bool {
        self.orphans == Orphans::Excluded && self.would_have(letter) && !self.is_own(letter)
    }

    fn is_own(&self, letter: &Stored) -> bool {
        letter.route().map_or(self.others.is_empty(), |route| *self.route.as_str() == *route)
    }

    /// Whether `letter` is meant, were it the route's own, and is not that of another route.
    fn would_have(&self, letter: &Stored) -> bool {
        self.id.as_ref().is_none_or(|id| *id == letter.id().to_string())
            && self.reason.as_ref().is_none_or(|reason| letter.reason().as_deref() == Some(reason.as_str()))
            && self.since.is_none_or(|since| letter.at >= since)
            && !letter.route().is_some_and(|route| self.others.iter().any(|other| *other.as_str() == *route))
    }
}
