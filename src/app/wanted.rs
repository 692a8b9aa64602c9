//! The routes that should run, by who decides: the configuration, and the bucket of endpoints where there is one.

use std::{mem, sync::Arc};

use crate::{
    config::{Config, Route},
    endpoints::{Catalogue, Changes, Status},
};

/// The routes that should run.
#[derive(Default)]
pub(super) struct Wanted {
    configured: Vec<Arc<Route>>,
    bucket: Option<Bucket>,
}

struct Bucket {
    catalogue: Catalogue,
    status: Arc<Status>,
    routes: Vec<Arc<Route>>,
}

impl Wanted {
    /// Those of `config`, which are taken out of it, and later those of its bucket.
    pub(super) fn of(config: &mut Config) -> Self {
        let bucket = |endpoints: &crate::config::Endpoints| Bucket {
            catalogue: Catalogue::new(endpoints.max_routes),
            status: Arc::default(),
            routes: Vec::new(),
        };
        let configured = mem::take(&mut config.routes).into_iter().map(Arc::new).collect();
        Self { configured, bucket: config.endpoints.as_ref().map(bucket) }
    }

    /// What is known of the bucket, where there is one.
    pub(super) fn status(&self) -> Option<&Arc<Status>> {
        self.bucket.as_ref().map(|bucket| &bucket.status)
    }

    /// Takes the routes of another configuration for those of the former one.
    pub(super) fn configure(&mut self, routes: Vec<Route>) {
        self.configured = routes.into_iter().map(Arc::new).collect();
        self.resolve();
    }

    /// Takes note of what has changed in the bucket.
    pub(super) fn take(&mut self, changes: Changes) {
        if let Some(bucket) = &mut self.bucket {
            bucket.catalogue.take(changes);
        }
        self.resolve();
    }

    fn resolve(&mut self) {
        if let Some(Bucket { catalogue, status, routes }) = &mut self.bucket {
            let resolved = catalogue.resolve(&self.configured);
            *routes = resolved.routes;
            status.resolved(resolved.states);
        }
    }

    /// All of them.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.configured.iter().chain(self.bucket.iter().flat_map(|bucket| &bucket.routes))
    }
}
