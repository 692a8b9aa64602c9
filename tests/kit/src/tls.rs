//! Certificates for the tests: an authority of their own, and what it signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{WantsServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

/// A certificate authority, made for one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its private key, both as PEM.
pub struct TlsIdentity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new authority, which nobody trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "broadcaster test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority signs itself");
        Self { issuer }
    }

    /// The authority's own certificate as PEM: what a client must trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes [`Self::pem`] to `ca.pem` in `directory`.
    pub fn write_to(&self, directory: &Path) -> PathBuf {
        write(directory, "ca.pem", &self.pem())
    }

    /// A good certificate for these names and addresses, fit for servers and for clients.
    pub fn issue(&self, names: &[&str]) -> TlsIdentity {
        self.sign(&params(names))
    }

    /// A certificate for the loopback address.
    pub fn issue_loopback(&self) -> TlsIdentity {
        self.issue(&["127.0.0.1", "localhost"])
    }

    /// A certificate that was good until the year 2021.
    pub fn issue_expired(&self, names: &[&str]) -> TlsIdentity {
        let mut params = params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    /// A certificate that is good for so long from now on, of a year.
    pub fn issue_for(&self, names: &[&str], left: Duration) -> TlsIdentity {
        let mut params = params(names);
        let now = SystemTime::now();
        params.not_before = (now + left - Duration::from_secs(365 * 24 * 60 * 60)).into();
        params.not_after = (now + left).into();
        self.sign(&params)
    }

    /// A server that shows this certificate, and demands one that this authority has signed.
    pub fn demanding(&self, identity: &TlsIdentity) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority can be trusted");
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let clients = clients.build().expect("there is an authority");
        identity.configured(|builder| builder.with_client_cert_verifier(clients))
    }

    fn sign(&self, params: &CertificateParams) -> TlsIdentity {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign");
        TlsIdentity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl TlsIdentity {
    /// A certificate for these names that only itself has signed. `is_ca` says whether it claims to be an authority's, as
    /// those of `openssl req -x509` do.
    pub fn self_signed(names: &[&str], is_ca: bool) -> Self {
        Self::of(params(names), is_ca)
    }

    /// One like that which was good until the year 2021.
    pub fn self_signed_expired(names: &[&str]) -> Self {
        let mut params = params(names);
        params.not_after = date_time_ymd(2021, 1, 1);
        params.not_before = date_time_ymd(2020, 1, 1);
        Self::of(params, true)
    }

    fn of(mut params: CertificateParams, is_ca: bool) -> Self {
        params.distinguished_name.push(DnType::CommonName, "broadcaster test server");
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("a key signs its certificate");
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server that shows this certificate and asks for none.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.configured(|builder| builder.with_no_client_auth())
    }

    /// The same, which speaks these protocols where it is asked (ALPN), the first of them rather than the others.
    pub fn server_config_speaking(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.server_config());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn configured(
        &self,
        clients: impl FnOnce(
            ConfigBuilder<ServerConfig, WantsVerifier>,
        ) -> ConfigBuilder<ServerConfig, WantsServerCert>,
    ) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("it is PEM");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is PEM");
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions");
        let config = clients(builder).with_single_cert(vec![certificate], key);
        Arc::new(config.expect("the key belongs to the certificate"))
    }

    /// Writes `NAME.pem` and `NAME.key` to `directory`; gives both paths, the certificate's first.
    pub fn write_to(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = write(directory, &format!("{name}.pem"), &self.certificate);
        (certificate, write(directory, &format!("{name}.key"), &self.key))
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("the names are good");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("the test's directory is writable");
    path
}
