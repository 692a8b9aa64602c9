//! A real nats-server for one test.

use std::fs::File;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_core::Stream as _;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{http, process};

pub mod cluster;
pub mod streams;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is to be started.
#[derive(Default)]
pub struct Setup {
    core_only: bool,
    extra: String,
    port: Option<u16>,
    store_dir: Option<PathBuf>,
    jetstream: String,
    cluster: Option<cluster::Place>,
}

/// A nats-server that keeps streams unless it is told not to, with its own ports and its own directory; killed on drop.
pub struct NatsServer {
    setup: Setup,
    directory: TempDir,
    process: process::Process,
    port: u16,
    monitor: u16,
}

impl Setup {
    /// Adds lines to the server's configuration: `authorization`, `tls`, `lame_duck_duration`, …
    pub fn config(mut self, extra: &str) -> Self {
        self.extra.push_str(extra);
        self.extra.push('\n');
        self
    }

    /// Without streams, which a cluster of two can't have.
    pub fn core_only(mut self) -> Self {
        self.core_only = true;
        self
    }

    /// Adds lines to what is said of streams: `domain`, `max_mem`, …
    pub fn jetstream(mut self, extra: &str) -> Self {
        extra.clone_into(&mut self.jetstream);
        self
    }

    /// Listens on this port for clients, not on a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Keeps the streams here, not in a directory that ends with the server.
    pub fn store_dir(mut self, directory: &Path) -> Self {
        self.store_dir = Some(directory.to_owned());
        self
    }

    /// Starts the server and waits until it takes connections.
    pub async fn start(self) -> NatsServer {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (process, port, monitor) = launch(&self, directory.path(), self.port, None).await;
        NatsServer { setup: self, directory, process, port, monitor }
    }
}

impl NatsServer {
    /// Starts a server with nothing special about it.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A server to be described, then started.
    pub fn builder() -> Setup {
        Setup::default()
    }

    /// The URL for clients, without credentials.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port for clients; a restart keeps it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for other servers of its cluster, where the setup has a `cluster`.
    pub fn cluster_url(&self) -> String {
        let ports =
            read_ports(self.directory.path(), &self.process).expect("a running server lists its ports");
        format!("nats://127.0.0.1:{}", listed_port(&ports["cluster"]))
    }

    /// SIGKILL: connections break, nothing is flushed.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait(PATIENCE).await;
    }

    /// Starts it again on the same ports, with the same streams; kills it first when it still runs.
    pub async fn restart(&mut self) {
        self.kill();
        let (port, monitor) = (Some(self.port), Some(self.monitor));
        (self.process, ..) = launch(&self.setup, self.directory.path(), port, monitor).await;
    }

    /// Takes this instead of what was added to its configuration, without a restart, and returns when it has.
    pub async fn reload(&mut self, extra: &str) {
        extra.clone_into(&mut self.setup.extra);
        let directory = self.directory.path();
        // A port that it has chosen itself stays the one that it chose.
        let text = configuration(&self.setup, directory, self.setup.port, None);
        std::fs::write(directory.join("nats.conf"), text).expect("the directory is writable");
        let reloads = || read_log(directory).matches("Reloaded server configuration").count();
        let before = reloads();
        self.process.signal(Signal::HUP);
        let done = super::poll(PATIENCE, || (reloads() > before).then_some(())).await;
        assert!(done.is_some(), "nats-server does not reload, its log: {}", read_log(directory));
    }

    /// Tells the server to send its clients away and to end (SIGUSR2). The setup's `lame_duck_grace_period` and
    /// `lame_duck_duration` (30 s or more) say how fast.
    pub fn lame_duck(&self) {
        self.process.signal(Signal::USR2);
    }

    /// Stops the server for `pause`, with all that is connected to it.
    pub async fn stand_still(&self, pause: Duration) {
        self.process.signal(Signal::STOP);
        tokio::time::sleep(pause).await;
        self.process.signal(Signal::CONT);
    }

    /// Stops the server for `pause` every now and then, as a limit on its CPU time does; for ever.
    pub async fn stutter(&self, pause: Duration) {
        loop {
            self.process.signal(Signal::STOP);
            tokio::time::sleep(pause).await;
            self.process.signal(Signal::CONT);
            tokio::time::sleep(pause / 2).await;
        }
    }

    /// Waits for an end that came by itself or by a signal; a panic when it takes longer than `deadline`.
    pub async fn ended(&mut self, deadline: Duration) {
        self.process.wait(deadline).await;
    }

    /// A client without credentials.
    pub async fn client(&self) -> async_nats::Client {
        self.client_with(async_nats::ConnectOptions::new()).await
    }

    /// A client with these options.
    pub async fn client_with(&self, options: async_nats::ConnectOptions) -> async_nats::Client {
        options
            .connect(self.url())
            .await
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", self.url()))
    }

    /// Sends this in the NATS protocol as a client that checks nothing, and waits until the server has read it.
    pub async fn say(&self, commands: &[u8]) {
        const FIRST: &[u8] =
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";
        let mut stream = TcpStream::connect(loopback(self.port)).await.expect("the server listens");
        let everything = [FIRST, commands, b"PING\r\n"].concat();
        stream.write_all(&everything).await.expect("the server reads what it is told");
        let mut lines = BufReader::new(stream).lines();
        loop {
            let line = lines.next_line().await.expect("the server answers in text");
            let line = line.expect("the server does not hang up");
            assert!(!line.starts_with("-ERR"), "nats-server refuses it: {line}");
            if line == "PONG" {
                return;
            }
        }
    }

    /// What the monitoring port says at `path`: `/connz`, `/subsz?subs=1`, `/varz`, …
    pub async fn monitor(&self, path: &str) -> Value {
        let answer = http::get(loopback(self.monitor), path).await;
        let answer = answer.unwrap_or_else(|error| panic!("nats-server's {path}: {error}"));
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("nats-server's {path}: {error}"))
    }

    /// How many subscriptions there are on exactly this subject.
    pub async fn subscriptions(&self, subject: &str) -> usize {
        let all = self.monitor("/subsz?subs=1&limit=100000").await;
        let list = all["subscriptions_list"].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().filter(|subscription| subscription["subject"] == subject).count()
    }

    /// Waits until there are `count` subscriptions on exactly this subject: a client's `flush` returns before the server
    /// has seen its subscription.
    pub async fn wait_subscriptions(&self, subject: &str, count: usize, deadline: Duration) {
        let end = Instant::now() + deadline;
        loop {
            let found = self.subscriptions(subject).await;
            if found == count {
                return;
            }
            assert!(
                Instant::now() < end,
                "{found} subscriptions on {subject} after {deadline:?}, not {count}"
            );
            tokio::time::sleep(super::LOOK_EVERY).await;
        }
    }

    /// How many clients are connected.
    pub async fn connections(&self) -> usize {
        let open = self.monitor("/connz").await;
        open["connections"].as_array().map_or(0, Vec::len)
    }

    /// The server's own log so far.
    pub fn log(&self) -> String {
        read_log(self.directory.path())
    }
}

