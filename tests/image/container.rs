//! The daemon as Kubernetes runs it: started by runc, as container engines do, in the root filesystem of the image, with
//! what the manifests give it and nothing else. Only the network is the test's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use procfs::process::{MountInfo, Status};
use serde_json::{Value, json};

use crate::image::Image;
use testkit::daemon::{Account, Daemon, Running};
use testkit::{poll, process};

/// How much memory it may take, as in the manifests.
pub(crate) const MEMORY: u64 = 128 * 1024 * 1024;

/// How long runc may take.
const SOON: Duration = Duration::from_secs(10);
/// The user and the group that it runs as.
pub(crate) const USER: u32 = 1001;
/// Where the configuration is mounted, and where the secrets are.
const CONFIG: &str = "/etc/broadcaster/config";
pub(crate) const SECRETS: &str = "/etc/broadcaster/secrets";

/// A container to be described, then started.
pub(crate) struct Container {
    /// Its root, and beside that what is mounted there. What runc makes to mount something on stays in this one.
    image: Image,
    name: String,
}

/// A running container; it is removed on drop.
pub(crate) struct Contained {
    /// The daemon in it; as a process, runc, which passes signals on, and ends as the daemon does.
    pub(crate) daemon: Running,
    /// The daemon's own process id.
    pid: i32,
    container: Container,
}

/// What the kernel says of the container's memory, in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    /// How much there may be.
    pub(crate) limit: u64,
    /// How much there was at most.
    pub(crate) most: u64,
    /// How many processes were killed for it.
    pub(crate) killed: u64,
}

impl Container {
    /// With this configuration, and these secrets by their names.
    pub(crate) fn new(config: &str, secrets: &[(&str, &str)]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "runc needs root: use `make`, which asks sudo for it");
        let image = Image::build();
        let folder = image.folder();
        let unique = folder.file_name().and_then(|name| name.to_str()).expect("its name is plain");
        let name = format!("broadcaster-{}", unique.trim_start_matches('.'));
        write_volume(&folder.join("config"), &[("broadcaster.toml", config)], 0o644);
        write_volume(&folder.join("secrets"), secrets, 0o440);
        let container = Self { image, name };
        container.write("hosts", "127.0.0.1 localhost\n");
        container.write("resolv.conf", "");
        container
    }

    /// With a name server, and with one more name of this machine in `/etc/hosts`.
    pub(crate) fn resolving(self, name_server: &str, name: &str) -> Self {
        self.write("resolv.conf", &format!("nameserver {name_server}\n"));
        self.write("hosts", &format!("127.0.0.1 localhost {name}\n"));
        self
    }

    /// Starts it and waits until it takes messages.
    pub(crate) async fn start(self) -> Contained {
        self.write("config.json", &self.specification().to_string());
        let pid_file = self.image.folder().join("pid");
        let mut run = runc();
        run.arg("run")
            .arg("--bundle")
            .arg(self.image.folder())
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.name);
        let daemon = Daemon::run_by(run).start_ready().await;
        // The daemon may be quicker than runc, which writes this when it has started it.
        let pid = poll(SOON, || fs::read_to_string(&pid_file).ok()?.parse().ok()).await;
        Contained { daemon, pid: pid.expect("runc writes the process id"), container: self }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.image.folder().join(name), text).expect("the bundle is writable");
    }

    /// What runc is told, by the specification of the Open Container Initiative.
    fn specification(&self) -> Value {
        let bind = |source: &str, destination: &str| {
            let source = self.image.folder().join(source);
            json!({ "type": "bind", "source": source, "destination": destination, "options": ["bind", "ro"] })
        };
        json!({
            "ociVersion": "1.0.2",
            "root": { "path": "rootfs", "readonly": true },
            "process": {
                "args": ["/usr/bin/broadcaster"],
                "env": ["PATH=/usr/bin", format!("BROADCASTER_CONFIG={CONFIG}/broadcaster.toml")],
                "cwd": "/",
                "user": { "uid": USER, "gid": USER },
                "capabilities": {},
                "noNewPrivileges": true,
            },
            "mounts": [
                { "type": "proc", "source": "proc", "destination": "/proc" },
                { "type": "tmpfs", "source": "tmpfs", "destination": "/dev", "options": ["nosuid", "mode=755"] },
                bind("config", CONFIG),
                bind("secrets", SECRETS),
                bind("hosts", "/etc/hosts"),
                bind("resolv.conf", "/etc/resolv.conf"),
            ],
            "linux": {
                "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }],
                "cgroupsPath": format!("/{}", self.name),
                "resources": { "memory": { "limit": MEMORY, "swap": MEMORY } },
            },
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The daemon still runs where the test has failed.
        drop(runc().args(["delete", "--force", &self.name]).output());
    }
}

impl Contained {
    /// Runs the binary once more in the container, as the kubelet does for a probe.
    pub(crate) fn exec(&self, arguments: &[&str]) -> Output {
        let mut exec = runc();
        exec.args(["exec", &self.container.name, "broadcaster"]).args(arguments);
        exec.output().expect("runc can be started")
    }

    /// What the kernel says of the daemon.
    pub(crate) fn status(&self) -> Status {
        self.process().status().expect("the daemon runs")
    }

    /// What the daemon sees mounted at this path.
    pub(crate) fn mount(&self, path: &str) -> MountInfo {
        let mounts = self.process().mountinfo().expect("the daemon runs");
        let mount = mounts.into_iter().find(|mount| mount.mount_point == Path::new(path));
        mount.unwrap_or_else(|| panic!("nothing is mounted at {path}"))
    }

    fn process(&self) -> procfs::process::Process {
        procfs::process::Process::new(self.pid).expect("the daemon runs")
    }

    /// What its control group says, of version 2, or else 1.
    pub(crate) fn memory(&self) -> Memory {
        let groups = Path::new("/sys/fs/cgroup");
        let (second, first) =
            (groups.join(&self.container.name), groups.join("memory").join(&self.container.name));
        let (group, [limit, most, events]) = if second.exists() {
            (second, ["memory.max", "memory.peak", "memory.events"])
        } else {
            (first, ["memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"])
        };
        let read = |name: &str| {
            let file = group.join(name);
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        let number =
            |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("not a number of bytes: {text}"));
        let events = read(events);
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Memory {
            limit: number(&read(limit)),
            most: number(&read(most)),
            killed: number(killed.expect("the kernel counts whom it kills")),
        }
    }

    /// Stops it; a panic unless it ends well with nothing in hand. Gives its account.
    pub(crate) async fn stop(mut self) -> Account {
        let account = self.daemon.stop().await;
        assert!(account.adds_up() && account.in_hand == 0, "the account does not add up: {account:?}");
        account
    }
}

fn runc() -> Command {
    Command::new(process::tool("runc", "RUNC"))
}

/// Files as the kubelet mounts those of a config map or a secret: root's, the group's to read, behind two symbolic links.
fn write_volume(folder: &Path, files: &[(&str, &str)], mode: u32) {
    let version = "..2026_11_23";
    fs::create_dir_all(folder.join(version)).expect("the bundle is writable");
    symlink(version, folder.join("..data")).expect("the bundle is writable");
    for (name, text) in files {
        let file = folder.join(version).join(name);
        fs::write(&file, text).expect("the bundle is writable");
        chown(&file, None, Some(USER)).expect("root can give a file away");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("it is root's");
        symlink(Path::new("..data").join(name), folder.join(name)).expect("the bundle is writable");
    }
}
