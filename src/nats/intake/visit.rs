//! A visit to one server, for whoever checks a configuration: in by the same stages as a connection of the daemon, and out
//! again.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{
    dial::tcp,
    handshake::{LoggedIn, PATIENCE, TOO_LONG, Terms, log_in},
};
use crate::{
    base::{
        blocking::BlockingThreads,
        clock::Clock,
        network::{
            cause,
            racing::{Finish, race},
            resolver::Resolver,
        },
    },
    config::{Nats, NatsUrl},
};

/// How long it may take from a deadline until it is said what was waited for.
const MOMENT: Duration = Duration::from_millis(200);

/// What was seen of a server that has let us in.
#[derive(Debug)]
pub struct Visit {
    /// The address that was connected.
    pub address: SocketAddr,
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// Whether the connection is encrypted, and by which certificate.
    pub tls: Option<Option<CertificateDer<'static>>>,
}

/// Where a visit has ended, and why, in words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VisitError {
    /// The name of the server leads to no address.
    #[error("{0}")]
    Name(String),
    /// None of its addresses takes a connection.
    #[error("{0}")]
    Connection(String),
    /// There is no TLS.
    #[error("{0}")]
    Tls(String),
    /// It speaks with us, or should, and does not let us in.
    #[error("{0}")]
    Login(String),
}

/// Logs in to `server` with what `config` says, within five seconds. Needs a runtime that takes local tasks.
///
/// # Errors
/// It does not let us in.
pub async fn visit(config: &Nats, server: &NatsUrl, clock: Clock) -> Result<Visit, VisitError> {
    let deadline = Instant::now() + PATIENCE;
    let addresses = addresses(server, clock, deadline).await?;
    let terms = Terms { config: Rc::new(config.clone()), echo: false, threads: BlockingThreads::default() };
    // A moment longer than each has: what it says then tells more than that it was still waited for.
    let Finish { winner, mut failed, .. } = race(&addresses, deadline + MOMENT, |address| {
        let (host, is_tls, terms) = (server.host().to_owned(), server.is_tls(), terms.clone());
        async move {
            let tcp = timeout_at(deadline, tcp(address)).await;
            let tcp =
                tcp.map_err(|_elapsed| VisitError::Connection(format!("{address}: no answer {TOO_LONG}")))?;
            let tcp = tcp.map_err(|error| {
                VisitError::Connection(format!("{address}: {}", cause::of_connect(&error).1))
            })?;
            log_in(tcp, &host, is_tls, &terms, deadline).await.map_err(VisitError::of_login)
        }
    })
    .await;
    match winner {
        Some((address, logged_in)) => Ok(Visit::of(address, logged_in)),
        // The one that got furthest says most.
        None => Err(failed.pop().map_or_else(
            || VisitError::Connection(format!("no answer {TOO_LONG}")),
            |(_, first)| failed.into_iter().fold(first, |best, (_, error)| best.further(error)),
        )),
    }
}

async fn addresses(server: &NatsUrl, clock: Clock, deadline: Instant) -> Result<Vec<SocketAddr>, VisitError> {
    if let Ok(address) = server.host().parse::<IpAddr>() {
        return Ok(vec![(address, server.port()).into()]);
    }
    let resolver = Resolver::default();
    let name = resolver.name(server.host());
    let addresses = timeout_at(deadline, name.addresses(server.port(), clock)).await;
    let addresses = addresses
        .map_err(|_elapsed| VisitError::Name(format!("looking up its name: no answer {TOO_LONG}")))?;
    addresses.map_err(|trouble| VisitError::Name(trouble.words))
}

impl Visit {
    fn of(address: SocketAddr, LoggedIn { stream, info, .. }: LoggedIn) -> Self {
        let tls = stream.session().map(|session| {
            let certificates = session.peer_certificates();
            certificates.and_then(<[_]>::first).cloned().map(CertificateDer::into_owned)
        });
        Self { address, name: info.server_name, version: info.version, jetstream: info.jetstream, tls }
    }
}

impl VisitError {
    /// By how the words begin for what goes wrong with TLS.
    fn of_login(words: String) -> Self {
        const OF_TLS: [&str; 5] =
            ["TLS:", "no certificate", "nats.tls.", "SSL_CERT_", "it does not offer TLS"];
        if OF_TLS.iter().any(|begin| words.starts_with(begin)) {
            Self::Tls(words)
        } else {
            Self::Login(words)
        }
    }

    fn further(self, other: Self) -> Self {
        if matches!(self, Self::Name(_) | Self::Connection(_)) { other } else { self }
    }
}
