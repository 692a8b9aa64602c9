//! The floor: a client that only posts, as cheaply as one can. One thread, 64 connections, one request at a time on each,
//! written and read by hand; no NATS, no metrics, no deadlines. What the daemon costs beyond it is its own doing.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use procfs::process::Process;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
};

use crate::{MESSAGES, SIZE};

const CONNECTIONS: usize = 64;

/// Posts all messages to `address`. Returns the CPU time that took.
pub(crate) fn post_all(address: SocketAddr) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let next = Rc::new(Cell::new(0));
    LocalSet::new().block_on(&runtime, async {
        let posting: Vec<_> =
            (0..CONNECTIONS).map(|_| tokio::task::spawn_local(post(address, Rc::clone(&next)))).collect();
        for posting in posting {
            posting.await.expect("no poster panics");
        }
    });
    let stat = Process::myself().and_then(|process| process.stat()).expect("/proc tells the CPU time");
    let tick = Duration::from_secs(1) / u32::try_from(procfs::ticks_per_second()).expect("some hundred");
    tick * u32::try_from(stat.utime + stat.stime).expect("a short run")
}

async fn post(address: SocketAddr, next: Rc<Cell<usize>>) {
    let mut stream = TcpStream::connect(address).await.expect("the receiver listens");
    stream.set_nodelay(true).expect("a socket option");
    let mut answer = vec![0; 4096];
    let mut request = Vec::with_capacity(1024);
    while next.get() < MESSAGES {
        let number = next.replace(next.get() + 1);
        request.clear();
        request.extend_from_slice(
            b"POST /hook HTTP/1.1\r\nhost: receiver\r\ncontent-type: application/json\r\n",
        );
        request.extend_from_slice(format!("content-length: {SIZE}\r\n\r\n{number:<SIZE$}").as_bytes());
        stream.write_all(&request).await.expect("the receiver reads");
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
