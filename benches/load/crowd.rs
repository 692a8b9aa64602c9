//! Clients of the API, many at the same time, while messages are delivered: what they cost the deliveries. Machines are
//! small, and clients take their share of them: the yardstick is the same crowd at another server, which answers the same.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use testkit::{background::Background, daemon::Running, http};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{LocalSet, spawn_local},
    time::sleep,
};

use crate::case::PATIENCE;

/// What the clients of a crowd do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Habit {
    /// They follow the events of the status.
    Follow,
    /// They ask for the page and the status, and read a little of the answer now and then.
    ReadSlowly,
}

/// Many clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) habit: Habit,
    pub(crate) clients: usize,
    /// Whether they are at another server.
    pub(crate) elsewhere: bool,
}

/// A crowd that is there, until this is dropped.
pub(crate) struct Gathered {
    _clients: Background,
    _other_server: Option<Background>,
}

/// From one event to the next.
const EVENT_PAUSE: Duration = Duration::from_secs(1);
/// From one look of a slow reader to the next, and how much it reads then.
const READ_PAUSE: Duration = Duration::from_millis(200);
const READ: usize = 512;
/// After how long a client comes again that was sent away, as a browser does.
const AGAIN: Duration = Duration::from_secs(1);
/// How many come at the same time.
const AT_ONCE: usize = 20;

/// Gathers `crowd` at `daemon`, where there is one.
pub(crate) async fn gather(crowd: Option<Crowd>, daemon: &Running) -> Option<Gathered> {
    match crowd {
        Some(crowd) => Some(crowd.gather(daemon).await),
        None => None,
    }
}

impl Crowd {
    /// Gathers at `daemon`, or elsewhere while that has none.
    async fn gather(self, daemon: &Running) -> Gathered {
        let path = match self.habit {
            Habit::Follow => "/api/v1/status",
            Habit::ReadSlowly => "/",
        };
        let answer = http::get(daemon.api(), path).await.expect("the daemon answers").body;
        let (address, other_server) = if self.elsewhere {
            let (address, server) = another_server(answer);
            (address, Some(server))
        } else {
            (daemon.api(), None)
        };
        let arrived = Arc::new(AtomicUsize::new(0));
        let there = Arc::clone(&arrived);
        let clients = Background::run("crowd", move || async move {
            LocalSet::new().run_until(self.insist(address, there)).await;
        });
        let all = || (arrived.load(Relaxed) >= self.clients).then_some(());
        testkit::poll(PATIENCE, all).await.expect("all have come");
        Gathered { _clients: clients, _other_server: other_server }
    }

    /// Has all clients come, and come again whenever they are sent away.
    async fn insist(self, address: SocketAddr, arrived: Arc<AtomicUsize>) {
        for number in 0..self.clients {
            let arrived = Arc::clone(&arrived);
            spawn_local(async move {
                loop {
                    // Whoever is sent away has to be expected: places are few.
                    drop(self.visit(number, address, &arrived).await);
                    sleep(AGAIN).await;
                }
            });
            if number % AT_ONCE == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn visit(self, number: usize, address: SocketAddr, arrived: &AtomicUsize) -> std::io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        if let Habit::ReadSlowly = self.habit {
            socket.set_recv_buffer_size(4_096)?;
        }
        let mut stream = socket.connect(address).await?;
        let path = match self.habit {
            Habit::Follow => "/api/v1/status/events",
            Habit::ReadSlowly if number.is_multiple_of(2) => "/",
            Habit::ReadSlowly => "/api/v1/status?limit=500&history=true",
        };
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await?;
        arrived.fetch_add(1, Relaxed);
        let mut buffer = vec![0; if let Habit::Follow = self.habit { 64 * 1024 } else { READ }];
        while stream.read(&mut buffer).await? > 0 {
            if let Habit::ReadSlowly = self.habit {
                sleep(READ_PAUSE).await;
            }
        }
        Ok(())
    }
}

/// A server that answers every request with `content`, and where events are asked for, with that each second.
fn another_server(content: String) -> (SocketAddr, Background) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("a listener has an address");
    let content: Arc<str> = content.into();
    let server = Background::run("another server", move || async move {
        let serve = async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let content = Arc::clone(&content);
                spawn_local(async move { drop(answer(stream, &content).await) });
            }
        };
        LocalSet::new().run_until(serve).await;
    });
    (address, server)
}

async fn answer(mut stream: TcpStream, content: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let is_followed = request.starts_with(b"GET /api/v1/status/events");
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
    loop {
        stream.write_all(content.as_bytes()).await?;
        if !is_followed {
            return Ok(());
        }
        sleep(EVENT_PAUSE).await;
    }
}
