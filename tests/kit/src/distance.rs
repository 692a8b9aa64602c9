//! Addresses that do not answer, or not soon: what firewalls and great distances do, on a loopback address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{self, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::background::Background;
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

/// A long way to a server nearby: what goes to it or comes from it arrives after a time, in order.
pub struct LongWay {
    address: SocketAddr,
    _thread: Background,
}

impl LongWay {
    /// The way to `server`, which takes `latency` in each direction.
    pub fn to(server: SocketAddr, latency: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let thread = Background::run("long way", move || async move {
            let listener = net::TcpListener::from_std(listener).expect("there is a runtime");
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = net::TcpStream::connect(server).await else { continue };
                let (from_near, to_near) = near.into_split();
                let (from_far, to_far) = far.into_split();
                connections.spawn(carry(from_near, to_far, latency));
                connections.spawn(carry(from_far, to_near, latency));
            }
        });
        Self { address, _thread: thread }
    }

    /// Where the way begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Carries what comes `from` one end to the other, each piece after `latency`.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, latency: Duration) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let arriving = async move {
        while let Some((due, piece)) = on_the_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let leaving = async move {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            if sender.send((Instant::now() + latency, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(arriving, leaving);
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
