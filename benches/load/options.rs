//! The options of this bench. Their doc comments are its help text.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::link::Link;

/// Puts the daemon under load and says what each message costs.
///
/// Without options it measures everything that docs/performance.md states. With --webhook it sizes a deployment: the
/// daemon delivers to your own receiver, and the figures are the daemon's own.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What to measure, comma-separated; by default all but `pod`
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::ordinary())]
    pub(crate) scenario: Vec<Scenario>,

    /// Messages in each run of the scenarios that go as fast as they can
    #[arg(long, default_value_t = 200_000)]
    pub(crate) messages: usize,

    /// Bytes in each message
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,

    /// Requests at the same time
    #[arg(long, default_value_t = 64)]
    pub(crate) concurrency: usize,

    /// Lanes (threads) of the daemon
    #[arg(long, default_value_t = 1)]
    pub(crate) lanes: usize,

    /// Messages a second in the scenarios that are paced
    #[arg(long, default_value_t = 1_000)]
    pub(crate) rate: usize,

    /// How often each run is repeated; medians are shown
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,

    /// POST to this receiver instead of the built-in one
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,

    /// Use this NATS server instead of one of its own, with user and password in the URL where it asks for them
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,

    /// Put the built-in receiver into a network namespace of its own, behind a pair of virtual cards; needs root
    #[arg(long)]
    pub(crate) veth: bool,

    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draw the figures to this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,

    /// Cargo says this.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// As fast as messages can be delivered
    Burst,
    /// The same, a million messages
    Million,
    /// The same over TLS
    Tls,
    /// The same with twice the lanes
    Lanes,
    /// The same divided among 32 routes
    Routes,
    /// The same over 1,024 connections
    Connections,
    /// The same over HTTP/2, also over TLS, out of a stream, and with more and fewer requests at the same time
    Http2,
    /// The same with a hundred messages in each request
    Batches,
    /// Out of a stream, with acknowledgements (durable mode)
    Durable,
    /// At a steady pace: the time from publishing to receiving
    Latency,
    /// A receiver that takes 50 ms for each message
    Slow,
    /// A receiver that answers 503 for five seconds
    Outage,
    /// A million messages at once, far more than can be delivered
    Flood,
    /// Memory with full queues, while the receiver is down
    Standing,
    /// As fast as it can, while 200 clients follow the events of the status, and while 1,000 read its answers slowly; each
    /// beside the same crowd at another server
    Crowd,
    /// With a tenth of a core, as the pod of the manifests: as fast as it can, and at several steady paces; needs root
    Pod,
}

impl Scenario {
    /// Those that need no permissions.
    fn ordinary() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|&scenario| scenario != Self::Pod).collect()
    }

    /// Whether it is only for the built-in receiver: because that has to do as it is told, or because nobody would like
    /// to have it done to theirs.
    const fn is_for_the_built_in_receiver(self) -> bool {
        matches!(
            self,
            Self::Million
                | Self::Tls
                | Self::Http2
                | Self::Batches
                | Self::Slow
                | Self::Outage
                | Self::Flood
                | Self::Standing
        )
    }
}

impl Options {
    /// What is between the daemon and the built-in receiver.
    pub(crate) const fn link(&self) -> Link {
        if self.veth { Link::Veth } else { Link::Loopback }
    }

    /// The scenarios that were asked for: those that can be measured, and those that can't with a receiver of the user's.
    pub(crate) fn scenarios(&self) -> (Vec<Scenario>, Vec<Scenario>) {
        let own = self.webhook.is_some();
        self.scenario.iter().partition(|scenario| !own || !scenario.is_for_the_built_in_receiver())
    }
}
