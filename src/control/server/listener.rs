//! The port of a server.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// How many connections wait in the kernel to be accepted. Beyond that it drops the first packet of a connection, which a
/// client repeats after a second: too late for a probe. The kernel has a limit of its own, 4,096 by default.
const BACKLOG: i32 = 4_096;
/// How many bytes the kernel keeps of an answer that a client does not read, and of what it sends and nobody reads. By
/// default that is some megabytes for each connection.
const KERNEL_BUFFER: usize = 64 * 1024;

/// Listens on `address`; on `[::]` for IPv4 as well, whatever the system's default is, and for IPv4 alone where there is
/// no IPv6.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match open(address) {
        Err(error) if is_everywhere(address) && error.kind() != ErrorKind::AddrInUse => {
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())).map_err(|_also| error)
        }
        opened => opened,
    }
}

fn is_everywhere(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if is_everywhere(address) {
        socket.set_only_v6(false)?;
    }
    // Connections of a daemon that has just ended keep nobody from the port.
    socket.set_reuse_address(true)?;
    // Connections inherit these.
    socket.set_send_buffer_size(KERNEL_BUFFER)?;
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn everywhere_is_both_kinds_of_addresses() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("IPv4 is served");
        let six = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await;
        assert!(six.is_ok() || TcpListener::bind("[::1]:0").await.is_err(), "IPv6 is not served: {six:?}");
        let taken = listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }
}
