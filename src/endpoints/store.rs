//! Reading and writing the bucket, for whoever changes it: a command or the API.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use super::{
    key::{Key, Keys},
    state::FleetState,
    watch::{Trouble, Watch, new_consumer},
};
use crate::{
    config::{ConfigErrors, Endpoints, RouteName},
    message::{HeaderBlock, header_names::nats as names},
    nats::{
        Connection, Outgoing, PublishError, Replies,
        jetstream::{NO_RESPONDERS, Refusal},
    },
    route::hold::Hold,
};

/// How long the bucket may take to take a value.
const PATIENCE: Duration = Duration::from_secs(5);
/// `JSStreamWrongLastSequenceErr`.
const WRONG_REVISION: u64 = 10_071;

/// The bucket could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The value is no route. Nothing was written.
    #[error("{0}")]
    Mistakes(ConfigErrors),
    /// Somebody else has written the key since. Nothing was written.
    #[error("the route was changed meanwhile: look at it again")]
    Changed,
    /// There is nothing to remove.
    #[error("the bucket has no route of this name; one of the configuration's file is removed there")]
    Absent,
    /// The bucket can't be read.
    #[error(transparent)]
    Watch(#[from] Trouble),
    /// The bucket says no. Nothing was written.
    #[error("the bucket refuses it: {0}")]
    Refused(String),
    /// It was not asked. Nothing was written.
    #[error("the bucket was not asked: {0}")]
    Unsent(PublishError),
    /// The user may not write it. Nothing was written.
    #[error("the NATS user needs the permission to publish to {0}")]
    Forbidden(String),
    /// It may be written or not.
    #[error("the bucket does not answer: it may be written or not")]
    Silence,
}

/// A route as it stands in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: RouteName,
    /// The revision of its value.
    pub revision: u64,
    /// The value as it was written, secrets included.
    pub value: Bytes,
}

/// The bucket, to be read and written over a connection. Needs a runtime that takes local tasks.
pub struct Store {
    endpoints: Endpoints,
    keys: Keys,
    connection: Connection,
}

impl Store {
    /// The bucket of `endpoints`.
    pub fn over(connection: &Connection, endpoints: &Endpoints) -> Self {
        Self { keys: Keys::of(endpoints), endpoints: endpoints.clone(), connection: connection.clone() }
    }

    /// All routes, sorted by name.
    ///
    /// # Errors
    /// The bucket can't be read.
    pub async fn list(&self) -> Result<Vec<Stored>, StoreError> {
        self.read(self.keys.subjects()).await
    }

    /// The routes among the values of `subjects`, sorted by name.
    async fn read(&self, subjects: Vec<String>) -> Result<Vec<Stored>, StoreError> {
        let mut watch = Watch::open(&self.connection, &self.keys, subjects, &new_consumer(), false).await?;
        let mut found = BTreeMap::new();
        while !watch.is_caught_up() {
            for news in watch.next().await?.news {
                let Key::Route(name) = news.key else { continue };
                if let Some(value) = news.value {
                    found.insert(name.clone(), Stored { name, revision: news.revision, value });
                } else {
                    found.remove(&name);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The route of this name; none where there is none.
    ///
    /// # Errors
    /// The bucket can't be read.
    pub async fn get(&self, name: &RouteName) -> Result<Option<Stored>, StoreError> {
        Ok(self.read(vec![self.keys.subject(&Key::Route(name.clone()))]).await?.pop())
    }

    /// Writes `value` as the route of this name, where it is one. With `expected`, only where that revision is there still
    /// (0: where there is none). Returns the revision that it has now.
    ///
    /// # Errors
    /// It has mistakes, or the bucket did not take it.
    pub async fn put(
        &self,
        name: &RouteName,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<u64, StoreError> {
        let key = Key::Route(name.clone());
        self.endpoints.route(name, value, &self.keys.name(&key), 0).map_err(StoreError::Mistakes)?;
        self.set(&key, Some(value), expected).await
    }

    /// Removes the route of this name. Returns the revision of that.
    ///
    /// # Errors
    /// There is none, or the bucket did not take it.
    pub async fn remove(&self, name: &RouteName) -> Result<u64, StoreError> {
        if self.get(name).await?.is_none() {
            return Err(StoreError::Absent);
        }
        self.set(&Key::Route(name.clone()), None, None).await
    }

    /// Has all replicas hold the route of this name. Returns the revision of that.
    ///
    /// # Errors
    /// The bucket did not take it.
    pub async fn hold(&self, name: &RouteName, hold: &Hold) -> Result<u64, StoreError> {
        self.set_state(name, Some(&FleetState { held: Some(hold.clone()), gone: None }), None).await
    }

    /// Has all replicas let the route of this name go on. Returns the revision of that.
    ///
    /// # Errors
    /// The bucket did not take it.
    pub async fn release(&self, name: &RouteName) -> Result<u64, StoreError> {
        self.set_state(name, None, None).await
    }

    /// Writes what the fleet knows of the route of this name, or that it knows nothing. With `expected`, only where that
    /// revision is there still.
    pub(super) async fn set_state(
        &self,
        name: &RouteName,
        state: Option<&FleetState>,
        expected: Option<u64>,
    ) -> Result<u64, StoreError> {
        let key = Key::State(name.clone());
        let value = state.map(serde_json::to_vec).transpose();
        let value = value.map_err(|error| StoreError::Refused(error.to_string()))?;
        self.set(&key, value.as_deref(), expected).await
    }

    /// Writes a value, or removes it. With `expected`, only where that revision is there still (0: where there is none).
    pub(super) async fn set(
        &self,
        key: &Key,
        value: Option<&[u8]>,
        expected: Option<u64>,
    ) -> Result<u64, StoreError> {
        let mut headers = HeaderBlock::new();
        if let Some(expected) = expected {
            headers.put(names::EXPECTED_REVISION, expected.to_string());
        }
        if value.is_none() {
            headers.put(names::BUCKET_OPERATION, "DEL");
        }
        self.write(key, &headers, value.unwrap_or_default()).await
    }

    async fn write(&self, key: &Key, headers: &HeaderBlock, value: &[u8]) -> Result<u64, StoreError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            seq: u64,
            error: Option<Refusal>,
        }

        let subject = self.keys.subject(key);
        let mut replies = Replies::over(&self.connection);
        let (_, reply) = replies.expect();
        let message = Outgoing { headers: Some(headers), ..Outgoing::new(&subject, value) };
        let refusals = || self.connection.state().refused_publications(&subject);
        let before = refusals();
        let published = self.connection.publish(message.replying_to(&reply));
        published.map_err(|error| match error {
            PublishError::TooLarge => StoreError::Refused(error.to_string()),
            PublishError::Disconnected | PublishError::Full => StoreError::Unsent(error),
        })?;
        let Ok((_, answer)) = timeout(PATIENCE, replies.next()).await else {
            return Err(if refusals() > before {
                StoreError::Forbidden(subject)
            } else {
                StoreError::Silence
            });
        };
        if answer.status() == Some(NO_RESPONDERS) {
            return Err(Trouble::Missing(self.keys.bucket().as_str().to_owned()).into());
        }
        match serde_json::from_slice(&answer.payload()) {
            Ok(Answer { error: Some(refusal), .. }) if refusal.err_code == WRONG_REVISION => {
                Err(StoreError::Changed)
            }
            Ok(Answer { error: Some(refusal), .. }) => Err(StoreError::Refused(refusal.description)),
            Ok(Answer { seq, .. }) if seq > 0 => Ok(seq),
            Ok(_) | Err(_) => Err(StoreError::Silence),
        }
    }
}
