//! The servers of NATS, each by itself: name, connection, TLS, login.

use std::time::{Duration, SystemTime};

use tokio::{task::JoinSet, time::timeout};

use super::{certificate::Certificate, report::Line};
use crate::{
    base::clock::Clock,
    config::{Nats, NatsUrl},
    nats::{Connection, Visit, VisitError, visit},
};

/// How long it may take to connect to a server that has just let us in.
const PATIENCE: Duration = Duration::from_secs(5);

/// Visits each server. Gives what was found, and a connection to one that lets us in, where one does.
pub(super) async fn check(nats: &Nats, clock: Clock) -> (Vec<Line>, Option<Connection>) {
    let mut visits = JoinSet::new();
    for (at, server) in nats.servers.iter().cloned().enumerate() {
        let nats = nats.clone();
        visits.spawn_local(async move { (at, visit(&nats, &server, clock).await) });
    }
    let mut visited = visits.join_all().await;
    visited.sort_unstable_by_key(|(at, _)| *at);
    let welcome: Vec<_> =
        visited.iter().filter(|(_, visit)| visit.is_ok()).map(|(at, _)| nats.servers[*at].clone()).collect();
    let (now, others_work) = (SystemTime::now(), !welcome.is_empty());
    let lines = visited.into_iter().map(|(at, visit)| match visit {
        Ok(visit) => fine(&nats.servers[at], &visit, now),
        Err(error) => failed(&nats.servers[at], &error, others_work),
    });
    let mut lines: Vec<_> = lines.collect();
    let connection = if others_work { connect(nats, welcome, clock, &mut lines).await } else { None };
    (lines, connection)
}

async fn connect(
    nats: &Nats,
    servers: Vec<NatsUrl>,
    clock: Clock,
    lines: &mut Vec<Line>,
) -> Option<Connection> {
    let nats = Nats { servers, ignore_discovered_servers: true, ..nats.clone() };
    let connection = Connection::open(&nats, "check", clock);
    if timeout(PATIENCE, connection.state().connected()).await.is_ok() {
        return Some(connection);
    }
    let why = connection.state().trouble().unwrap_or_else(|| "no answer within 5 s".to_owned());
    lines.push(Line::failed("server", why, "it let us in a moment ago: check again"));
    None
}

fn fine(server: &NatsUrl, visit: &Visit, now: SystemTime) -> Line {
    let Visit { address, name, version, jetstream, tls } = visit;
    let jetstream = if *jetstream { "with" } else { "without" };
    let certificate = tls.as_ref().map(|shown| shown.as_ref().and_then(Certificate::read));
    let encrypted = match &certificate {
        None => "not encrypted".to_owned(),
        Some(None) => "TLS".to_owned(),
        Some(Some(certificate)) => format!("TLS, {}", certificate.describe(now)),
    };
    let server = server.address();
    let found = format!(
        "{server} ({address}) lets us in: {name}, version {version}, {jetstream} JetStream; {encrypted}"
    );
    match certificate.flatten() {
        Some(certificate) if certificate.ends_soon(now) => {
            Line::warning("server", found, "renew the server's certificate: it is refused from that day on")
        }
        _ => Line::fine("server", found),
    }
}

fn failed(server: &NatsUrl, error: &VisitError, others_work: bool) -> Line {
    let (what, advice) = match error {
        VisitError::Name(_) => {
            ("server name", "correct the host in nats.url, or the name servers of this machine")
        }
        VisitError::Connection(_) => (
            "server connection",
            "start the server, correct nats.url, or let this machine through (firewall, network policy)",
        ),
        VisitError::Tls(_) => (
            "server TLS",
            "see the server's certificate and its tls block, and [nats.tls] here: ca_file, cert_file, handshake_first",
        ),
        VisitError::Login(_) => (
            "server login",
            "correct the login in [nats] or nats.url, or see what the server's log says of it",
        ),
    };
    let found = format!("{}: {error}", server.address());
    // The daemon goes to another one then.
    if others_work { Line::warning(what, found, advice) } else { Line::failed(what, found, advice) }
}
