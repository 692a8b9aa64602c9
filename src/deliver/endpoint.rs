//! Webhooks as all lanes share them: how to get to one, and what it takes to be let in there.

use std::{path::PathBuf, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    connect::network::{Network, Transport},
    login::Login,
    notices::Notices,
    sign::Signer,
    spoken::Spoken,
};
use crate::{
    base::{
        clock::Clock,
        watched_file::{Watched, WatchedFiles},
    },
    config::{Route, header_in_file},
};

/// What the webhooks of a process have in common: the network, and the files that settings name.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The network.
    pub network: Network,
    /// The files.
    pub files: WatchedFiles,
}

/// One webhook, for all lanes. Clones are of the same one.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// How the bytes of a request get there.
    pub transport: Transport,
    /// The headers whose values stand in files.
    pub header_files: Vec<(HeaderName, Watched<HeaderValue>)>,
    /// What is said about its messages.
    pub notices: Notices,
    /// What it is logged in to with, where it is.
    pub login: Option<Login>,
    /// Which HTTP it speaks, where that is its choice.
    pub spoken: Spoken,
    /// What signs its requests; none where they are not signed.
    pub(super) signer: Option<Arc<Signer>>,
}

impl Surroundings {
    /// The webhook of a route with these settings. One that is logged in to with tokens needs a runtime that takes local
    /// tasks.
    pub fn endpoint(&self, route: &Route, clock: Clock) -> Endpoint {
        let Route { name, webhook, .. } = route;
        Endpoint {
            transport: self.network.transport(webhook, &self.files),
            header_files: self.header_files(&webhook.headers, &webhook.header_files),
            notices: Notices::of(name.clone()),
            login: Login::of(route, &self.files, &self.network, clock),
            spoken: Spoken::default(),
            signer: webhook.signing.as_ref().map(|signing| Arc::new(Signer::new(signing, &self.files))),
        }
    }

    /// Those of `headers` whose values stand in `files`.
    pub fn header_files(
        &self,
        headers: &HeaderMap,
        files: &[(HeaderName, PathBuf)],
    ) -> Vec<(HeaderName, Watched<HeaderValue>)> {
        let watch = |(name, path): &(HeaderName, PathBuf)| {
            let first = headers.get(name)?.clone();
            Some((name.clone(), self.files.watch(path, first, header_in_file)))
        };
        files.iter().filter_map(watch).collect()
    }
}
