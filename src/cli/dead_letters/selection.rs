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
    /// Other routes whose letters go to the same subject.
    others: Vec<RouteName>,
}

impl Selected {
    /// Letters of `route`; all where there is no `selection`.
    pub(super) fn new(config: &Config, route: &Route, selection: Option<&Selection>) -> Self {
        let subject = |route: &Route| route.dead_letter.as_ref().map(|to| to.subject.clone());
        let shares = |other: &&Route| other.name != route.name && subject(other) == subject(route);
        Self {
            id: selection.and_then(|selection| selection.id.clone()),
            reason: selection.and_then(|selection| selection.reason.clone()),
            since: selection.and_then(|selection| selection.since),
            others: config.routes.iter().filter(shares).map(|other| other.name.clone()).collect(),
        }
    }

    /// Whether nothing but what is meant goes to the subject.
    pub(super) const fn is_all(&self) -> bool {
        self.id.is_none() && self.reason.is_none() && self.since.is_none() && self.others.is_empty()
    }

    /// Whether `letter` is meant. One that names no route, or one that is not configured any more, counts as the
    /// route's own.
    pub(super) fn has(&self, letter: &Stored) -> bool {
        self.id.as_ref().is_none_or(|id| *id == letter.id())
            && self.reason.as_ref().is_none_or(|reason| letter.reason().as_deref() == Some(reason.as_str()))
            && self.since.is_none_or(|since| letter.at >= since)
            && !letter.route().is_some_and(|route| self.others.iter().any(|other| *other.as_str() == *route))
    }
}
