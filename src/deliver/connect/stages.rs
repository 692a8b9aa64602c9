//! How long it took to open a connection, stage by stage, for whoever looks at a single request.

use std::time::Duration;

/// How long each stage took of opening a connection; those that it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Looking up the name; none where there is none to look up.
    pub name: Option<Duration>,
    /// Connecting to the first address that answered.
    pub connect: Option<Duration>,
    /// Having a proxy make a tunnel, where there is one.
    pub proxy: Option<Duration>,
    /// The TLS handshake, where the webhook is https.
    pub tls: Option<Duration>,
}

impl Stages {
    /// Those that there were, each with its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = [("name", self.name), ("connect", self.connect), ("proxy", self.proxy), ("tls", self.tls)];
        all.into_iter().filter_map(|(name, took)| Some((name, took?)))
    }
}
