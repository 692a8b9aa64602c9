//! Whom to trust when a webhook is reached by https.

use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tracing::warn;

/// The certificate authorities that every route trusts.
#[derive(Debug)]
pub struct Trust {
    roots: RootCertStore,
}

impl Trust {
    /// The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), else the bundled ones of Mozilla: an
    /// image without a certificate store works all the same.
    pub fn load() -> Self {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            warn!(%error, "part of the system's certificate store was not readable");
        }
        let (added, _ignored) = roots.add_parsable_certificates(system.certs);
        if added == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self { roots }
    }

    /// What a route needs that trusts `extra` authorities as well.
    pub fn client_config(&self, extra: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
        let mut roots = self.roots.clone();
        roots.add_parsable_certificates(extra.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}
