//! The daemon under test: the real binary, as a child process.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::control_group::ControlGroup;
use super::http;
use super::metrics::Metrics;
use super::nats::NatsServer;
use super::process::Process;

/// How long the daemon may take to bind its ports, and to end after the grace of its shutdown.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many log lines a failing test shows.
const SHOWN: usize = 60;

/// A daemon to be described, then started.
///
/// It gets nothing of the test's environment but `PATH`, and it is told to take free ports and to log JSON. What it is
/// told by [`Self::env`] comes last and wins. The kit learns the ports from the log: a level above `info` hides them.
pub struct Daemon {
    command: Command,
    directory: Option<TempDir>,
}

impl Daemon {
    /// The binary without any configuration.
    pub fn new() -> Self {
        Self::run_by(Command::new(binary()))
    }

    /// The binary, without any configuration, that may have so many descriptors, or raise that to so many itself.
    pub fn with_descriptors(soft: u32, hard: u32) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={soft}:{hard}")).arg(binary());
        Self::run_by(command)
    }

    /// The binary within the limits of a control group, without any configuration.
    pub fn within(group: &ControlGroup) -> Self {
        Self::run_by(group.run(&binary()))
    }

    /// The binary that this command runs, without any configuration: another build, or one within another program.
    pub fn run_by(mut command: Command) -> Self {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("BROADCASTER__SERVER__API", "127.0.0.1:0")
            .env("BROADCASTER__SERVER__METRICS", "127.0.0.1:0")
            .env("BROADCASTER__LOG__FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Self { command, directory: None }
    }

    /// One route named `default`, from this server to this URL.
    pub fn between(nats: &NatsServer, webhook_url: &str) -> Self {
        Self::new().from_to(nats, webhook_url)
    }

    /// With one route named `default`, from this server to this URL.
    pub fn from_to(self, nats: &NatsServer, webhook_url: &str) -> Self {
        self.env("NATS_URL", nats.url()).env("WEBHOOK_URL", webhook_url)
    }

    /// With an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With a setting of the route `default`: its key within the route.
    pub fn route(self, key: &str, value: &str) -> Self {
        self.arg("--set").arg(format!("routes.default.{key}={value}"))
    }

    /// With retries of the route `default` that follow within milliseconds.
    pub fn impatient(self) -> Self {
        self.route("retry.initial", "5ms").route("retry.max", "20ms")
    }

    /// Without the breaker of the route `default`: for tests of what it would interrupt.
    pub fn without_breaker(self) -> Self {
        self.route("breaker.enabled", "false")
    }

    /// With a configuration file that holds this text.
    pub fn config(mut self, toml: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = directory.path().join("config.toml");
        std::fs::write(&file, toml).expect("the directory is writable");
        self.directory = Some(directory);
        self.config_file(&file)
    }

    /// With this configuration file.
    pub fn config_file(self, file: &Path) -> Self {
        self.arg("--config").arg(file)
    }

    /// With one more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Starts it and waits until both ports are open; a panic with its log when it ends before.
    pub async fn start(self) -> Running {
        let mut running = self.spawn();
        let open = super::poll(PATIENCE, || {
            let open = running.address("api").is_some() && running.address("metrics").is_some();
            (open || running.process.ended().is_some()).then_some(open)
        });
        assert_eq!(open.await, Some(true), "the daemon did not open its ports");
        running
    }

    /// Starts it and waits until it takes messages.
    pub async fn start_ready(self) -> Running {
        let running = self.start().await;
        running.ready(PATIENCE).await;
        running
    }

    /// Starts it and waits for nothing: for starts that are to fail.
    pub fn spawn(mut self) -> Running {
        let mut process = Process::spawn("broadcaster", &mut self.command);
        let stderr = BufReader::new(process.take_stderr());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                shared.lock().expect("no holder panics").push(line);
            }
        });
        Running { process, lines, reader: Some(reader), _directory: self.directory }
    }
}

/// A running daemon; killed on drop. When the test is failing, its last log lines are printed then.
pub struct Running {
    process: Process,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    _directory: Option<TempDir>,
}

/// What the daemon says at its end that it did, in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Came from NATS.
    pub received: u64,
    /// Were answered 2xx.
    pub delivered: u64,
    /// Were published to the dead-letter subject.
    pub dead_lettered: u64,
    /// Were given up.
    pub dropped: u64,
    /// Were taken by another replica.
    pub handed_over: u64,
    /// Were given back to their stream.
    pub returned: u64,
    /// Were not wanted.
    pub filtered: u64,
    /// Were none of these when the process ended.
    pub in_hand: u64,
}

impl Account {
    /// Is every received message accounted for?
    pub fn adds_up(&self) -> bool {
        let settled = self.delivered + self.dead_lettered + self.dropped + self.filtered;
        self.received == settled + self.handed_over + self.returned + self.in_hand
    }
}

impl Running {
    /// The address of the server called `api` or `metrics`, once it listens.
    fn address(&self, server: &str) -> Option<SocketAddr> {
        let listening = self.events("listening");
        let line = listening.iter().find(|line| line["server"] == server)?;
        line["address"].as_str()?.parse().ok()
    }

    /// Where the API listens.
    pub fn api(&self) -> SocketAddr {
        self.address("api").expect("a started daemon listens")
    }

