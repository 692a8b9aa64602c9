//! Webhooks as all lanes share them: how to get to one, and what it takes to be let in there.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::{
    connect::network::{Network, Transport},
    notices::Notices,
};
use crate::{
    base::watched_file::{Watched, WatchedFiles},
    config::{Route, Webhook, header_in_file},
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
}

impl Surroundings {
    /// The webhook of a route with these settings.
    pub fn endpoint(&self, route: &Route) -> Endpoint {
        let Route { name, webhook, .. } = route;
        Endpoint {
            transport: self.network.transport(webhook),
            header_files: self.header_files(webhook),
            notices: Notices::of(name.clone()),
        }
    }

    fn header_files(&self, webhook: &Webhook) -> Vec<(HeaderName, Watched<HeaderValue>)> {
        let watch = |(name, path): &(HeaderName, PathBuf)| {
            let first = webhook.headers.get(name)?.clone();
            Some((name.clone(), self.files.watch(path, first, header_in_file)))
        };
        webhook.header_files.iter().filter_map(watch).collect()
    }
}
