//! Tells whoever has written a value what came of it, in the bucket itself: `status.NAME`. Who may write a bucket need not reach
//! the log or the port of a replica.
//!
//! All replicas may do so, and each writes only where that has not been done: over the revision that it has seen, so that of
//! several at the same time one succeeds, and only when something changes for itself. What another one writes leads to nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::{
    catalogue::{Standing, State},
    key::{Key, Keys},
    status::Status,
    store::{Store, StoreError},
    watch::{Batch, Trouble, Watch, new_consumer},
};
use crate::{
    config::{Endpoints, RouteName},
    nats::Connection,
};

/// How soon to try again what has failed.
const AGAIN: Duration = Duration::from_secs(5);
/// How long changes are gathered before something is said of them.
const GATHER: Duration = Duration::from_millis(100);
/// After so many that were written it is looked at what others have written meanwhile.
const MOST: usize = 64;
/// How many mistakes are told of a value, and how many characters of each.
const MISTAKES: (usize, usize) = (16, 400);

/// Writes what came of values.
pub(super) struct Notices {
    keys: Keys,
    connection: Connection,
    store: Store,
    status: Arc<Status>,
    /// What stands in the bucket: the revision of each key, and its value where it has one.
    written: HashMap<RouteName, (u64, Option<Bytes>)>,
    /// What this replica has told of, or has found to be told.
    told: HashMap<RouteName, State>,
    is_refused: bool,
}

/// The value of a `status.NAME`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Notice {
    /// Of which revision of the value this is said.
    revision: u64,
    /// `active`, `overridden` or `refused`.
    state: Word,
    /// Whether the value before it runs on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    former_runs: bool,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Active,
    Overridden,
    Refused,
}

impl From<&State> for Notice {
    fn from(state: &State) -> Self {
        let revision = state.revision;
        let plain = |state| Self { revision, state, former_runs: false, problems: Vec::new() };
        match &state.standing {
            Standing::Active => plain(Word::Active),
            Standing::Overridden => plain(Word::Overridden),
            Standing::Refused { problems, former_runs } => {
                let short = |problem: &String| problem.chars().take(MISTAKES.1).collect();
                let problems = problems.iter().take(MISTAKES.0).map(short).collect();
                Self { former_runs: *former_runs, problems, ..plain(Word::Refused) }
            }
        }
    }
}

impl Notices {
    /// For the bucket of `endpoints`, of whose values `status` knows what came of them.
    pub(super) fn new(connection: &Connection, endpoints: &Endpoints, status: &Arc<Status>) -> Self {
        Self {
            keys: Keys::of(endpoints),
            connection: connection.clone(),
            store: Store::over(connection, endpoints),
            status: Arc::clone(status),
            written: HashMap::new(),
            told: HashMap::new(),
            is_refused: false,
        }
    }

    /// Goes on for ever. Nothing waits for it.
    pub(super) async fn run(mut self) {
        loop {
            self.connection.state().connected().await;
            let mut changes = self.connection.state().changes();
            match self.follow().await {
                // Another connection may be another user.
                Err(StoreError::Forbidden(subject) | StoreError::Watch(Trouble::Forbidden(subject))) => {
                    if !std::mem::replace(&mut self.is_refused, true) {
                        warn!(
                            subject,
                            "what comes of values is not written beside them: the NATS user may not publish to this"
                        );
                    }
                    drop(changes.changed().await);
                }
                Err(error) => debug!(%error, "what comes of values can't be written beside them at present"),
                Ok(()) => {}
            }
            sleep(AGAIN).await;
        }
    }

