//! Addresses that do not answer, or not soon: what firewalls and great distances do, on a loopback address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::raw;

/// An address that takes no connection and refuses none: the system drops the packets that ask for one, since as many as
/// there is room for wait to be accepted already.
pub struct BlackHole {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    /// Nobody answers at `address`. Needs a runtime.
    pub fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("the system has sockets");
        socket.bind(address).expect("the address is free");
        let listener = socket.listen(0).expect("a socket can listen");
        let listener = listener.into_std().expect("a listener can be taken back");
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            waiting.push(stream);
        }
        Self { listener, _waiting: waiting }
    }
}

/// A webhook that is a second away: the first packet that asks for a connection is dropped, and the system sends another
/// one after a second. It answers 200 then, on every connection.
pub struct FarWebhook {
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FarWebhook {
    /// One at `address`. Needs a runtime.
    pub fn at(address: SocketAddr) -> Self {
        let hole = BlackHole::at(address);
        let (served, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&served), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Relaxed) && !is_asked_for(address) {
                std::thread::sleep(Duration::from_millis(10));
            }
            serve(&hole.listener, &count, &ended);
        });
        Self { served, stop, thread: Some(thread) }
    }

    /// How many requests it has answered.
    pub fn served(&self) -> usize {
        self.served.load(Relaxed)
    }
}

impl Drop for FarWebhook {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic over there has printed its own message.
            drop(thread.join());
        }
    }
}

/// Whether a socket of this network waits for a first answer from `address`.
fn is_asked_for(address: SocketAddr) -> bool {
    use procfs::net::{TcpState, tcp};
    let sockets = tcp().expect("the kernel lists its sockets");
    sockets.iter().any(|socket| socket.state == TcpState::SynSent && socket.remote_address == address)
}

/// Answers whoever comes, one after the other, until `ended`.
fn serve(listener: &TcpListener, served: &AtomicUsize, ended: &AtomicBool) {
    while !ended.load(Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).expect("a socket can be made blocking");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket has a timeout");
        let mut request = [0; 4096];
        // The test's own connections, which filled the room, say nothing.
        if stream.read(&mut request).is_ok_and(|length| length > 0) {
            served.fetch_add(1, Relaxed);
            stream.write_all(raw::OK).ok();
        }
    }
}
