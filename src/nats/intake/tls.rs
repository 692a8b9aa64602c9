//! Whom a connection to NATS trusts, and which certificate it shows.

use std::{io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};
use tracing::debug;

use crate::{
    base::{
        blocking::BlockingThreads,
        network::{
            cause,
            trust::{system_roots, trusting},
        },
    },
    config::{NatsCertificates, NatsTls},
};

const CA_SETTING: &str = "nats.tls.ca_file";

/// Encrypts a connection to the server that is certified as `name`. All files are read for it: they may be new ones.
///
/// # Errors
/// Why there is no TLS, in words.
pub(super) async fn encrypt(
    tcp: TcpStream,
    name: &str,
    tls: &NatsTls,
    threads: &BlockingThreads,
) -> Result<Box<TlsStream<TcpStream>>, String> {
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        "no certificate can be for this host: it is no name of DNS, and no address".to_owned()
    })?;
    let tls = tls.clone();
    let config = threads.run(move || client_config(&tls)).await.map_err(|error| no_thread(&error))??;
    let stream = TlsConnector::from(config).connect(name, tcp).await;
    stream.map(Box::new).map_err(|error| format!("TLS: {}", cause::of_handshake(&error, CA_SETTING)))
}

/// Why a connection that was open can't be read or written.
pub(super) fn broken(error: &io::Error) -> String {
    match cause::tls_error(error) {
        Some(error) => format!("TLS: {}", cause::of_tls(error, CA_SETTING)),
        None => format!("the connection broke: {error}"),
    }
}

pub(super) fn no_thread(error: &io::Error) -> String {
    format!("no thread to read files: {error}")
}

/// Reads files, and so blocks.
fn client_config(tls: &NatsTls) -> Result<Arc<ClientConfig>, String> {
    let NatsCertificates { authorities, client } = tls.read()?;
    let builder = match authorities {
        Some(named) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(named.iter().cloned());
            trusting(Arc::new(roots), &named)
        }
        None => trusting(Arc::new(system_authorities()?), &[]),
    };
    let config = match client {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("nats.tls.cert_file can't be shown: {error}"))?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn system_authorities() -> Result<RootCertStore, String> {
    let system = system_roots();
    for error in &system.unreadable {
        debug!(error, "part of the system's certificate store was not readable");
    }
    if system.are_misnamed {
        return Err("SSL_CERT_FILE or SSL_CERT_DIR is set and names no authority".to_owned());
    }
    Ok(system.store)
}
