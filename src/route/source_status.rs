//! Whether a route gets its messages on one lane: written by the source, read by health, readiness and logs.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::config::RouteName;

/// Whether the source of a route works on one lane.
#[derive(Debug)]
pub struct SourceStatus {
    route: RouteName,
    state: Mutex<SourceState>,
    /// What is not as it should be, and can be lived with.
    warnings: Mutex<Vec<String>>,
}

/// Where a source stands.
#[derive(Debug)]
pub enum SourceState {
    /// Not live since the start, and why, where that is known. Apart from [`Self::Failing`]: what goes live from
    /// here does so for the first time, and has not recovered.
    Starting(Option<String>),
    /// Messages come when there are any.
    Live,
    /// Not live any more, because of this.
    Failing(String),
    /// It takes nothing, as an operator wants it.
    Drained,
}

impl SourceStatus {
    /// The source of `route`, which is not live yet.
    pub const fn new(route: RouteName) -> Self {
        Self { route, state: Mutex::new(SourceState::Starting(None)), warnings: Mutex::new(Vec::new()) }
    }

    /// Why the route gets no messages, worded for operators; none where it gets them.
    pub fn reason(&self) -> Option<String> {
        self.trouble().map(|why| format!("route {}: {why}", self.route))
    }

    /// The same, where it is clear which route is meant.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            SourceState::Live | SourceState::Drained => None,
            SourceState::Starting(None) => Some("has not subscribed yet".to_owned()),
            SourceState::Starting(Some(why)) | SourceState::Failing(why) => Some(why.clone()),
        }
    }

    /// Whether the route gets its messages.
    pub fn is_live(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), SourceState::Live)
    }

    /// Whether it is known why it does not; a source that has only just begun has failed in nothing.
    pub fn has_failed(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*state, SourceState::Starting(Some(_)) | SourceState::Failing(_))
    }

    /// What is not as it should be though messages come, worded for operators.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.iter().map(|warning| format!("route {}: {warning}", self.route)).collect()
    }

    /// Takes note of all that is not as it should be. Returns what of it is news, for the log.
    pub fn warn(&self, warnings: Vec<String>) -> Vec<String> {
        let mut known = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let news = warnings.iter().filter(|warning| !known.contains(warning)).cloned().collect();
        *known = warnings;
        news
    }

    /// Takes note that it gets its messages from now on. Returns how it was before, for the log.
    pub fn went_live(&self) -> SourceState {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *state, SourceState::Live)
    }

    /// Whether it takes nothing, as an operator wants it.
    pub fn is_drained(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), SourceState::Drained)
    }

    /// Takes note that it takes nothing any more, as an operator wants it.
    pub fn drained(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = SourceState::Drained;
    }

    /// Takes note that it is to get its messages again.
    pub fn starts(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = SourceState::Starting(None);
    }

    /// Takes note that it does not get its messages because of `trouble`. False where the same trouble was known
    /// already: it comes back with each try, and is logged once.
    pub fn failed_by(&self, trouble: &dyn fmt::Display) -> bool {
        let text = trouble.to_string();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            SourceState::Starting(Some(known)) | SourceState::Failing(known) if *known == text => {
                return false;
            }
            SourceState::Starting(_) => *state = SourceState::Starting(Some(text)),
            SourceState::Live | SourceState::Failing(_) => *state = SourceState::Failing(text),
            // What keeps from taking what is not taken is no trouble.
            SourceState::Drained => return false,
        }
        true
    }
}
