//! What all routes of a process share to reach their webhooks: names that are known, whom to trust, and what there is
//! for connections.

use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, pki_types::ServerName};
use url::Host;

use super::{shortage::Shortage, tls::Trust};
use crate::{
    base::{
        clock::Time,
        network::resolver::{Name, Resolver},
    },
    config::{Webhook, WebhookTls, WebhookUrl},
};

/// The network as the process sees it.
#[derive(Debug, Default)]
pub struct Network {
    resolver: Resolver,
    trust: Trust,
    shortage: Arc<Shortage>,
}

/// How the bytes of a request get to a webhook. Only [`Network::transport`] makes one.
#[derive(Clone, Debug)]
pub struct Transport {
    pub(super) place: Place,
    /// For `https`: whom to trust, and what the certificate must be for.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) shortage: Arc<Shortage>,
}

impl Transport {
    /// Whether the process has been short of something for connections, to whatever webhook, a moment ago.
    pub fn is_short(&self, now: Time) -> bool {
        self.shortage.lasts(|| now)
    }
}

/// Where a webhook is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Address(std::net::IpAddr),
    Named(Arc<Name>),
}

impl Network {
    /// How to get to `webhook`.
    pub fn transport(&self, webhook: &Webhook) -> Transport {
        self.transport_to(&webhook.url, &webhook.tls)
    }

    /// How to get to `url`, trusting whom `tls` says.
    pub fn transport_to(&self, url: &WebhookUrl, tls: &WebhookTls) -> Transport {
        Transport {
            place: match url.host() {
                Host::Ipv4(address) => Place::Address((*address).into()),
                Host::Ipv6(address) => Place::Address((*address).into()),
                Host::Domain(name) => Place::Named(self.resolver.name(name)),
            },
            tls: url.server_name().map(|name| (self.trust.client_config(tls), name.clone())),
            shortage: Arc::clone(&self.shortage),
        }
    }
}
