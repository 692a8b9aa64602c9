//! Webhooks as all lanes share them: how to get to one, and what it takes to be let in there.

use super::{
    connect::network::{Network, Transport},
    notices::Notices,
};
use crate::{base::watched_file::WatchedFiles, config::Route};

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
    /// What is said about its messages.
    pub notices: Notices,
}

impl Surroundings {
    /// The webhook of a route with these settings.
    pub fn endpoint(&self, route: &Route) -> Endpoint {
        let Route { name, webhook, .. } = route;
        Endpoint { transport: self.network.transport(webhook), notices: Notices::of(name.clone()) }
    }
}
