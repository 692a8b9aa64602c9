//! Whom to trust when a webhook is reached by https. Certificates are always verified: there is no setting against
//! that.

use std::{
    env,
    sync::{Arc, OnceLock},
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, client::WebPkiServerVerifier, crypto::ring, pki_types::CertificateDer,
};
use tracing::{error, warn};

use super::verifier::Verifier;
use crate::config::WebhookTls;

/// The certificate authorities that every route trusts, read when the first route needs them.
#[derive(Debug, Default)]
pub(super) struct Trust {
    roots: OnceLock<Arc<RootCertStore>>,
    /// The configuration of all routes that trust nobody else. Shared, because some hundred authorities take a lot of
    /// memory.
    common: OnceLock<Arc<ClientConfig>>,
}

impl Trust {
    /// The configuration of a route that may trust others beside the common authorities, or instead of them.
    pub(super) fn client_config(&self, tls: &WebhookTls) -> Arc<ClientConfig> {
        let common = || self.roots.get_or_init(|| Arc::new(system_roots()));
        if tls.ca.is_empty() {
            return Arc::clone(self.common.get_or_init(|| client_config(Arc::clone(common()), &[])));
        }
        let mut roots =
            if tls.system_roots { RootCertStore::clone(common()) } else { RootCertStore::empty() };
        roots.add_parsable_certificates(tls.ca.iter().cloned());
        client_config(Arc::new(roots), &tls.ca)
    }
}

fn client_config(roots: Arc<RootCertStore>, named: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    // The provider is named here and not taken from the process: rustls panics where two are compiled in and none is
    // chosen.
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions of TLS");
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider).build();
    let builder = match usual {
        Ok(usual) if !named.is_empty() => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { usual, named: named.to_vec() })),
        // Also where there is nobody to trust: the library trusts nobody then.
        _ => builder.with_root_certificates(roots),
    };
    Arc::new(builder.with_no_client_auth())
}

/// The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), else the bundled ones of Mozilla: an
/// image without a certificate store works all the same. Nobody where one of the two is set and names none: whoever set
/// it does not want others trusted.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        warn!(%error, "part of the system's certificate store was not readable");
    }
    let (added, _ignored) = roots.add_parsable_certificates(system.certs);
    let is_told = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| env::var_os(name).is_some());
    match added {
        0 if is_told => {
            error!(
                "SSL_CERT_FILE or SSL_CERT_DIR is set and names no authority: no webhook is trusted by the system's"
            );
        }
        0 => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        _ => {}
    }
    roots
}
