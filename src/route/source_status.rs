//! Whether a route gets its messages on one lane, for whoever asks: health, logs.

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
}

/// Where a source stands.
#[derive(Debug)]
pub enum SourceState {
    /// Not live since the start; why, where that is known.
    Starting(Option<String>),
    /// Messages come when there are any.
    Live,
    /// Not live any more, because of this.
    Failing(String),
}

impl SourceStatus {
    /// Not live yet.
    pub const fn new(route: RouteName) -> Self {
        Self { route, state: Mutex::new(SourceState::Starting(None)) }
    }

    /// Why the route gets no messages, if it gets none.
    pub fn reason(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match &*state {
            SourceState::Live => return None,
            SourceState::Starting(None) => "has not subscribed yet",
            SourceState::Starting(Some(why)) | SourceState::Failing(why) => why,
        };
        Some(format!("route {}: {why}", self.route))
    }

    /// From now on it gets its messages. How it was before.
    pub fn went_live(&self) -> SourceState {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *state, SourceState::Live)
    }

    /// It does not get its messages, because of this. Whether that is news.
    pub fn has_trouble(&self, trouble: &dyn fmt::Display) -> bool {
        let text = trouble.to_string();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            SourceState::Starting(Some(known)) | SourceState::Failing(known) if *known == text => {
                return false;
            }
            SourceState::Starting(_) => *state = SourceState::Starting(Some(text)),
            SourceState::Live | SourceState::Failing(_) => *state = SourceState::Failing(text),
        }
        true
    }
}
