//! The floor: a client that only posts, as cheaply as one can, over TCP or TLS. One thread, one request at a time on each
//! connection, written and read by hand; no NATS, no metrics, no deadlines. What the daemon costs beyond it is its own
//! doing.

use std::{
    cell::Cell,
    env,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use procfs::process::Process;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
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
pub(crate) async fn run(task: Task) {
    let began = Instant::now();
    LocalSet::new().run_until(post_all(task)).await;
    let this = Process::myself().expect("a process finds itself");
    let outcome =
        Outcome { cpu: machine::cpu_time(&this), time: began.elapsed(), peak: machine::peak_rss(&this) };
    println!("{}", serde_json::to_string(&outcome).expect("an outcome can be written"));
}

async fn post_all(task: Task) {
    let next = Rc::new(Cell::new(0));
    let tls = task.ca_file.as_ref().map(|file| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file).expect("it is PEM")).expect("a good certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    });
    let task = Rc::new(task);
    let posting = (0..task.connections).map(|_| {
        let (task, tls, next) = (Rc::clone(&task), tls.clone(), Rc::clone(&next));
        tokio::task::spawn_local(async move {
            let stream = TcpStream::connect(task.address).await.expect("the receiver listens");
            stream.set_nodelay(true).expect("a socket option");
            match tls {
                None => post_some(stream, &task, &next).await,
                Some(tls) => {
                    let name = ServerName::from(task.address.ip());
                    let stream = tls.connect(name, stream).await.expect("the receiver speaks TLS");
                    post_some(stream, &task, &next).await;
                }
            }
        })
    });
    for posting in posting.collect::<Vec<_>>() {
        posting.await.expect("no poster panics");
    }
}

async fn post_some(mut stream: impl AsyncRead + AsyncWrite + Unpin, task: &Task, next: &Cell<usize>) {
    let size = task.size;
    let mut answer = vec![0; 4096];
    let mut request = Vec::with_capacity(1024);
    while next.get() < task.messages {
        let number = next.replace(next.get() + 1);
        request.clear();
        request.extend_from_slice(
            b"POST /hook HTTP/1.1\r\nhost: receiver\r\ncontent-type: application/json\r\n",
        );
        request.extend_from_slice(format!("content-length: {size}\r\n\r\n{number:<size$}").as_bytes());
        stream.write_all(&request).await.expect("the receiver reads");
        stream.flush().await.expect("the receiver reads");
        let mut received = 0;
        // The receiver's answers have no body.
        while !answer[..received].ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut answer[received..]).await.expect("the receiver answers");
            assert!(count > 0, "the receiver closed the connection");
            received += count;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "the receiver refuses");
    }
}
