//! A real nginx for one test.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{process, tls::TlsIdentity};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// An nginx that says the same to every request, and writes down which came. Killed on drop.
pub struct Nginx {
    address: SocketAddr,
    directory: TempDir,
    _process: process::Process,
}

impl Nginx {
    /// What it does with a request is `location`, in nginx's words.
    pub async fn start(location: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        Self::configured(directory, "", "", location).await
    }

    /// One with TLS that shows `identity`, and takes requests only of those who show a certificate that an authority has
    /// signed which is among `authorities`. `more` is in nginx's words.
    pub async fn demanding(identity: &TlsIdentity, authorities: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        identity.write_to(directory.path(), "server");
        std::fs::write(directory.path().join("clients.pem"), authorities).expect("the directory is writable");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let server = format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; ssl_verify_client on; {more}",
            path("server.pem"),
            path("server.key"),
            path("clients.pem")
        );
        Self::configured(directory, " ssl", &server, "return 200;").await
    }

    /// One that speaks HTTP/2 without being asked, and passes requests on to `server` over HTTP/1.1. `more` is in nginx's
    /// words.
    pub async fn http2_before(server: SocketAddr, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let pass = format!("proxy_pass http://{server}; client_max_body_size 2m;");
        Self::configured(directory, " http2", more, &pass).await
    }

    async fn configured(directory: TempDir, listen: &str, server: &str, location: &str) -> Self {
        // It can't tell which port it was given: one that was free a moment ago.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
        let address = free.local_addr().expect("a listener has an address");
        drop(free);
        // A small buffer: on the loopback, a large request would be there at once.
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log;
             events {{}}
             http {{
                 log_format requests '$status $request_length $connection';
                 access_log requests.log requests;
                 log_format clients '$status $ssl_client_serial $http_webhook_id';
                 access_log clients.log clients;
                 client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
                 server {{ listen {address} rcvbuf=16k{listen}; {server} location / {{ {location} }} }}
             }}"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration).expect("the directory is writable");
        let mut command = Command::new(process::tool("nginx", "NGINX"));
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = process::Process::spawn("nginx", &mut command);
        let nginx = Self { address, directory, _process: process };
        let up = super::poll(PATIENCE, || std::net::TcpStream::connect(address).ok()).await;
        up.unwrap_or_else(|| panic!("nginx does not listen: {}", nginx.read("error.log")));
        nginx
    }

    /// The URL to POST to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The same with TLS.
    pub fn https_url(&self) -> String {
        format!("https://{}/hook", self.address)
    }

    /// The requests with the certificate that each came with: status, serial number in hexadecimal, id of the message.
    pub fn clients(&self) -> Vec<[String; 3]> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().ok();
        self.read("clients.log").lines().filter_map(words).collect()
    }

    /// The requests that it has read to their end: status, length with the head, connection.
    pub fn requests(&self) -> Vec<[u64; 3]> {
        let number = |word: &str| word.parse().expect("nginx writes numbers");
        let line = |line: &str| -> Option<[u64; 3]> {
            line.split(' ').map(number).collect::<Vec<_>>().try_into().ok()
        };
        self.read("requests.log").lines().filter_map(line).collect()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(file)).unwrap_or_default()
    }
}
