//! What clients can do to the two ports: a probe gets its answer all the same, and messages are delivered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use testkit::daemon::{Daemon, Running, run};
use testkit::publisher::Publisher;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);
/// How many clients a port has at the same time.
const CLIENTS: usize = 5_000;
/// How long a probe may usually take here, where the machine has other tests to run. Alone it takes some milliseconds.
const PROBE: Duration = Duration::from_secs(1);
/// How much memory the clients may take of the daemon.
const MEMORY_KIB: u64 = 16 * 1024;

/// A client that does no good.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// It connects, and that is all.
    Idle,
    /// It asks, a byte at a time.
    Slow,
    /// It asks over and over, and reads no answer.
    Deaf,
}

impl Client {
    async fn run(self, address: SocketAddr) -> Option<()> {
        let socket = TcpSocket::new_v4().expect("there are descriptors enough");
        socket.set_recv_buffer_size(2_048).expect("the size is fine");
        let mut stream = socket.connect(address).await.ok()?;
        match self {
            Self::Idle => {
                stream.read_exact(&mut [0]).await.ok()?;
            }
            Self::Slow => {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n").await.ok()?;
                for byte in b"x-slow: ".iter().chain(std::iter::repeat(&b'a')) {
                    stream.write_u8(*byte).await.ok()?;
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Self::Deaf => loop {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.ok()?;
                stream.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.ok()?;
            },
        }
        Some(())
    }

    /// Comes back as often as it is sent away.
    async fn insist(self, address: SocketAddr) {
        loop {
            self.run(address).await;
            sleep(Duration::from_secs(5)).await;
        }
    }
}

/// Lets this process have as many sockets as the system allows.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be the hard one");
}

/// How long `broadcaster health --live` takes; a panic when it does not say that the daemon is well.
async fn probe(daemon: &Running) -> Duration {
    let api = format!("http://{}", daemon.api());
    let begin = Instant::now();
    let output = spawn_blocking(move || run(&["health", "--live", "--url", &api], &[])).await;
    let output = output.expect("it ends");
    assert!(output.status.success(), "the probe failed: {output:?}");
    begin.elapsed()
}

/// Whether the metrics can be had, as by a scraper that tries again.
async fn scrape(daemon: &Running) -> bool {
    for _ in 0..5 {
        let answer = testkit::http::get(daemon.metrics_address(), "/metrics").await;
        if answer.is_ok_and(|answer| answer.body.contains("broadcaster_build_info")) {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_gets_its_answer_whatever_ten_thousand_clients_do() {
    raise_descriptors();
    let hook = Webhook::counting();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    let load = Publisher::new(stage.nats.client().await, "todos.events").steadily(500);
    hook.wait_for(|hook| hook.delivered() > 200, SOON).await;
    stage.daemon.metrics().await;
    let before = stage.daemon.rss_kib();
    let alone = probe(&stage.daemon).await;

    let (api, metrics) = (stage.daemon.api(), stage.daemon.metrics_address());
    let clients = tokio::spawn(async move {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = [Client::Idle, Client::Slow, Client::Deaf][number % 3];
            clients.spawn(client.insist(api));
            clients.spawn(client.insist(metrics));
            if number % 50 == 0 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        // Here it ends when it is told to.
        while clients.join_next().await.is_some() {}
    });
    let mut probes = Vec::new();
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        probes.push(probe(&stage.daemon).await);
    }
    probes.sort_unstable();
    let (usual, longest) = (probes[probes.len() / 2], probes[probes.len() - 1]);
    assert!(scrape(&stage.daemon).await, "no scrape gets through");
    let grown = stage.daemon.rss_kib().saturating_sub(before);
    clients.abort();
    println!("a probe took {alone:?} alone, among clients {usual:?}, at most {longest:?}; {grown} KiB grown");
    assert!(usual < PROBE, "a probe takes {usual:?}");
    assert!(grown < MEMORY_KIB, "memory grew by {grown} KiB");

    let published = load.stop().await.count();
    hook.wait_delivered(usize::try_from(published).expect("it is a number of messages"), SOON).await;
    stage.close().await;
    hook.assert_exactly_once(0..published);
}

/// The one that has been still for the longest time makes room.
#[tokio::test]
async fn an_idle_client_is_closed_when_others_come_and_not_before() {
    raise_descriptors();
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    let mut first = TcpStream::connect(stage.daemon.api()).await.expect("it listens");
    let mut others = Vec::new();
    for _ in 0..300 {
        others.push(TcpStream::connect(stage.daemon.api()).await.expect("it listens"));
    }
    let is_open = timeout(Duration::from_millis(200), first.read(&mut [0])).await.is_err();
    assert!(is_open, "it was closed though there are places enough");
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is open");
    let answer = first.read(&mut [0; 512]).await.expect("it is answered");
    assert!(answer > 100, "{answer} bytes are no answer");
    for _ in 0..300 {
        others.push(TcpStream::connect(stage.daemon.api()).await.expect("it listens"));
    }
    let closed = timeout(SOON, others[0].read(&mut [0])).await.expect("it makes room");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    let asked_later = timeout(Duration::from_millis(200), first.read(&mut [0])).await;
    assert!(asked_later.is_err(), "one that asked later was closed before: {asked_later:?}");
    stage.close().await;
}

#[tokio::test]
async fn a_probe_gets_its_answer_where_there_are_no_descriptors() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    let pid = i32::try_from(stage.daemon.pid()).expect("a process id is positive");
    let open = procfs::process::Process::new(pid).and_then(|process| process.fd_count());
    let few = open.expect("the daemon runs") as u64 + 2;
    let limit = Rlimit { current: Some(few), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).expect("a child can be limited");
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(stage.daemon.api()).await.expect("the kernel connects"));
    }
    for _ in 0..5 {
        let took = probe(&stage.daemon).await;
        assert!(took < PROBE, "a probe took {took:?}");
    }
    let complaints = stage.daemon.logs_containing("cannot accept a connection");
    assert_eq!(complaints.len(), 1, "one line is enough: {complaints:?}");
    let limit = Rlimit { current: limit.maximum, ..limit };
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).expect("a child can be limited");
    stage.close().await;
}

