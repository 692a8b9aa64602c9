//! The NATS of an overlay, really run: as many servers as it has, with the configuration that it embeds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::Value;

use crate::container::Container;
use crate::overlay::Overlay;
use testkit::process::{self, Process};
use testkit::{http, poll};

const STATEFUL_SET: &str = "StatefulSet/nats";

/// How long servers may take to start, and to find a leader.
const PATIENCE: Duration = Duration::from_secs(60);

/// One server; killed on drop.
struct Server {
    container: Container,
    process: Process,
}

/// All servers of an overlay.
pub(crate) struct Bus {
    servers: Vec<Server>,
}

/// What `nats-server -t` says is wrong with the embedded configuration.
pub(crate) fn check(overlay: &Overlay) -> Vec<String> {
    let container = Container::lay_out(overlay, STATEFUL_SET, "nats", "");
    let tested = command(&container, 0).arg("-t").output().expect("nats-server runs");
    let said = String::from_utf8_lossy(&tested.stderr).replace(&container.root().display().to_string(), "");
    if tested.status.success() {
        Vec::new()
    } else {
        vec![format!("{}: {STATEFUL_SET}: {said}", overlay.name)]
    }
}

/// nats-server as the container with this number starts it.
fn command(container: &Container, number: usize) -> Command {
    let mut command = Command::new(process::tool("nats-server", "NATS_SERVER"));
    command
        .arg("--config")
        .arg(container.place("/etc/nats/nats.conf"))
        .env("POD_NAME", format!("nats-{number}"));
    command
}

impl Bus {
    /// Starts the servers on free ports, one after the other so that each knows those before it, and waits until they have a
    /// leader. (What the routes in the configuration are called is nothing outside a cluster.)
    pub(crate) async fn start(overlay: &Overlay) -> Self {
        let size = overlay
            .find(STATEFUL_SET)
            .and_then(|set| set.get("spec.replicas").as_u64())
            .expect("it says how many");
        let size = usize::try_from(size).expect("it is a count");
        let mut bus = Self { servers: Vec::new() };
        for number in 0..size {
            let container = Container::lay_out(overlay, STATEFUL_SET, "nats", "");
            let mut command = command(&container, number);
            command.args(["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1"]);
            command.arg("--ports_file_dir").arg(container.root()).arg("--log").arg(container.place("log"));
            if size > 1 {
                // Nobody listens on these ports: they stand for servers to come, whose number one has to know.
                let nowhere = (1..size).map(|port| format!("nats://127.0.0.1:{port}"));
                let known = bus.servers.iter().map(|server| server.url("cluster"));
                let routes: Vec<_> = known.chain(nowhere).take(size - 1).collect();
                command.args(["--cluster", "nats://127.0.0.1:-1", "--routes", &routes.join(",")]);
            }
            let process = Process::spawn("nats-server", command.stdout(Stdio::null()).stderr(Stdio::null()));
            let server = Server { container, process };
            let ports = poll(PATIENCE, || server.ports()).await;
            assert!(ports.is_some(), "nats-server does not start: {}", server.container.read("log"));
            bus.servers.push(server);
        }
        for server in &bus.servers {
            server.wait_healthy().await;
        }
        bus
    }

    /// What clients connect to.
    pub(crate) fn url(&self) -> String {
        self.servers.iter().map(|server| server.url("nats")).collect::<Vec<_>>().join(",")
    }

    pub(crate) async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.servers[0].url("nats")).await.expect("the server takes clients")
    }

    /// What the first server says of itself at this path of its monitoring port.
    pub(crate) async fn monitor(&self, path: &str) -> Value {
        let answer = self.servers[0].get(path).await.expect("it answers");
        serde_json::from_str(&answer.body).expect("it is JSON")
    }

    /// Makes what the files of the Job describe, as its script does: the text of each file is what is asked for.
    pub(crate) async fn make_streams(&self, job: &Container) {
        let context = jetstream::new(self.client().await);
        let files = job.files("/etc/nats-streams");
        for kind in ["stream-", "consumer-"] {
            let described = |file: &String| {
                Some((file.strip_prefix(kind)?.strip_suffix(".json")?.to_owned(), file.clone()))
            };
            for (name, file) in files.iter().filter_map(described) {
                let config: Value = serde_json::from_str(&job.read(&format!("/etc/nats-streams/{file}")))
                    .expect("it is JSON");
                let (subject, asked) = match name.split_once('.') {
                    None => (format!("STREAM.CREATE.{name}"), config),
                    Some((stream, consumer)) => (
                        format!("CONSUMER.DURABLE.CREATE.{stream}.{consumer}"),
                        serde_json::json!({ "stream_name": stream, "config": config }),
                    ),
                };
                let answer: Value = context.request(subject, &asked).await.expect("the server answers");
                assert!(answer["error"].is_null(), "{file}: {answer}");
                for (key, value) in
                    crate::object::entries(&asked).chain(crate::object::entries(&asked["config"]))
                {
                    let kept = &answer["config"][key];
                    let said = key == "config" || key == "stream_name" || kept.is_null() || kept == value;
                    assert!(said, "{file}: {key}: {kept}, not {value}");
                }
            }
        }
    }
}

impl Server {
    fn ports(&self) -> Option<Value> {
        let name = format!("nats-server_{}.ports", self.process.id());
        serde_json::from_str(&std::fs::read_to_string(self.container.place(&name)).ok()?).ok()
    }

    fn url(&self, what: &str) -> String {
        let ports = self.ports().expect("a running server lists its ports");
        ports[what][0].as_str().expect("it listens").to_owned()
    }

    async fn get(&self, path: &str) -> Result<http::Answer, String> {
        let url = self.url("monitoring");
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
        http::get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), path)
            .await
            .map_err(|error| error.to_string())
    }

    /// Waits until the server is as healthy as its startup probe wants it.
    async fn wait_healthy(&self) {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get("/healthz").await;
            if answer.as_ref().is_ok_and(|answer| answer.status.as_u16() == 200) {
                return;
            }
            let log = || self.container.read("log");
            assert!(
                std::time::Instant::now() < end,
                "not healthy: {:?}\n{}",
                answer.map(|answer| answer.body),
                log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A program that stands for the `nats` of the Job: it notes what it is told, and knows of nothing that is there.
pub(crate) fn stand_in(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let program = folder.join("nats");
    let script = "#!/bin/sh\necho \"$*\" >>\"$NOTES\"\n[ \"$2\" != info ]\n";
    std::fs::write(&program, script).expect("the folder is writable");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}
