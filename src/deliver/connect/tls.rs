//! Whom to trust when a webhook is reached by https. Certificates are always verified: there is no setting against
//! that.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tracing::warn;

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
    /// The configuration of a route that trusts `extra` authorities beside the common ones.
    pub(super) fn client_config(&self, tls: &WebhookTls) -> Arc<ClientConfig> {
        let extra = &tls.ca;
        let roots = self.roots.get_or_init(|| Arc::new(system_roots()));
        if extra.is_empty() {
            return Arc::clone(self.common.get_or_init(|| client_config(Arc::clone(roots))));
        }
        let mut roots = RootCertStore::clone(roots);
        roots.add_parsable_certificates(extra.iter().cloned());
        client_config(Arc::new(roots))
    }
}

fn client_config(roots: Arc<RootCertStore>) -> Arc<ClientConfig> {
    // The provider is named here and not taken from the process: rustls panics where two are compiled in and none is
    // chosen.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), else the bundled ones of Mozilla: an
/// image without a certificate store works all the same.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        warn!(%error, "part of the system's certificate store was not readable");
    }
    let (added, _ignored) = roots.add_parsable_certificates(system.certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}
