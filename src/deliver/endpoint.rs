//! Webhooks as all lanes share them: how to get to one, and what it takes to be let in there.

use super::{
    connect::network::{Network, Transport},
    login::Login,
};
use crate::{
    base::{clock::Clock, watched_file::WatchedFiles},
    config::Route,
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
    /// What it logs in with, where it does.
    pub login: Option<Login>,
}

impl Surroundings {
    /// The webhook of the route with these settings. One that logs in with tokens needs a runtime that takes local tasks.
    pub fn endpoint(&self, route: &Route, clock: Clock) -> Endpoint {
        Endpoint {
            transport: self.network.transport(&route.webhook),
            login: Login::of(route, &self.files, &self.network, clock),
        }
    }
}
