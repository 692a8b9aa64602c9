//! Holding a route: on all replicas where there is a bucket, else in this process.

use std::sync::Arc;

use serde::Serialize;

use super::store::{Store, StoreError};
use crate::{
    config::RouteName,
    route::{hold::Hold, registry::Registry},
};

/// Holds routes and releases them, as far as this process reaches.
pub struct Fleet {
    registry: Arc<Registry>,
    store: Option<Store>,
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
    /// Holds go to `registry`, and to the bucket in `store`, where there is one.
    pub const fn new(registry: Arc<Registry>, store: Option<Store>) -> Self {
        Self { registry, store }
    }

    /// The bucket, where there is one.
    pub const fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Holds the route of this name. Here that counts at once.
    ///
    /// # Errors
    /// The bucket did not take it. Nothing is held then.
    pub async fn hold(&self, name: &RouteName, hold: Hold) -> Result<Reach, StoreError> {
        let reach = match &self.store {
            Some(store) => store.hold(name, &hold).await.map(|_revision| Reach::Fleet)?,
            None => Reach::Process,
        };
        self.registry.hold(name, hold);
        Ok(reach)
    }

    /// Lets the route of this name go on.
    ///
    /// # Errors
    /// The bucket did not take it. The route is held as before then.
    pub async fn release(&self, name: &RouteName) -> Result<Reach, StoreError> {
        let reach = match &self.store {
            Some(store) => store.release(name).await.map(|_revision| Reach::Fleet)?,
            None => Reach::Process,
        };
        self.registry.release(name);
        Ok(reach)
    }
}
