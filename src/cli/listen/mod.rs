//! `broadcaster listen`: a webhook for trying things out. It shows what arrives, verifies signatures, and fails as told.

mod answers;
pub mod options;
mod print;
mod receiver;
mod server;

use std::{
    fs, io,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rcgen::CertifiedKey;
use thiserror::Error;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

pub use self::receiver::Tally;
use self::{options::ListenOptions, print::Printer, receiver::Receiver, server::Server};
use crate::{
    config::{Config, Scheme},
    control::signals,
    deliver::sign::verify::Verifier,
};

/// Nothing can be received.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The port is taken, or needs a permission.
    #[error("cannot listen on {0}: {1}")]
    Port(SocketAddr, #[source] io::Error),
    /// `--route` names no route, or one that does not sign.
    #[error("{0}")]
    Route(String),
    /// What is in the file of `--secret-file` is no key; without what it is.
    #[error("{0}")]
    Key(String),
    /// No certificate can be made or used.
    #[error("cannot speak TLS: {0}")]
    Tls(String),
    /// The certificate can't be written where `--tls` says.
    #[error("cannot write the certificate to {0}: {1}")]
    Certificate(PathBuf, #[source] io::Error),
    /// The system refuses a runtime or signals, or nobody reads the output any more.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Receives until there were enough requests, or somebody stops it. `config` is needed for `--route` only. Needs a
/// runtime that takes local tasks.
///
/// # Errors
/// Why nothing can be received, or printed.
pub async fn run(options: ListenOptions, config: Option<&Config>) -> Result<Tally, ListenError> {
    let verifier = verifier(&options, config)?;
    let address = SocketAddr::new(options.address, options.port);
    let tls = options.tls.as_deref().map(|file| made_up(address, file)).transpose()?;
    let server = Server::bind(address, tls).await.map_err(|error| ListenError::Port(address, error))?;
    let stop = signals::listen()?.stop;
    // On standard error, so that a pipe gets requests and nothing else.
    explain(format_args!("listening on {} (HTTP/1.1 and HTTP/2); ^C ends it", server.url()?));
    let printer = Printer::new(options.json);
    let receiver = Receiver::new(options.answers, verifier, options.count, printer);
    server.serve(receiver.clone(), stop).await;
    let tally = receiver.finish()?;
    let Tally { requests, taken, unverified } = tally;
    let mut summary = format!("{requests} requests, {taken} taken, {} failed as told", requests - taken);
    if unverified > 0 {
        summary.push_str(&format!("; {unverified} not signed as they should be"));
    }
    explain(summary);
    Ok(tally)
}

fn explain(what: impl std::fmt::Display) {
    drop(writeln!(io::stderr(), "{what}"));
}

/// What verifies signatures; none where nothing says how.
fn verifier(options: &ListenOptions, config: Option<&Config>) -> Result<Option<Verifier>, ListenError> {
    if let (Some(name), Some(config)) = (&options.route, config) {
        let route = config.routes.iter().find(|route| route.name.as_str() == name);
        let route = route.ok_or_else(|| ListenError::Route(format!("no route is called {name:?}")))?;
        let signing = route.webhook.signing.as_ref();
        let unsigned = || ListenError::Route(format!("the route {name} has no webhook.signing"));
        return Ok(Some(Verifier::of(signing.ok_or_else(unsigned)?, SystemTime::now())));
    }
    if options.secret_file.is_empty() {
        return Ok(None);
    }
    let scheme = Scheme::named(&options.scheme).unwrap_or(Scheme::StandardWebhooks);
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path);
        text.map_err(|error| ListenError::Key(format!("cannot read {}: {error}", path.display())))
    };
    let texts = options.secret_file.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let texts = texts.iter().map(|text| text.trim_end_matches(['\r', '\n']));
    Verifier::by_keys(scheme, texts).map(Some).map_err(ListenError::Key)
}

/// A certificate for `address` and the names of this machine, which signs itself; written to `file`.
fn made_up(address: SocketAddr, file: &Path) -> Result<ServerConfig, ListenError> {
    let problem = |error: &dyn std::fmt::Display| ListenError::Tls(error.to_string());
    let names =
        ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().chain([address.ip().to_string()]);
    let made =
        rcgen::generate_simple_self_signed(names.collect::<Vec<_>>()).map_err(|error| problem(&error))?;
    let CertifiedKey { cert, signing_key } = made;
    fs::write(file, cert.pem()).map_err(|error| ListenError::Certificate(file.to_owned(), error))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key));
    let mut config = config.map_err(|error| problem(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
