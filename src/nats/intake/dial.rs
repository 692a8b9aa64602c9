//! Finds a server that lets us in: names, addresses, and the logins at several of them at a time.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    future::Future,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout_at},
};
use tracing::debug;

use super::{
    handshake::{LoggedIn, PATIENCE, TOO_LONG, Terms, log_in},
    info::ServerInfo,
    reader::Reader,
    servers::{Server, Servers},
};
use crate::{
    base::{
        blocking::BlockingThreads,
        clock::Clock,
        network::{
            cause,
            racing::{Finish, race},
            resolver::{Name, Resolver},
            stream::Stream,
        },
    },
    config::Nats,
};

/// How long those who wait for a server, or one of its addresses, wait longer than that itself: it says best what it has
/// waited for.
const MOMENT: Duration = Duration::from_millis(250);
/// How long a round may take. All servers are begun with in its first half, so that the last has all its time.
const ROUND: Duration = PATIENCE.saturating_add(MOMENT).saturating_mul(2).saturating_add(MOMENT);
/// Of so many servers, and addresses of one, an error says what became of them.
const TOLD: usize = 8;

/// A connection to a server that has let us in.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) stream: Stream,
    /// What has read the server's words so far.
    pub(super) reader: Reader,
    pub(super) info: ServerInfo,
    /// Which server it is: `host:port`.
    pub(super) server: String,
}

/// No server lets us in: what is wrong with each.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) struct ConnectError(Vec<(String, String)>);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(failures) = self;
        for (number, (server, cause)) in failures.iter().take(TOLD).enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{server}: {cause}")?;
        }
        match failures.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Makes the connections of one client, one after the other.
pub(super) struct Dialer {
    terms: Terms,
    servers: RefCell<Servers>,
    resolver: Resolver,
    /// What is known of the names of the present servers.
    names: RefCell<HashMap<String, Arc<Name>>>,
    clock: Clock,
}

impl Dialer {
    /// For the servers of `config`, and those that a `predecessor` was told of. `echo` is whether what we publish comes
    /// back to us where we have subscribed to it.
    pub(super) fn new(config: &Nats, echo: bool, clock: Clock, predecessor: Option<&Self>) -> Self {
        let known = predecessor.map(|predecessor| predecessor.servers.borrow());
        Self {
            terms: Terms { config: Rc::new(config.clone()), echo, threads: BlockingThreads::default() },
            servers: RefCell::new(Servers::new(config, known.as_deref())),
            resolver: Resolver::default(),
            names: RefCell::default(),
            clock,
        }
    }

    /// Tries each server once, and returns the first connection that is logged in. Needs a runtime that takes local tasks.
    ///
    /// # Errors
    /// None lets us in. It takes ten seconds at most until that is known.
    pub(super) async fn connect(&self) -> Result<Established, ConnectError> {
        let servers = self.servers.borrow().round(self.clock.now(), random);
        self.names.borrow_mut().retain(|host, _| servers.iter().any(|server| server.host() == host));
        let finish = race(&servers, Instant::now() + ROUND, |server| self.attempt(server)).await;
        let mut known = self.servers.borrow_mut();
        let now = self.clock.now();
        for server in finish.silent.iter().chain(finish.failed.iter().map(|(server, _)| server)) {
            known.failed(server, now);
        }
        for (server, cause) in &finish.failed {
            debug!(%server, cause, "this NATS server does not let us in");
        }
        let Some((server, LoggedIn { stream, reader, info })) = finish.winner else {
            return Err(failure(&known.all(), &finish));
        };
        known.connected(&server, matches!(stream, Stream::Tls(_)));
        known.tell(&info.connect_urls);
        Ok(Established { stream, reader, info, server: server.to_string() })
    }

    /// The server of the present connection has said something about itself again.
    pub(super) fn note(&self, info: &ServerInfo) {
        self.servers.borrow_mut().tell(&info.connect_urls);
    }