    /// Where the metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.address("metrics").expect("a started daemon listens")
    }

    /// GET on the API.
    pub async fn get(&self, path: &str) -> http::Answer {
        let answer = http::get(self.api(), path).await;
        answer.unwrap_or_else(|error| panic!("GET {path} on the daemon: {error}"))
    }

    /// The status and the body of `/health`.
    pub async fn health(&self) -> (u16, String) {
        let answer = self.get("/health").await;
        (answer.status.as_u16(), answer.body)
    }

    /// Waits until `/health` says 200; a panic with its last answer when it takes longer than `deadline`.
    pub async fn ready(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        loop {
            let (status, body) = self.health().await;
            if status == 200 {
                return;
            }
            assert!(Instant::now() < end, "not ready after {deadline:?}: {status} {body}");
            tokio::time::sleep(super::LOOK_EVERY).await;
        }
    }

    /// Waits until `/health` says 503; a panic when it takes longer than `deadline`.
    pub async fn unready(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        while self.health().await.0 != 503 {
            assert!(Instant::now() < end, "still ready after {deadline:?}");
            tokio::time::sleep(super::LOOK_EVERY).await;
        }
    }

    /// A scrape of the metrics.
    pub async fn metrics(&self) -> Metrics {
        let answer = http::get(self.metrics_address(), "/metrics").await;
        Metrics::parse(answer.unwrap_or_else(|error| panic!("the daemon's /metrics: {error}")).body)
    }

    /// Waits until the metrics fulfil `condition`; a panic with the last scrape when it takes longer than `deadline`.
    pub async fn wait_metrics(&self, condition: impl Fn(&Metrics) -> bool, deadline: Duration) {
        let end = Instant::now() + deadline;
        loop {
            let metrics = self.metrics().await;
            if condition(&metrics) {
                return;
            }
            let late = Instant::now() >= end;
            assert!(!late, "the metrics are not as expected after {deadline:?}:\n{}", metrics.text());
            tokio::time::sleep(4 * super::LOOK_EVERY).await;
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.proc().status().ok().and_then(|status| status.vmrss).expect("a running process has memory")
    }

    /// The resident memory that is its own, in bytes: not that of the files of its program, which the kernel can give up.
    pub fn own_memory(&self) -> u64 {
        let status = self.proc().status().ok();
        1024 * status.and_then(|status| status.rssanon).expect("a running process has memory")
    }

    /// The CPU time used since the start, by user and system.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc().stat().expect("a running process has statistics");
        Duration::from_millis((stat.utime + stat.stime) * 1_000 / procfs::ticks_per_second())
    }

    /// How many descriptors it may have, and may raise that to.
    pub fn descriptors(&self) -> (u64, u64) {
        use procfs::process::LimitValue;
        let limit = self.proc().limits().expect("a running process has limits").max_open_files;
        let number = |value| match value {
            LimitValue::Value(number) => number,
            LimitValue::Unlimited => u64::MAX,
        };
        (number(limit.soft_limit), number(limit.hard_limit))
    }

    fn proc(&self) -> procfs::process::Process {
        let pid = i32::try_from(self.pid()).expect("a process id is positive");
        procfs::process::Process::new(pid).expect("the daemon runs")
    }

    /// The log lines so far, as they were written.
    pub fn logs(&self) -> Vec<String> {
        self.lines.lock().expect("no holder panics").clone()
    }

    /// The log lines so far that hold `text`.
    pub fn logs_containing(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// The log events so far with this message, with their fields.
    pub fn events(&self, message: &str) -> Vec<Value> {
        let lines = self.logs_containing(message);
        let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    /// Waits for a log line that holds `text`.
    pub async fn wait_log(&self, text: &str, deadline: Duration) -> String {
        let line = super::poll(deadline, || self.logs_containing(text).into_iter().next()).await;
        line.unwrap_or_else(|| panic!("no log line holds {text:?} after {deadline:?}"))
    }

    /// SIGTERM.
    pub fn term(&self) {
        self.signal(Signal::TERM);
    }

    /// Any signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for the end of the process and of its log; a panic when it takes longer than `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let status = self.process.wait(deadline).await;
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        status
    }

    /// SIGTERM, and waits for the end; a panic unless it is clean. Gives what the daemon says that it did.
    pub async fn stop(&mut self) -> Account {
        self.term();
        let status = self.wait(PATIENCE).await;
        assert!(status.success(), "the daemon ended with {status}");
        self.account()
    }

    /// What the daemon, which has ended, said that it did.
    pub fn account(&self) -> Account {
        let line = self.events("stopped").pop().expect("the daemon gives its account at the end");
        serde_json::from_value(line.clone()).unwrap_or_else(|error| panic!("no account, {error}: {line}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended =
                self.process.ended().map_or_else(|| "running".to_owned(), |status| status.to_string());
            self.process.kill();
            let lines = self.logs();
            eprintln!("--- the daemon's last log lines, {} in all ({ended})", lines.len());
            for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
                eprintln!("{line}");
            }
            eprintln!("---");
        }
    }
}

/// Runs the binary to its end: for `check`, `--help`, `--version`. It gets these variables and `PATH`.
pub fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(binary())
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

/// The build that the variable `BROADCASTER` names, else what cargo built for the same profile as the running program.
/// Cargo puts a binary beside other binaries, and in the folder above that of tests, benchmarks and examples.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BROADCASTER") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a program knows its path");
    let mut near = own.ancestors().skip(1).take(2).map(|folder| folder.join("broadcaster"));
    near.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "there is no broadcaster beside {} nor in the folder above: \
             build it by `cargo build --bin broadcaster`, or name one by BROADCASTER",
            own.display()
        )
    })
}
