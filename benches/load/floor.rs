//! The floor: a client that only posts, as cheaply as one can over HTTP/1.1, with TLS or without. One thread that waits with
//! epoll, one request at a time on each connection; a request is made once, and only its number is written anew. No
//! runtime, no NATS, no metrics, no deadlines. What the daemon costs beyond it is its own doing.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use procfs::process::Process;
use rustix::event::epoll;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::{
    machine::{self, Processors},
    receiver::Receiver,
};

/// The environment variable by which this program is told to be the floor.
const TASK: &str = "BROADCASTER_BENCH_FLOOR";

/// What the floor is to do.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Task {
    address: SocketAddr,
    ca_file: Option<PathBuf>,
    messages: usize,
    size: usize,
    connections: usize,
}

/// What it has to say afterwards.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// User and system.
    pub(crate) cpu: Duration,
    pub(crate) time: Duration,
    /// Peak resident memory, in KiB.
    pub(crate) peak: u64,
}

impl Task {
    /// What this process was told to do, if it is a floor.
    pub(crate) fn given() -> Option<Self> {
        let task = env::var(TASK).ok()?;
        Some(serde_json::from_str(&task).expect("the bench writes good tasks"))
    }
}

/// Posts all messages to `receiver`, in a process of its own on a processor of its own.
pub(crate) async fn post(
    receiver: &Receiver,
    messages: usize,
    size: usize,
    connections: usize,
    processors: &Processors,
    progress: &ProgressBar,
) -> Outcome {
    let task = Task { address: receiver.address(), ca_file: receiver.ca_file(), messages, size, connections };
    let this = env::current_exe().expect("this program has a path");
    let mut command = Command::new(this);
    command.env(TASK, serde_json::to_string(&task).expect("a task can be written")).stdout(Stdio::piped());
    let mut child = processors.apart(1, async { command.spawn().expect("this program runs again") }).await;
    while child.try_wait().expect("a child can be waited for").is_none() {
        progress.set_position(receiver.delivered() as u64);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success(), "the floor failed");
    serde_json::from_slice(&output.stdout).expect("the floor writes its outcome")
}

/// Does `task` and prints the outcome.
pub(crate) fn run(task: &Task) {
    let began = Instant::now();
    post_all(task);
    let this = Process::myself().expect("a process finds itself");
    let outcome =
        Outcome { cpu: machine::cpu_time(&this), time: began.elapsed(), peak: machine::peak_rss(&this) };
    println!("{}", serde_json::to_string(&outcome).expect("an outcome can be written"));
}

fn post_all(task: &Task) {
    let tls = task.ca_file.as_ref().map(trusting);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let mut request = format!(
        "POST /hook HTTP/1.1\r\nhost: receiver\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        task.size
    )
    .into_bytes();
    let body = request.len();
    request.resize(body + task.size, b' ');

    let mut connections = Vec::with_capacity(task.connections);
    let mut next = 0..task.messages;
    for index in 0..task.connections {
        let mut connection = Connection::open(task.address, tls.clone());
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN).expect("epoll takes it");
        if let Some(number) = next.next() {
            connection.send(&mut request, body, number);
        }
        connections.push(connection);
    }
    let mut answered = 0;
    let mut events = Vec::with_capacity(task.connections);
    while answered < task.messages {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).expect("epoll waits");
        for event in &events {
            let index = usize::try_from(event.data.u64()).expect("it is an index");
            let connection = &mut connections[index];
            if !connection.is_answered() {
                continue;
            }
            answered += 1;
            if let Some(number) = next.next() {
                connection.send(&mut request, body, number);
            }
        }
    }
}

/// TLS that trusts the authority in this file.
fn trusting(file: &PathBuf) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).expect("it is PEM")).expect("a good certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A connection, over which one request at a time is sent.
struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    answer: [u8; 256],
    /// How much of the answer is there.
    received: usize,
}

impl Connection {
    fn open(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        let mut stream = TcpStream::connect(address).expect("the receiver listens");
        stream.set_nodelay(true).expect("a socket option");
        let tls = tls.map(|config| {
            let name = ServerName::from(address.ip());
            let mut tls = ClientConnection::new(config, name).expect("a good name");
            while tls.is_handshaking() {
                tls.complete_io(&mut stream).expect("the receiver speaks TLS");
            }
            Box::new(tls)
        });
        stream.set_nonblocking(true).expect("a socket option");
        Self { stream, tls, answer: [0; 256], received: 0 }
    }

    /// Sends `request`, whose body begins at `body`, with this number. A socket without anything under way takes it whole.
    fn send(&mut self, request: &mut [u8], body: usize, number: usize) {
        let mut digits = &mut request[body..];
        write!(digits, "{number} ").expect("there is room");
        match &mut self.tls {
            None => {
                let sent = self.stream.write(request).expect("the receiver reads");
                assert_eq!(sent, request.len(), "the request is small");
            }
            Some(tls) => {
                tls.writer().write_all(request).expect("memory takes it");
                while tls.wants_write() {
                    tls.write_tls(&mut self.stream).expect("the receiver reads");
                }
            }
        }
    }

    /// Reads what has come. Whether that is all of an answer, which has no body.
    fn is_answered(&mut self) -> bool {
        let room = &mut self.answer[self.received..];
        let count = match &mut self.tls {
            None => self.stream.read(room),
            Some(tls) => {
                tls.read_tls(&mut self.stream).expect("the receiver answers");
                tls.process_new_packets().expect("the receiver speaks TLS");
                tls.reader().read(room)
            }
        };
        match count {
            // A ticket for the next session, say.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            count => self.received += count.expect("the receiver answers"),
        }
        let answer = &self.answer[..self.received];
        assert!(answer.starts_with(b"HTTP/1.1 200"), "the receiver refuses, or has closed the connection");
        let is_answered = answer.ends_with(b"\r\n\r\n");
        if is_answered {
            self.received = 0;
        }
        is_answered
    }
}
