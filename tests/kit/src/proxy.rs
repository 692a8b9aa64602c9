//! Real proxies for one test: tinyproxy for HTTP's CONNECT, microsocks for SOCKS 5.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::{self, Process};

/// How long one may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy, which can be stopped and started again at the same port. Killed on drop.
pub struct Proxy {
    address: SocketAddr,
    directory: TempDir,
    command: Command,
    process: Option<Process>,
}

impl Proxy {
    /// A tinyproxy. `more` are lines of its configuration, such as `BasicAuth user password`.
    pub async fn http(more: &str) -> Self {
        let (directory, address) = place();
        let configuration = format!(
            "Port {}\nListen 127.0.0.1\nLogFile \"{}\"\nLogLevel Connect\nTimeout 20\n{more}\n",
            address.port(),
            directory.path().join("log").display()
        );
        let file = directory.path().join("tinyproxy.conf");
        std::fs::write(&file, configuration).expect("the directory is writable");
        let mut command = Command::new(process::tool("tinyproxy", "TINYPROXY"));
        command.arg("-d").arg("-c").arg(file);
        Self::started(address, directory, command).await
    }

    /// A microsocks, which wants this login where one is given.
    pub async fn socks(login: Option<(&str, &str)>) -> Self {
        let (directory, address) = place();
        let mut command = Command::new(process::tool("microsocks", "MICROSOCKS"));
        command.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]);
        if let Some((user, password)) = login {
            command.args(["-u", user, "-P", password]);
        }
        Self::started(address, directory, command).await
    }

    async fn started(address: SocketAddr, directory: TempDir, mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut proxy = Self { address, directory, command, process: None };
        proxy.start().await;
        proxy
    }

    /// Starts it again, after [`Self::stop`].
    pub async fn start(&mut self) {
        self.process = Some(Process::spawn("a proxy", &mut self.command));
        let up = super::poll(PATIENCE, || std::net::TcpStream::connect(self.address).ok()).await;
        assert!(up.is_some(), "the proxy does not listen: {}", self.log());
    }

    /// Ends it, and all connections through it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tunnels that tinyproxy was asked for, such as `CONNECT 127.0.0.1:80`.
    pub fn asked(&self) -> Vec<String> {
        let request = |line: &str| {
            let (_, request) = line.split_once("): CONNECT ")?;
            Some(format!("CONNECT {}", request.split(' ').next()?))
        };
        self.log().lines().filter_map(request).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// A folder, and a port that was free a moment ago: neither can tell which port it was given.
fn place() -> (TempDir, SocketAddr) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
    (directory, free.local_addr().expect("a listener has an address"))
}