#[tokio::test]
async fn every_address_is_of_both_kinds() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| {
        daemon.env("BROADCASTER__SERVER__API", "[::]:0").env("BROADCASTER__SERVER__METRICS", "[::]:0")
    })
    .await;
    let (api, metrics) = (stage.daemon.api().port(), stage.daemon.metrics_address().port());
    for host in ["127.0.0.1", "[::1]"] {
        for (port, path) in [(api, "/healthz"), (metrics, "/metrics")] {
            let address = format!("{host}:{port}").parse().expect("it is an address");
            let answer = testkit::http::get(address, path).await;
            let answer = answer.unwrap_or_else(|error| panic!("{address} does not answer: {error}"));
            assert_eq!(answer.status, 200, "{address}");
        }
    }
    let output = run(&["health", "--set", &format!("server.api=[::]:{api}")], &[]);
    assert!(output.status.success(), "{output:?}");
    stage.close().await;
}

/// A head that does not come to its end is not waited for, and one without end is refused.
#[tokio::test]
async fn a_head_has_a_time_and_a_size() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    let mut slow = TcpStream::connect(stage.daemon.api()).await.expect("it listens");
    slow.write_all(b"GET /healthz HT").await.expect("it listens");
    let begin = Instant::now();
    let mut large = TcpStream::connect(stage.daemon.api()).await.expect("it listens");
    large.write_all(&[b'a'; 64 * 1024]).await.expect("the kernel takes it");
    let closed = timeout(SOON, slow.read(&mut [0])).await.expect("it is closed in time");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    assert!(begin.elapsed() < Duration::from_secs(10), "it was waited for {:?}", begin.elapsed());
    let mut refused = Vec::new();
    drop(timeout(SOON, large.read_to_end(&mut refused)).await.expect("it is closed"));
    let refused = String::from_utf8_lossy(&refused);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 4"), "{refused}");
    stage.close().await;
}

/// A body that does not come is not waited for either, also where the client wants to be asked for it, and says nothing then.
#[tokio::test]
async fn a_body_has_a_time() {
    const TOKEN: &str = "actor-token-0123456789";
    let tokens = |daemon: Daemon| {
        let daemon = daemon.env("BROADCASTER__SERVER__TOKENS__OPS__TOKEN", TOKEN);
        daemon.env("BROADCASTER__SERVER__TOKENS__OPS__ROLE", "act")
    };
    let mut stage = Stage::set("http://127.0.0.1:1/", tokens).await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!(
            "POST /api/v1/routes/default/pause HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\
             {expect}content-length: 9\r\n\r\n"
        );
        let mut stream = TcpStream::connect(stage.daemon.api()).await.expect("it listens");
        stream.write_all(head.as_bytes()).await.expect("it listens");
        let mut answer = String::new();
        let read = timeout(SOON / 2, stream.read_to_string(&mut answer)).await;
        read.expect("it is answered, and the connection closed").expect("it is text");
        assert!(answer.contains("HTTP/1.1 400 ") && answer.contains(":broken-body"), "{expect}{answer}");
    }
    stage.close().await;
}
