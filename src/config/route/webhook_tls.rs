//! `[routes.NAME.webhook.tls]`: whom the webhook has to be, and whom it sees.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{
    files, parse,
    reader::{Reported, Section},
};

/// `[routes.NAME.webhook.tls]`: which authorities may vouch for the webhook, and the certificate that it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTls {
    /// `ca_file`: authorities that are trusted beside the system's, or instead of them. Default: none.
    pub ca: Option<Authorities>,
    /// `system_roots`: whether the system's authorities are trusted beside those. Default true.
    pub system_roots: bool,
    /// `cert_file` and `key_file`, both or neither: what is shown to a webhook that asks for it. Default: nothing.
    pub client: Option<Identity>,
    /// `dangerously_accept_any_certificate`: whether the webhook may be anybody. Default false.
    pub accept_any: bool,
}

/// Certificates in a file, as they were when the configuration was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// Where they stand, as PEM.
    pub file: PathBuf,
    /// What stands there, one at least: with none, no webhook could be trusted.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// A certificate of our own, in two files.
///
/// Two are equal when they are in the same files: whoever shows what is in them reads them again, so that a certificate that
/// was renewed is no other setting.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate with its chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// What was in them when the configuration was loaded.
    pub pair: CertifiedPair,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        (&self.cert_file, &self.key_file) == (&other.cert_file, &other.key_file)
    }
}

impl Eq for Identity {}

/// A certificate with its chain, and the key that belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub struct CertifiedPair {
    /// The certificate comes first; never empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key. `Debug` does not show it.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for CertifiedPair {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl CertifiedPair {
    /// Reads both files again.
    ///
    /// # Errors
    /// Why one can't be read, or what is wrong with what they hold.
    pub fn read(cert_file: &Path, key_file: &Path) -> Result<Self, String> {
        let (chain, key) = (files::certificates(cert_file)?, files::private_key(key_file)?);
        files::belong_together(chain.clone(), &key)
            .map_err(|problem| format!("{problem} in {}", key_file.display()))?;
        Ok(Self { chain, key })
    }
}

impl Authorities {
    /// The certificates that are in `file` now.
    ///
    /// # Errors
    /// Why it can't be read, or what is wrong with what it holds.
    pub fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        files::authorities(file)
    }
}

pub(in crate::config) fn read(at: &Section<'_>) -> Result<WebhookTls, Reported> {
    let ca = at.optional("ca_file", |value| files::named_by(value, files::authorities));
    let system_roots = at.or("system_roots", true, parse::switch);
    let client = identity(at);
    const ACCEPT_ANY: &str = "dangerously_accept_any_certificate";
    let accept_any = at.or(ACCEPT_ANY, false, parse::switch);
    match (&ca, system_roots, accept_any) {
        (Ok(Some(_)), _, Ok(true)) => {
            at.report(ACCEPT_ANY, "expected no ca_file beside it: nobody has to vouch for the webhook");
        }
        (Ok(None), Ok(false), Ok(false)) => {
            at.report("system_roots", "expected a ca_file, where the system's authorities are not trusted");
        }
        (_, _, Ok(true)) => at.warn_at(
            at.path(ACCEPT_ANY),
            "the webhook may be anybody: whoever is on the way can read and change what is sent. For trials only; \
             ca_file names a certificate to trust"
                .to_owned(),
        ),
        _ => {}
    }
    let ca = ca?.map(|(file, certificates)| Authorities { file, certificates });
    Ok(WebhookTls { ca, system_roots: system_roots?, client: client?, accept_any: accept_any? })
}

/// `cert_file` and `key_file`, both or neither.
pub(in crate::config) fn identity(at: &Section<'_>) -> Result<Option<Identity>, Reported> {
    let cert = at.optional("cert_file", |value| files::named_by(value, files::certificates));
    let key = at.optional("key_file", |value| files::named_by(value, files::private_key));
    match (cert?, key?) {
        (Some((cert_file, chain)), Some((key_file, key))) => {
            files::belong_together(chain.clone(), &key).map_err(|problem| at.report("key_file", problem))?;
            Ok(Some(Identity { cert_file, key_file, pair: CertifiedPair { chain, key } }))
        }
        (Some(_), None) => Err(at.missing("key_file")),
        (None, Some(_)) => Err(at.missing("cert_file")),
        (None, None) => Ok(None),
    }
}
