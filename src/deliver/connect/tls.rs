//! Whom to trust when a webhook is reached by https.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tracing::{error, warn};

use crate::{
    base::network::trust::{self, trusting},
    config::WebhookTls,
};

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
    Arc::new(trusting(roots, named).with_no_client_auth())
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
