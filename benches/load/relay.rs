//! The bare loop: NATS to HTTP with nothing in between, message after message over one connection. It holds no queue, tries
//! once and survives nothing: the least time that a message can be on its way.

use std::{env, net::SocketAddr, process::Command};

use futures_core::Stream as _;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use testkit::process::Process;

/// The environment variable by which this program is told to be the bare loop.
const TASK: &str = "BROADCASTER_BENCH_RELAY";

/// From where to where.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Task {
    pub(crate) nats: String,
    pub(crate) subject: String,
    pub(crate) receiver: SocketAddr,
}

impl Task {
    /// What this process was told to do, if it is a bare loop.
    pub(crate) fn given() -> Option<Self> {
        let task = env::var(TASK).ok()?;
        Some(serde_json::from_str(&task).expect("the bench writes good tasks"))
    }

    /// Starts a process that does it.
    pub(crate) fn start(&self) -> Process {
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command.env(TASK, serde_json::to_string(self).expect("a task can be written"));
        Process::spawn("the bare loop", &mut command)
    }
}

/// Relays until it is killed.
pub(crate) async fn run(task: Task) {
    let client = async_nats::connect(task.nats).await.expect("NATS is there");
    let mut messages = client.subscribe(task.subject).await.expect("a subscription");
    let mut stream = TcpStream::connect(task.receiver).await.expect("the receiver listens");
    stream.set_nodelay(true).expect("a socket option");
    let (mut request, mut answer) = (Vec::new(), vec![0; 4096]);
    while let Some(message) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut messages).poll_next(cx)).await
    {
        request.clear();
        request.extend_from_slice(
            b"POST /hook HTTP/1.1\r\nhost: receiver\r\ncontent-type: application/json\r\n",
        );
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", message.payload.len()).as_bytes());
        request.extend_from_slice(&message.payload);
        stream.write_all(&request).await.expect("the receiver reads");
        let mut received = 0;
        // The receiver's answers have no body.
        while !answer[..received].ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut answer[received..]).await.expect("the receiver answers");
            assert!(count > 0, "the receiver closed the connection");
            received += count;
        }
    }
}
