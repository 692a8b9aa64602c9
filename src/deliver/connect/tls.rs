//! Whom to trust when a webhook is reached by https, and what to show to it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer},
};
use tracing::{error, warn};

use crate::{
    base::{
        network::trust::{self, trusting, trusting_anybody},
        watched_file::{Watched, WatchedFiles},
    },
    config::{Authorities, CertifiedPair, HttpVersion, WebhookTls},
};

/// The certificate authorities that every route trusts, read when the first route needs them.
#[derive(Debug, Default)]
pub(super) struct Trust {
    roots: OnceLock<Arc<RootCertStore>>,
    /// The configurations of all routes that trust nobody else, by what they offer. Shared, because some hundred
    /// authorities take a lot of memory.
    common: [OnceLock<Arc<ClientConfig>>; 3],
}

/// What a webhook is offered to speak (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Nothing is said, which means HTTP/1.1.
    Nothing,
    /// HTTP/2, and HTTP/1.1.
    Either,
    /// HTTP/2.
    Http2,
}

impl Offer {
    /// That of a webhook with this setting.
    pub(super) const fn of(http: HttpVersion) -> Self {
        match http {
            HttpVersion::Auto => Self::Either,
            HttpVersion::Http1 => Self::Nothing,
            HttpVersion::Http2 => Self::Http2,
        }
    }

    fn protocols(self) -> Vec<Vec<u8>> {
        let protocols: &[&[u8]] = match self {
            Self::Nothing => &[],
            Self::Either => &[b"h2", b"http/1.1"],
            Self::Http2 => &[b"h2"],
        };
        protocols.iter().map(|protocol| protocol.to_vec()).collect()
    }

    fn made(self, mut config: ClientConfig) -> Arc<ClientConfig> {
        config.alpn_protocols = self.protocols();
        Arc::new(config)
    }
}

/// How connections are encrypted that are opened from now on.
#[derive(Clone, Debug)]
pub(super) enum Encryption {
    /// Names no files, and so never changes.
    Fixed(Arc<ClientConfig>),
    /// Follows the files of authorities and of the client's certificate.
    Renewed(Arc<Renewed>),
}

#[derive(Debug)]
pub(super) struct Renewed {
    /// Authorities that are trusted beside those of the file; none where anybody is.
    roots: Option<Arc<RootCertStore>>,
    authorities: Option<Watched<Vec<CertificateDer<'static>>>>,
    client: Option<Watched<CertifiedPair>>,
    offer: Offer,
    made: Mutex<Made>,
}

/// What was made last, and of what: it is made again when there is something else in the files.
#[derive(Debug)]
struct Made {
    of: Contents,
    config: Arc<ClientConfig>,
}

#[derive(Clone, Debug)]
struct Contents {
    authorities: Option<Arc<Vec<CertificateDer<'static>>>>,
    client: Option<Arc<CertifiedPair>>,
}

impl Trust {
    /// How the connections of a route are encrypted that has these settings, and may trust others beside the common
    /// authorities, or instead of them.
    pub(super) fn encryption(&self, tls: &WebhookTls, offer: Offer, files: &WatchedFiles) -> Encryption {
        let common = || Arc::clone(self.roots.get_or_init(|| Arc::new(system_roots())));
        if let WebhookTls { ca: None, client: None, accept_any: false, .. } = tls {
            let made = || offer.made(trusting(common(), &[]).with_no_client_auth());
            let [nothing, either, http2] = &self.common;
            let place = match offer {
                Offer::Nothing => nothing,
                Offer::Either => either,
                Offer::Http2 => http2,
            };
            return Encryption::Fixed(Arc::clone(place.get_or_init(made)));
        }
        let roots = if tls.system_roots { common() } else { Arc::new(RootCertStore::empty()) };
        let roots = (!tls.accept_any).then_some(roots);
        let authorities = tls.ca.as_ref().map(|Authorities { file, certificates }| {
            files.watch(file, certificates.clone(), Authorities::read)
        });
        let client = tls.client.as_ref().map(|client| {
            let key_file = client.key_file.clone();
            let read = move |cert_file: &_| CertifiedPair::read(cert_file, &key_file);
            files.watch(&client.cert_file, client.pair.clone(), read)
        });
        Encryption::Renewed(Arc::new(Renewed::new(roots, authorities, client, offer)))
    }
}

impl Encryption {
    /// What encrypts a connection that is opened now; those that are open keep what they began with.
    pub(super) fn connector(&self) -> TlsConnector {
        self.config().into()
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Fixed(config) => Arc::clone(config),
            Self::Renewed(renewed) => renewed.config(),
        }
    }
}

impl Renewed {
    fn new(
        roots: Option<Arc<RootCertStore>>,
        authorities: Option<Watched<Vec<CertificateDer<'static>>>>,
        client: Option<Watched<CertifiedPair>>,
        offer: Offer,
    ) -> Self {
        let of = Contents::of(authorities.as_ref(), client.as_ref());
        let config = of.config(roots.as_ref(), offer);
        Self { roots, authorities, client, offer, made: Mutex::new(Made { of, config }) }
    }

    fn config(&self) -> Arc<ClientConfig> {
        let of = Contents::of(self.authorities.as_ref(), self.client.as_ref());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.of.is_same(&of) {
            *made = Made { config: of.config(self.roots.as_ref(), self.offer), of };
        }
        Arc::clone(&made.config)
    }
}

impl Contents {
    fn of(
        authorities: Option<&Watched<Vec<CertificateDer<'static>>>>,
        client: Option<&Watched<CertifiedPair>>,
    ) -> Self {
        Self { authorities: authorities.map(Watched::current), client: client.map(Watched::current) }
    }

    /// Whether both were found at the same reading of the files.
    fn is_same(&self, other: &Self) -> bool {
        self.authorities.as_ref().map(Arc::as_ptr) == other.authorities.as_ref().map(Arc::as_ptr)
            && self.client.as_ref().map(Arc::as_ptr) == other.client.as_ref().map(Arc::as_ptr)
    }

    fn config(&self, roots: Option<&Arc<RootCertStore>>, offer: Offer) -> Arc<ClientConfig> {
        let named = self.authorities.as_deref().map(Vec::as_slice).unwrap_or_default();
        let builder = match roots {
            None => trusting_anybody(),
            Some(roots) if named.is_empty() => trusting(Arc::clone(roots), &[]),
            Some(roots) => {
                let mut roots = RootCertStore::clone(roots);
                roots.add_parsable_certificates(named.iter().cloned());
                trusting(Arc::new(roots), named)
            }
        };
        let Some(CertifiedPair { chain, key }) = self.client.as_deref() else {
            return offer.made(builder.with_no_client_auth());
        };
        let shown = builder.clone().with_client_auth_cert(chain.clone(), key.clone_key());
        offer.made(shown.unwrap_or_else(|error| {
            // Whoever has read them has found that they belong together.
            error!(%error, "webhook.tls.cert_file can't be shown: connections are made without it");
            builder.with_no_client_auth()
        }))
    }
}

fn system_roots() -> RootCertStore {
    let system = trust::system_roots();
    for error in &system.unreadable {
        warn!(error, "part of the system's certificate store was not readable");
    }
    if system.are_misnamed {
        error!(
            "SSL_CERT_FILE or SSL_CERT_DIR is set and names no authority: no webhook is trusted by the system's"
        );
    }
    system.store
}
