//! A connection to one address.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use tokio::net::{TcpSocket, TcpStream};
use tracing::debug;

use crate::base::descriptors;

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
