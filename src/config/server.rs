//! `[server]`: the addresses that broadcaster itself listens on, and who may do what there.

mod token;

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

pub use self::token::{ApiToken, Role};
use super::{
    Identity, parse,
    reader::{Reported, Section},
    route::webhook_tls::identity,
    tree::Value,
};

/// `[server]`: the addresses that broadcaster itself listens on, and who may do what there. Port 0 takes a free port, which the log names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `server.api`: health and management. Default `[::]:8002`, which is IPv4 as well.
    pub api: SocketAddr,
    /// `server.metrics`: `GET /metrics`. Default `[::]:7777`.
    pub metrics: SocketAddr,
    /// `server.page`: whether the API has the status page, at `/`. Default true.
    pub page: bool,
    /// `server.tokens.NAME`: who may ask the API for more than everybody may, sorted by name. Default: nobody.
    pub tokens: Vec<ApiToken>,
    /// `server.tls.cert_file` and `server.tls.key_file`: what the API shows to its clients, which speak TLS then. Default:
    /// nothing, they don't.
    pub tls: Option<Identity>,
}

/// The key of [`Server::api`].
pub(super) const API: &str = "server.api";
/// The key of the certificate of the API.
pub(super) const CERTIFICATE: &str = "server.tls.cert_file";
pub(super) const DEFAULT_API: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8002);
const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 7777);

pub(super) fn read(at: &Section<'_>) -> Result<Server, Reported> {
    let api = at.or("api", DEFAULT_API, address);
    let metrics = at.or("metrics", DEFAULT_METRICS, address);
    let page = at.or("page", true, parse::switch);
    let tokens = at.section("tokens", token::read_all);
    let tls = at.section("tls", identity);
    let server = Server { api: api?, metrics: metrics?, page: page?, tokens: tokens?, tls: tls? };
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
    parsed.ok_or_else(|| value.unexpected("an address and port such as \"[::]:8002\""))
}
