//! A connection to one address.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tracing::debug;

use crate::base::descriptors;

/// When an idle connection is asked whether it is there, and given up: after half a minute.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(15))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// Connects to `address`. The error is of the kind [`ErrorKind::QuotaExceeded`] where we are short of something and the
/// system would not say so.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if descriptors::is_kept(&socket) {
        return Err(short_of(
            "too many open files in this process: the last ones are kept for probes and NATS",
        ));
    }
    // A request goes out in one piece; waiting for more to send would only delay it.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "cannot turn Nagle's algorithm off");
    }
    // What stands between us forgets idle connections: this reminds it, or tells us that it has.
    if let Err(error) = SockRef::from(&socket).set_tcp_keepalive(&KEEP_ALIVE) {
        debug!(%error, "cannot keep idle connections alive");
    }
    match socket.connect(address).await {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable && leads_to(address) => {
            Err(short_of("no free local port"))
        }
        connected => connected,
    }
}

fn short_of(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::QuotaExceeded, what)
}

/// Whether this machine has an address from which `address` could be reached. The system has the same error for "none"
/// and for "all ports of it are taken"; to point a datagram socket there takes no port of those, and sends nothing.
fn leads_to(address: SocketAddr) -> bool {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| socket.connect(address)).is_ok()
}
