//! Clients of `/api/v1/status/events`: they hear what happens, and cost little, also those that don't read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use testkit::daemon::Daemon;
use testkit::nats::NatsServer;
use testkit::poll;
use testkit::publisher::Publisher;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);
/// How many follow.
const FOLLOWERS: usize = 200;
/// How many of them never read.
const DEAF: usize = 50;
/// How much memory they may take of the daemon, in bytes.
const MEMORY: u64 = 16 * 1024 * 1024;

async fn follow(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are descriptors enough");
    socket.set_recv_buffer_size(4_096).expect("the size is fine");
    let mut stream = socket.connect(address).await.expect("the daemon accepts");
    let request = b"GET /api/v1/status/events HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request).await.expect("the daemon reads");
    stream
}

/// Counts the events that come over `stream`, for as long as any do.
async fn count(mut stream: TcpStream, events: Arc<AtomicUsize>) {
    let mut part = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut part).await {
        let begun = part[..length].windows(14).filter(|window| *window == b"event: status\n").count();
        events.fetch_add(begun, Relaxed);
    }
}

#[tokio::test]
async fn two_hundred_hear_everything_and_cost_little() {
    let hook = Webhook::counting();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    let load = Publisher::new(stage.nats.client().await, "todos.events").steadily(500);
    hook.wait_for(|hook| hook.delivered() > 500, SOON).await;
    let before = stage.daemon.own_memory();

    let mut deaf = Vec::new();
    let mut listening = JoinSet::new();
    let events: Vec<_> = (0..FOLLOWERS - DEAF).map(|_| Arc::<AtomicUsize>::default()).collect();
    for _ in 0..DEAF {
        deaf.push(follow(stage.daemon.api()).await);
    }
    for events in &events {
        listening.spawn(count(follow(stage.daemon.api()).await, Arc::clone(events)));
    }
    let heard = || events.iter().map(|events| events.load(Relaxed)).min().filter(|fewest| *fewest >= 5);
    let fewest = poll(SOON, heard).await;
    assert!(fewest.is_some(), "somebody hears nothing: {events:?}");
    let taken = stage.daemon.own_memory().saturating_sub(before);
    assert!(taken <= MEMORY, "{FOLLOWERS} followers take {} KiB", taken / 1024);
    assert_eq!(stage.daemon.get("/healthz").await.status, 200);

    let delivered = hook.delivered();
    hook.wait_for(|hook| hook.delivered() > delivered + 500, SOON).await;
    drop((deaf, listening));
    load.stop().await;
    stage.close().await;
}

#[tokio::test]
async fn more_than_there_is_room_for_are_told_to_come_back() {
    let nats = NatsServer::start().await;
    let mut daemon = Daemon::between(&nats, "http://127.0.0.1:1/").start_ready().await;
    let mut streams = Vec::new();
    let refused = loop {
        let mut stream = follow(daemon.api()).await;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.expect("the daemon answers");
        if &begin != b"HTTP/1.1 200" {
            break String::from_utf8_lossy(&begin).into_owned();
        }
        streams.push(stream);
        assert!(streams.len() < 1000, "there is no bound");
    };
    assert_eq!((refused.as_str(), streams.len()), ("HTTP/1.1 503", 256));
    daemon.ready(SOON).await;
    drop(streams);
    daemon.stop().await;
}
