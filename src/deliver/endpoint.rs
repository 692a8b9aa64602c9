//! Webhooks as all lanes share them: how to get to one, and what it takes to be let in there.

use std::sync::Arc;

use super::{
    connect::network::{Network, Transport},
    sign::Signer,
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
    /// What signs its requests; none where they are not signed.
    pub(super) signer: Option<Arc<Signer>>,
}

impl Surroundings {
    /// The webhook of a route with these settings.
    pub fn endpoint(&self, route: &Route) -> Endpoint {
        let Route { webhook, .. } = route;
        let signer = webhook.signing.as_ref().map(|signing| Arc::new(Signer::new(signing, &self.files)));
        Endpoint { transport: self.network.transport(webhook), signer }
    }
}