    fn attempt(&self, server: Server) -> impl Future<Output = Result<LoggedIn, String>> + use<> {
        let place = match server.host().parse::<IpAddr>() {
            Ok(address) => Place::Address(address),
            Err(_) => {
                let mut names = self.names.borrow_mut();
                let name = || self.resolver.name(server.host());
                Place::Named(Arc::clone(names.entry(server.host().to_owned()).or_insert_with(name)))
            }
        };
        let attempt = Attempt { server, place, terms: self.terms.clone(), clock: self.clock };
        async move { attempt.run().await }
    }
}

/// Where a server is.
#[derive(Clone, Debug)]
enum Place {
    Address(IpAddr),
    Named(Arc<Name>),
}

/// One attempt at a server, at all its addresses.
struct Attempt {
    server: Server,
    place: Place,
    terms: Terms,
    clock: Clock,
}

impl Attempt {
    async fn run(self) -> Result<LoggedIn, String> {
        let deadline = Instant::now() + PATIENCE;
        let addresses = self.addresses(deadline).await?;
        let finish = race(&addresses, deadline + MOMENT, |address| {
            let (server, terms) = (self.server.clone(), self.terms.clone());
            async move {
                let tcp = timeout_at(deadline, tcp(address)).await;
                let tcp = tcp.map_err(|_elapsed| format!("no answer {TOO_LONG}"))?;
                let tcp = tcp.map_err(|error| cause::of_connect(&error).1)?;
                log_in(tcp, server.certified_name(), server.is_tls(), &terms, deadline).await
            }
        })
        .await;
        self.remember(&finish);
        let Finish { winner, silent, mut failed } = finish;
        failed.extend(silent.into_iter().map(|address| (address, format!("no answer {TOO_LONG}"))));
        winner.map(|(_, logged_in)| logged_in).ok_or_else(|| told(&failed))
    }

    async fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
        let name = match &self.place {
            Place::Address(address) => return Ok(vec![(*address, self.server.port()).into()]),
            Place::Named(name) => name,
        };
        let addresses = timeout_at(deadline, name.addresses(self.server.port(), self.clock)).await;
        let addresses = addresses.map_err(|_elapsed| format!("looking up its name: no answer {TOO_LONG}"))?;
        addresses.map_err(|trouble| trouble.words)
    }

    /// Takes note of what became of each address, for the next attempt.
    fn remember<T>(&self, finish: &Finish<SocketAddr, T, String>) {
        let Place::Named(name) = &self.place else { return };
        let now = self.clock.now();
        for address in finish.silent.iter().chain(finish.failed.iter().map(|(address, _)| address)) {
            name.shun(*address, now);
        }
        match &finish.winner {
            Some((address, _)) => name.forgive(*address),
            // The server may have moved since its name was looked up.
            None => name.doubt(now),
        }
    }
}

/// A dead server is noticed by its missing answers to our pings, and so is a connection that something between us has
/// forgotten: the kernel need not look for either.
pub(super) async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // What is sent goes out in one piece; waiting for more would only delay it.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "cannot turn Nagle's algorithm off");
    }
    socket.connect(address).await
}

/// Why none of the addresses of a server let us in; once where it is the same for all.
fn told(failed: &[(SocketAddr, String)]) -> String {
    match failed {
        [] => "it has no addresses".to_owned(),
        [(_, first), others @ ..] if others.iter().all(|(_, cause)| cause == first) => first.clone(),
        all => {
            let mut told: Vec<_> =
                all.iter().take(TOLD).map(|(address, cause)| format!("{cause} ({})", address.ip())).collect();
            // By address: they are tried in another order each time, and what is the same has to look the same.
            told.sort_unstable();
            told.join(", ")
        }
    }
}

/// What became of each server, in an order that stays.
fn failure<T>(servers: &[Server], finish: &Finish<Server, T, String>) -> ConnectError {
    let cause = |server: &Server| {
        let failed = finish.failed.iter().find(|(failed, _)| failed == server);
        failed.map_or_else(|| format!("no answer {TOO_LONG}"), |(_, cause)| cause.clone())
    };
    ConnectError(servers.iter().map(|server| (server.to_string(), cause(server))).collect())
}

/// Something else each time, also in processes that begin at the same moment.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
