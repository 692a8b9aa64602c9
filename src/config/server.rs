//! `[server]`: the addresses that broadcaster itself listens on.

use std::net::{SocketAddr, UdpSocket};

use super::{
    reader::{Reported, Section},
    tree::Value,
};

/// `[server]`: the addresses that broadcaster itself listens on. Port 0 takes a free port, which the log names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `server.api`: health and management. Default `0.0.0.0:8002`.
    pub api: SocketAddr,
    /// `server.metrics`: `GET /metrics`. Default `0.0.0.0:7777`.
    pub metrics: SocketAddr,
}

pub(super) fn read(at: &Section<'_>) -> Result<Server, Reported> {
    let api = at.or("api", SocketAddr::from(([0, 0, 0, 0], 8002)), address);
    let metrics = at.or("metrics", SocketAddr::from(([0, 0, 0, 0], 7777)), address);
    let server = Server { api: api?, metrics: metrics? };
    if server.api.port() == server.metrics.port() && server.api.port() != 0 {
        let key = if at.place("metrics").is_some() { "metrics" } else { "api" };
        return Err(at.report(
            key,
            format!("expected two ports, but server.api and server.metrics are both {}", server.api.port()),
        ));
    }
    for (key, ip) in [("api", server.api.ip()), ("metrics", server.metrics.ip())] {
        // No mistake: it may be given to the machine later. With any port, since the daemon may be running.
        if !ip.is_unspecified() && UdpSocket::bind((ip, 0)).is_err() {
            let problem = format!("this machine has no address {ip} to listen on");
            at.warn_at(at.path(key), problem);
        }
    }
    Ok(server)
}

fn address(value: &Value) -> Result<SocketAddr, String> {
    let parsed = match value {
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| value.unexpected("an address and port such as \"0.0.0.0:8002\""))
}
