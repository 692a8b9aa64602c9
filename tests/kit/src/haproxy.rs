//! A real `HAProxy` for one test.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{process, tls::TlsIdentity};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// An `HAProxy` that does the same with every request. Killed on drop.
pub struct Haproxy {
    address: SocketAddr,
    _directories: Vec<TempDir>,
    _process: process::Process,
}

impl Haproxy {
    /// One that answers by itself, by a rule in its own words: `return status 200`.
    pub async fn answering(rule: &str) -> Self {
        Self::start(&format!("http-request {rule}")).await
    }

    /// One that passes requests on to `server`.
    pub async fn before(server: SocketAddr) -> Self {
        Self::start(&format!("server webhook {server}")).await
    }

    /// One that speaks HTTP/2 without being asked, and passes requests on to `server` over HTTP/1.1.
    pub async fn http2_before(server: SocketAddr) -> Self {
        Self::configured(" proto h2", &format!("server webhook {server}")).await
    }

    /// One that takes connections with TLS, shows this certificate, and passes on to `server` what comes by them.
    pub async fn encrypting(identity: &TlsIdentity, server: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let both = directory.path().join("both.pem");
        std::fs::write(&both, format!("{}{}", identity.certificate, identity.key)).expect("it is writable");
        let mut haproxy = Self::configured(
            &format!(" ssl crt {}", both.display()),
            &format!("mode tcp\n server it {server}"),
        )
        .await;
        haproxy._directories.push(directory);
        haproxy
    }

    async fn start(rule: &str) -> Self {
        Self::configured("", rule).await
    }

    async fn configured(bind: &str, rule: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        // It can't tell which port it was given: one that was free a moment ago.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
        let address = free.local_addr().expect("a listener has an address");
        drop(free);
        let configuration = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen webhooks\n bind {address}{bind}\n {rule}\n"
        );
        let file = directory.path().join("haproxy.cfg");
        std::fs::write(&file, configuration).expect("the directory is writable");
        let mut command = Command::new(process::tool("haproxy", "HAPROXY"));
        command.arg("-db").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let process = process::Process::spawn("haproxy", &mut command);
        let up = super::poll(PATIENCE, || std::net::TcpStream::connect(address).ok()).await;
        assert!(up.is_some(), "HAProxy does not listen");
        Self { address, _directories: vec![directory], _process: process }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to POST to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}
