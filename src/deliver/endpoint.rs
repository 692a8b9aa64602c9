//! Webhooks as all lanes share them: how to get to one, and what it takes to be let in there.

use super::connect::network::{Network, Transport};
use crate::{base::watched_file::WatchedFiles, config::Webhook};

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
}

impl Surroundings {
    /// The webhook with these settings.
    pub fn endpoint(&self, webhook: &Webhook) -> Endpoint {
        Endpoint { transport: self.network.transport(webhook, &self.files) }
    }
}
