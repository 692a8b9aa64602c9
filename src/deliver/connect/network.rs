//! What all routes of a process share to reach their webhooks: names that are known, whom to trust, and what there is
//! for connections.

use std::sync::Arc;

use tokio_rustls::rustls::pki_types::ServerName;
use url::Host;

use super::{
    proxy::Proxy,
    shortage::Shortage,
    tls::{Encryption, Offer, Trust},
};
use crate::{
    base::{
        clock::Time,
        network::resolver::{Name, Resolver},
        watched_file::WatchedFiles,
    },
    config::{Egress, Webhook, WebhookTls, WebhookUrl},
};

/// What is known of the network, once for all routes: names, authorities, shortages.
#[derive(Debug, Default)]
pub struct Network {
    resolver: Resolver,
    trust: Trust,
    shortage: Arc<Shortage>,
}

/// How the bytes of a request get to a webhook. Only [`Network`] makes one.
#[derive(Clone, Debug)]
pub struct Transport {
    /// What is connected to: the webhook, or the proxy before it.
    pub(super) place: Place,
    /// The proxy, where it is that.
    pub(super) proxy: Option<Arc<Proxy>>,
    /// What may not be connected to; none where anything may.
    pub(super) guard: Option<Arc<Egress>>,
    /// For `https`: whom to trust, and what the certificate must be for.
    pub(super) tls: Option<(Encryption, ServerName<'static>)>,
    pub(super) shortage: Arc<Shortage>,
}

impl Transport {
    /// Whether the process has been short of something for connections, to whatever webhook, a moment ago.
    pub fn is_short(&self, now: Time) -> bool {
        self.shortage.lasts(|| now)
    }
}

/// The host that is dialed: an address, or a name to look up.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Address(std::net::IpAddr),
    Named(Arc<Name>),
}

impl Network {
    /// The way to the address of `webhook`, by its own settings of `egress` and `tls`.
    pub fn transport(&self, webhook: &Webhook, files: &WatchedFiles) -> Transport {
        self.transport_offering(Offer::of(webhook.http), &webhook.url, &webhook.egress, &webhook.tls, files)
    }

    /// How to get to `url` by the rules of `egress`, trusting whom `tls` says. HTTP/1.1 is spoken there.
    pub fn transport_to(
        &self,
        url: &WebhookUrl,
        egress: &Egress,
        tls: &WebhookTls,
        files: &WatchedFiles,
    ) -> Transport {
        self.transport_offering(Offer::Nothing, url, egress, tls, files)
    }

    fn transport_offering(
        &self,
        offer: Offer,
        url: &WebhookUrl,
        egress: &Egress,
        tls: &WebhookTls,
        files: &WatchedFiles,
    ) -> Transport {
        let to = |tls: &WebhookTls, offer, name: &ServerName<'static>| {
            (self.trust.encryption(tls, offer, files), name.clone())
        };
        // Where a proxy connects, it is the proxy that has to know what it may connect to.
        let (place, proxy, guard) = match egress.proxy(url) {
            Some(proxy) => {
                // It is somebody else than the webhook: it is always verified, and need not know who we are there.
                let of_proxy = WebhookTls { client: None, accept_any: false, ..tls.clone() };
                let tls = proxy.server_name().map(|name| to(&of_proxy, Offer::Nothing, name));
                (self.place(proxy.host()), Some(Arc::new(Proxy::new(proxy, tls))), None)
            }
            None => (self.place(url.host()), None, egress.deny_private.then(|| Arc::new(egress.clone()))),
        };
        let shortage = Arc::clone(&self.shortage);
        Transport { place, proxy, guard, tls: url.server_name().map(|name| to(tls, offer, name)), shortage }
    }

    fn place(&self, host: &Host) -> Place {
        match host {
            Host::Ipv4(address) => Place::Address((*address).into()),
            Host::Ipv6(address) => Place::Address((*address).into()),
            Host::Domain(name) => Place::Named(self.resolver.name(name)),
        }
    }
}
