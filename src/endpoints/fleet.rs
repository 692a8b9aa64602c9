//! Holding a route: on all replicas where there is a bucket, else in this process.

use std::sync::Arc;

use serde::Serialize;

use super::{
    status::Status,
    store::{Store, StoreError},
};
use crate::{
    config::RouteName,
    route::{hold::Hold, registry::Registry},
};

/// Holds routes and releases them, as far as this process reaches.
pub struct Fleet {
    registry: Arc<Registry>,
    /// The bucket, and how far it is followed here.
    bucket: Option<(Store, Arc<Status>)>,
}

/// For whom something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// All replicas that follow the bucket, and those that will.
    Fleet,
    /// This process alone, until it ends: there is no bucket.
    Process,
}

impl Fleet {
    /// Holds go to `registry`, and to the bucket in the store, where there is one, of which the status knows how far it is followed.
    pub const fn new(registry: Arc<Registry>, bucket: Option<(Store, Arc<Status>)>) -> Self {
        Self { registry, bucket }
    }

    /// The bucket, where there is one.
    pub fn store(&self) -> Option<&Store> {
        self.bucket.as_ref().map(|(store, _)| store)
    }

    /// Holds the route of this name. Here that counts at once.
    ///
    /// # Errors
    /// The bucket did not take it. Nothing is held then.
    pub async fn hold(&self, name: &RouteName, hold: Hold) -> Result<Reach, StoreError> {
        let Some((store, status)) = &self.bucket else {
            self.registry.hold(name, hold);
            return Ok(Reach::Process);
        };
        let before = status.heard();
        let revision = store.hold(name, &hold).await?;
        if is_news(revision, before, status) {
            self.registry.hold(name, hold);
        }
        Ok(Reach::Fleet)
    }

    /// Lets the route of this name go on.
    ///
    /// # Errors
    /// The bucket did not take it. The route is held as before then.
    pub async fn release(&self, name: &RouteName) -> Result<Reach, StoreError> {
        let Some((store, status)) = &self.bucket else {
            self.registry.release(name);
            return Ok(Reach::Process);
        };
        let before = status.heard();
        let revision = store.release(name).await?;
        if is_news(revision, before, status) {
            self.registry.release(name);
        }
        Ok(Reach::Fleet)
    }
}

/// Whether what was written as this `revision` is to count here before it is heard of: the bucket had been followed up to `before` by
/// then. Where it is followed beyond that already, another replica may have written something else since: that has the last word.
fn is_news(revision: u64, before: Option<u64>, status: &Status) -> bool {
    // Revisions grow: this is another bucket, made anew in the place of the one that was followed, which is not noticed at once.
    let is_another = before.is_some_and(|before| revision <= before);
    is_another || status.heard().is_none_or(|heard| heard < revision)
}
