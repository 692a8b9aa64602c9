//! Real servers of HTTP/2 for one test: nghttpd, and one on Node that counts.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::process::{self, Process};

const PATIENCE: Duration = Duration::from_secs(20);

/// nghttpd, the server of the reference library nghttp2, which sends back what it gets. Killed on drop.
pub struct Nghttpd {
    address: SocketAddr,
    _process: Process,
}

impl Nghttpd {
    /// Without TLS, with these options.
    pub async fn start(options: &[&str]) -> Self {
        // It can't tell which port it was given: one that was free a moment ago.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
        let address = free.local_addr().expect("a listener has an address");
        drop(free);
        let mut command = Command::new(process::tool("nghttpd", "NGHTTPD"));
        command.args(["--no-tls", "--echo-upload", "--address=127.0.0.1"]).args(options);
        command.arg(address.port().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn("nghttpd", &mut command);
        let up = super::poll(PATIENCE, || std::net::TcpStream::connect(address).ok()).await;
        assert!(up.is_some(), "nghttpd does not listen");
        Self { address, _process: process }
    }

    /// The URL to POST to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

/// A webhook on Node. Killed on drop.
pub struct NodeHttp2 {
    url: String,
    answered: Arc<Mutex<Vec<(u64, u32)>>>,
    _process: Process,
}

impl NodeHttp2 {
    /// One that ends each connection after `life`, where that is not nothing; with TLS where it has a certificate and its
    /// key.
    pub fn start(identity: Option<(&Path, &Path)>, life: Duration) -> Self {
        let mut command = Command::new(process::tool("node", "NODE"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http2_server.mjs"));
        match identity {
            None => command.args(["plain", "none"]),
            Some((certificate, key)) => command.arg(certificate).arg(key),
        };
        command.arg(life.as_millis().to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::spawn("node", &mut command);
        let mut lines = BufReader::new(process.take_stdout()).lines().map_while(Result::ok);
        let port: u16 = lines.next().and_then(|line| line.parse().ok()).expect("the server says its port");
        let answered = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&answered);
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines {
                let numbers =
                    line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                shared.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
            }
        });
        let scheme = if identity.is_some() { "https" } else { "http" };
        Self { url: format!("{scheme}://127.0.0.1:{port}/hook"), answered, _process: process }
    }

    /// The URL to POST to.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The messages that were answered, and which attempt each was.
    pub fn answered(&self) -> Vec<(u64, u32)> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