/// The next message of a subscription; a panic when none comes before `deadline`.
pub async fn next(subscription: &mut async_nats::Subscriber, deadline: Duration) -> async_nats::Message {
    let message = poll_fn(|context| Pin::new(&mut *subscription).poll_next(context));
    let message = tokio::time::timeout(deadline, message).await;
    let message =
        message.unwrap_or_else(|_| panic!("no message came to the subscription within {deadline:?}"));
    message.expect("the subscription is open")
}

/// Starts a server and waits for its ports file, which it writes when it takes connections. A port that is `None` is
/// chosen by the system.
async fn launch(
    setup: &Setup,
    directory: &Path,
    port: Option<u16>,
    monitor: Option<u16>,
) -> (process::Process, u16, u16) {
    let config = directory.join("nats.conf");
    std::fs::write(&config, configuration(setup, directory, port, monitor))
        .expect("the directory is writable");
    // What it says before it has read where its log goes: mistakes in the configuration.
    let first_words = File::create(directory.join("stderr.log")).expect("the directory is writable");
    let mut command = Command::new(process::tool("nats-server", "NATS_SERVER"));
    command.arg("--config").arg(&config).stdout(Stdio::null()).stderr(first_words);
    let mut process = process::Process::spawn("nats-server", &mut command);
    let ready = super::poll(PATIENCE, || {
        let ports = read_ports(directory, &process);
        (ports.is_some() || process.ended().is_some()).then_some(ports)
    });
    let Some(ports) = ready.await.flatten() else {
        panic!("nats-server did not start, its log: {}", read_log(directory));
    };
    (process, listed_port(&ports["nats"]), listed_port(&ports["monitoring"]))
}

fn configuration(setup: &Setup, directory: &Path, port: Option<u16>, monitor: Option<u16>) -> String {
    let chosen = |port: Option<u16>| port.map_or(-1, i32::from);
    let store = setup.store_dir.clone().unwrap_or_else(|| directory.join("store"));
    let streams = if setup.core_only {
        String::new()
    } else {
        format!("jetstream {{ store_dir: {store:?}\n{} }}", setup.jetstream)
    };
    let cluster = setup.cluster.as_ref().map(cluster::Place::configuration).unwrap_or_default();
    format!(
        "listen: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\nports_file_dir: {directory:?}\nlog_file: {:?}\n\
         {streams}\n{cluster}\n{}",
        chosen(port),
        chosen(monitor),
        directory.join("nats.log"),
        setup.extra,
    )
}

/// What a server says about its ports once it takes connections.
fn read_ports(directory: &Path, process: &process::Process) -> Option<Value> {
    let file = directory.join(format!("nats-server_{}.ports", process.id()));
    // Half-written JSON does not parse, and is looked at again.
    serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
}

/// The port of the first URL in a list of the ports file.
fn listed_port(urls: &Value) -> u16 {
    let port = urls[0].as_str().and_then(|url| url.rsplit(':').next()).and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("nats-server lists no port: {urls}"))
}

fn read_log(directory: &Path) -> String {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
    read("stderr.log") + &read("nats.log")
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
