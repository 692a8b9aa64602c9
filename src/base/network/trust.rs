//! Whom to trust when the other end shows a certificate.

use std::{env, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::{WantsClientCert, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
};

use super::verifier::{Verifier, Whom};

/// The certificate authorities that the system trusts, and what is odd about them.
#[derive(Debug)]
pub struct SystemRoots {
    /// The authorities.
    pub store: RootCertStore,
    /// Why parts of the system's store could not be read.
    pub unreadable: Vec<String>,
    /// Whether a variable is set that says where they are, and there are none.
    pub are_misnamed: bool,
}

/// Reads the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), else the bundled ones of Mozilla: an
/// image without a certificate store works all the same. Nobody where one of the two is set and names none: whoever set
/// it does not want others trusted.
pub fn system_roots() -> SystemRoots {
    let mut store = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let unreadable = system.errors.iter().map(ToString::to_string).collect();
    let (added, _ignored) = store.add_parsable_certificates(system.certs);
    let is_told = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| env::var_os(name).is_some());
    if added == 0 && !is_told {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    SystemRoots { store, unreadable, are_misnamed: added == 0 && is_told }
}

/// A configuration that trusts what `roots` have signed, and the certificates `named`, even where nobody has signed those
/// but themselves.
pub fn trusting(
    roots: Arc<RootCertStore>,
    named: &[CertificateDer<'static>],
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let (provider, builder) = usual();
    let algorithms = provider.signature_verification_algorithms;
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider).build();
    match usual {
        Ok(usual) if !named.is_empty() => {
            let whom = Whom::Known { usual, named: named.to_vec() };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier { whom, algorithms }))
        }
        // Also where there is nobody to trust: the library trusts nobody then.
        _ => builder.with_root_certificates(roots),
    }
}

/// A configuration that takes any certificate: it encrypts, and knows nobody.
pub fn trusting_anybody() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let (provider, builder) = usual();
    let algorithms = provider.signature_verification_algorithms;
    builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { whom: Whom::Anybody, algorithms }))
}

/// The provider is named here and not taken from the process: rustls panics where two are compiled in and none is chosen.
fn usual() -> (Arc<CryptoProvider>, ConfigBuilder<ClientConfig, WantsVerifier>) {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions of TLS");
    (provider, builder)
}
