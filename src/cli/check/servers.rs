//! The servers of NATS, each by itself: name, connection, TLS, login.

use std::time::Duration;

use tokio::{task::JoinSet, time::timeout};

use super::report::Line;
use crate::{
    base::clock::Clock,
    config::{Nats, NatsUrl},
    nats::NatsConnection,
};

/// How long a server may take: somebody waits for the report.
const PATIENCE: Duration = Duration::from_secs(5);

/// Visits each server. Gives what was found, and a connection to the first that took us in.
pub(super) async fn check(nats: &Nats, _clock: Clock) -> (Vec<Line>, Option<NatsConnection>) {
    let mut visits = JoinSet::new();
    for (at, server) in nats.servers.iter().enumerate() {
        let nats = Nats { servers: vec![server.clone()], ..nats.clone() };
        visits.spawn_local(async move { (at, visit(&nats).await) });
    }
    let mut found: Vec<_> = nats.servers.iter().map(|_| None).collect();
    while let Some(Ok((at, visited))) = visits.join_next().await {
        found[at] = Some(visited);
    }
    let works = found.iter().any(|visited| matches!(visited, Some(Ok(_))));
    let mut connection = None;
    let mut lines = Vec::new();
    for (server, visited) in nats.servers.iter().zip(found) {
        lines.push(match visited {
            Some(Ok(visited)) => {
                let line = fine(server, &visited);
                connection.get_or_insert(visited);
                line
            }
            Some(Err(why)) => failed(server, &why, works),
            None => continue,
        });
    }
    (lines, connection)
}

async fn visit(nats: &Nats) -> Result<NatsConnection, String> {
    let connection = NatsConnection::open(nats, "check", None).await.map_err(|error| error.to_string())?;
    if timeout(PATIENCE, connection.state().connected()).await.is_err() {
        return Err(connection.state().trouble().unwrap_or_else(|| "no answer".to_owned()));
    }
    Ok(connection)
}

fn fine(server: &NatsUrl, connection: &NatsConnection) -> Line {
    let info = connection.client().server_info();
    let jetstream = if info.jetstream { "with" } else { "without" };
    let found = format!(
        "{} is nats-server {}, {jetstream} JetStream: {}",
        server.address(),
        info.version,
        info.server_name
    );
    Line::fine("server", found)
}

fn failed(server: &NatsUrl, why: &str, others_work: bool) -> Line {
    let found = format!("{}: {why}", server.address());
    if others_work {
        return Line::warning("server", found, "others of nats.url work: see why this one does not");
    }
    Line::failed("server", found, "see")
}