    async fn follow(&mut self) -> Result<(), StoreError> {
        let (connection, keys) = (self.connection.clone(), self.keys.clone());
        let mut watch = Watch::open(&connection, &keys, keys.statuses(), &new_consumer(), false).await?;
        self.written.clear();
        while !watch.is_caught_up() {
            let batch = watch.next().await?;
            self.take_note(batch);
        }
        // What was told in a bucket that was made anew since is to be told again.
        let written = &self.written;
        self.told.retain(|name, _| written.get(name).is_some_and(|(_, value)| value.is_some()));
        let mut changes = self.status.changes();
        changes.mark_changed();
        loop {
            tokio::select! {
                batch = watch.next() => {
                    let batch = batch?;
                    self.take_note(batch);
                }
                _ = changes.changed() => {
                    sleep(GATHER).await;
                    if self.tell_some().await? {
                        changes.mark_changed();
                    }
                }
            }
        }
    }

    fn take_note(&mut self, batch: Batch) {
        for news in batch.news {
            if let Key::Status(name) = news.key {
                self.written.insert(name, (news.revision, news.value));
            }
        }
    }

    /// Writes some of what is to be told. Returns whether there is more.
    async fn tell_some(&mut self) -> Result<bool, StoreError> {
        // Before the bucket is read, nothing is known of its values.
        if self.status.revision().is_none() {
            return Ok(false);
        }
        let states = self.status.states();
        let mut room = MOST;
        for (name, state) in states.iter() {
            if room == 0 {
                return Ok(true);
            }
            if self.told.get(name) != Some(state) {
                room -= usize::from(self.tell(name, state).await?);
            }
        }
        let is_left = |name: &RouteName| !states.contains_key(name);
        let left = self.written.iter().filter(|(name, (_, value))| value.is_some() && is_left(name));
        let left: Vec<_> = left.map(|(name, _)| name.clone()).take(room).collect();
        for name in &left {
            self.write(name, None).await?;
        }
        self.told.retain(|name, _| !is_left(name));
        Ok(left.len() == room)
    }

    /// Tells what came of a value, where nobody has. Returns whether something was written.
    async fn tell(&mut self, name: &RouteName, state: &State) -> Result<bool, StoreError> {
        let notice = Notice::from(state);
        let there = self.written.get(name).and_then(|(_, value)| value.as_ref());
        let there = there.and_then(|value| serde_json::from_slice::<Notice>(value).ok());
        // Replicas that were started at different times may differ, since whoever was there first stays. Of what one of them has
        // found before this one began, nothing is changed by that.
        let is_first = !self.told.contains_key(name);
        let is_told =
            there.is_some_and(|there| there == notice || is_first && there.revision == notice.revision);
        if !is_told {
            let value =
                serde_json::to_vec(&notice).map_err(|error| StoreError::Refused(error.to_string()))?;
            match self.write(name, Some(value)).await {
                // It is too large for this bucket, say. That keeps no other one from being told.
                Err(StoreError::Refused(why)) => {
                    let route = name.as_str();
                    warn!(route, why, "what came of a value is not written beside it: the bucket refuses it");
                }
                written => written?,
            }
        }
        self.told.insert(name.clone(), state.clone());
        Ok(!is_told)
    }

    async fn write(&mut self, name: &RouteName, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        let revision = self.written.get(name).map_or(0, |(revision, _)| *revision);
        let key = Key::Status(name.clone());
        match self.store.set(&key, value.as_deref(), Some(revision)).await {
            Ok(revision) => {
                self.written.insert(name.clone(), (revision, value.map(Into::into)));
                Ok(())
            }
            // Another replica was faster.
            Err(StoreError::Changed) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_what_came_of_a_value_and_is_bounded() {
        let text = |standing| serde_json::to_string(&Notice::from(&State { revision: 7, standing })).unwrap();
        assert_eq!(text(Standing::Active), r#"{"revision":7,"state":"active"}"#);
        assert_eq!(text(Standing::Overridden), r#"{"revision":7,"state":"overridden"}"#);
        let problems = Arc::from(["no url".to_owned()]);
        assert_eq!(
            text(Standing::Refused { problems, former_runs: true }),
            r#"{"revision":7,"state":"refused","former_runs":true,"problems":["no url"]}"#
        );
        let problems = (0..1_000).map(|_| "é".repeat(10_000)).collect();
        assert!(text(Standing::Refused { problems, former_runs: false }).len() < 16 << 10);
    }
}
