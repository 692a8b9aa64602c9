//! TLS of a server: what it shows to its clients, as it is in its files at present.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, ServerConfig, crypto::ring},
};
use tracing::error;

use crate::{
    base::watched_file::{Watched, WatchedFiles},
    config::{CertifiedPair, Identity},
};

/// What encrypts the connections of a server.
#[derive(Debug)]
pub struct Tls {
    pair: Watched<CertifiedPair>,
    made: Mutex<Made>,
    /// Keeps the files watched.
    _files: WatchedFiles,
}

/// What was made last, and of what.
#[derive(Debug)]
struct Made {
    of: Arc<CertifiedPair>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Shows `identity`.
    ///
    /// # Errors
    /// It can't be shown.
    pub fn of(identity: &Identity) -> Result<Self, rustls::Error> {
        let files = WatchedFiles::default();
        let key_file = identity.key_file.clone();
        let read = move |cert_file: &_| CertifiedPair::read(cert_file, &key_file);
        let pair = files.watch(&identity.cert_file, identity.pair.clone(), read);
        let of = pair.current();
        let config = config(&of)?;
        Ok(Self { pair, made: Mutex::new(Made { of, config }), _files: files })
    }

    /// What encrypts a connection that is accepted now; those that are open keep what they began with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let of = self.pair.current();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&made.of, &of) {
            match config(&of) {
                Ok(config) => made.config = config,
                Err(error) => {
                    error!(%error, "server.tls.cert_file can't be shown: what was in it is used further");
                }
            }
            made.of = of;
        }
        Arc::clone(&made.config).into()
    }
}

fn config(CertifiedPair { chain, key }: &CertifiedPair) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain.clone(), key.clone_key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
