//! What a service manager such as systemd is told: the protocol of `sd_notify(3)`, over a real socket.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::process::Signal;
use tempfile::TempDir;

use testkit::daemon::Daemon;
use testkit::nats::NatsServer;
use testkit::{poll, stage::Stage, webhook::Webhook};

const SOON: Duration = Duration::from_secs(60);
/// Of the watchdog in these tests: long enough for a machine under load.
const PATIENCE: Duration = Duration::from_secs(4);

/// The side of the service manager.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<(Instant, String)>,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket can be made");
        socket.set_nonblocking(true).expect("it can be asked without waiting");
        Self { socket, heard: Vec::new(), directory }
    }

    /// A daemon that this one supervises.
    fn over(&self, daemon: Daemon) -> Daemon {
        daemon.env("NOTIFY_SOCKET", self.directory.path().join("notify"))
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    self.heard.extend(text.lines().map(|line| (Instant::now(), line.to_owned())));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the socket fails: {error}"),
            }
        }
    }

    /// Waits for a line with this beginning that comes after `since`; gives it.
    async fn hear(&mut self, beginning: &str, since: Instant) -> String {
        let found = poll(SOON, || {
            self.listen();
            let later = self.heard.iter().filter(|(when, _)| *when >= since);
            later.map(|(_, line)| line).find(|line| line.starts_with(beginning)).cloned()
        });
        found.await.unwrap_or_else(|| panic!("no {beginning} was heard, but: {:?}", self.heard))
    }
}

#[tokio::test]
async fn the_service_manager_hears_of_the_start_the_state_and_the_stop() {
    let mut manager = Manager::new();
    let begin = Instant::now();
    let webhook = Webhook::start();
    let mut stage =
        Stage::set(&webhook.url(), |daemon| manager.over(daemon.arg("--set").arg("shutdown.grace=7s"))).await;
    manager.hear("READY=1", begin).await;
    manager.hear("STATUS=ready", begin).await;
    stage.nats.kill();
    let lost = manager.hear("STATUS=lane 0 is not connected to NATS", begin).await;
    assert!(!lost.contains('\n'), "a status has one line: {lost}");
    assert!(manager.heard.iter().all(|(_, line)| line != "WATCHDOG=1"), "nobody asked for signs of life");
    stage.daemon.term();
    manager.hear("STOPPING=1", begin).await;
    manager.hear("EXTEND_TIMEOUT_USEC=37000000", begin).await;
    let ended = stage.daemon.wait(SOON).await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn the_start_is_done_without_nats() {
    let mut manager = Manager::new();
    let begin = Instant::now();
    let daemon =
        Daemon::new().env("NATS_URL", "nats://127.0.0.1:1").env("WEBHOOK_URL", "http://127.0.0.1:1/");
    let _running = manager.over(daemon).start().await;
    manager.hear("READY=1", begin).await;
    manager.hear("STATUS=lane 0 is not connected to NATS", begin).await;
}

#[tokio::test]
async fn a_lane_that_stands_still_is_reported() {
    let mut manager = Manager::new();
    let nats = NatsServer::start().await;
    let daemon = manager.over(Daemon::between(&nats, "http://127.0.0.1:1/"));
    let daemon = daemon
        .env("WATCHDOG_USEC", PATIENCE.as_micros().to_string())
        .env("BROADCASTER__RUNTIME__THREADS", "2")
        .start_ready()
        .await;
    manager.hear("WATCHDOG=1", Instant::now()).await;

    // Only this thread: the rest of the process goes on, as when a lane is caught in an endless loop.
    let halted = Halted::new(thread_of(daemon.pid(), "lane-1"));
    let stopped = Instant::now();
    manager.hear("WATCHDOG=trigger", stopped).await;
    assert!(stopped.elapsed() > PATIENCE / 2, "a lane may take its time");
    let line = daemon.wait_log("asking the service manager for a restart", SOON).await;
    assert!(line.contains("lane 1 has not moved"), "{line}");
    let reported = Instant::now();
    manager.hear("WATCHDOG=trigger", reported).await;
    let alive = manager.heard.iter().filter(|(when, line)| line == "WATCHDOG=1" && *when > reported);
    assert_eq!(alive.count(), 0, "signs of life of a lane that stands still");
    assert_eq!(daemon.get("/healthz").await.status, 200, "a probe has more patience");

    drop(halted);
    manager.hear("WATCHDOG=1", Instant::now()).await;
}

#[tokio::test]
async fn a_service_manager_that_does_not_listen_is_no_reason_to_stop() {
    let nats = NatsServer::start().await;
    let daemon = Daemon::between(&nats, "http://127.0.0.1:1/").env("NOTIFY_SOCKET", "/nowhere/notify");
    let mut daemon = daemon.env("WATCHDOG_USEC", "300000").start_ready().await;
    daemon.wait_log("cannot tell the service manager", SOON).await;
    daemon.stop().await;
    let complaints = daemon.logs_containing("cannot tell the service manager");
    assert!(complaints.len() <= 2, "once while it runs, once at the stop: {complaints:?}");
}

#[tokio::test]
async fn a_service_manager_that_reads_nothing_holds_up_nobody() {
    let manager = Manager::new();
    fill(&manager.directory.path().join("notify"));
    let webhook = Webhook::start();
    let mut stage = Stage::set(&webhook.url(), |daemon| manager.over(daemon)).await;
    stage.publish("one").await;
    stage.wait_processed(1).await;
    assert_eq!(stage.close().await.delivered, 1);
    assert_eq!(
        stage.daemon.logs_containing("cannot tell the service manager").len(),
        1,
        "the stop could not be told"
    );
}

#[tokio::test]
async fn neither_a_short_patience_nor_a_sleep_of_the_process_is_a_lane_that_stands_still() {
    let mut manager = Manager::new();
    let nats = NatsServer::start().await;
    let daemon = manager.over(Daemon::between(&nats, "http://127.0.0.1:1/")).env("WATCHDOG_USEC", "600000");
    let daemon = daemon.start_ready().await;
    // Several beats long: the time itself is what this is about, here and below.
    tokio::time::sleep(Duration::from_secs(3)).await;
    daemon.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let awake = Instant::now();
    daemon.signal(Signal::CONT);
    manager.listen();
    manager.hear("WATCHDOG=1", awake).await;
    assert!(manager.heard.iter().all(|(_, line)| line != "WATCHDOG=trigger"), "{:?}", manager.heard);
}

#[tokio::test]
async fn a_watchdog_without_any_patience_is_none() {
    let nats = NatsServer::start().await;
    let mut manager = Manager::new();
    let daemon = manager.over(Daemon::between(&nats, "http://127.0.0.1:1/")).env("WATCHDOG_USEC", "0");
    let mut daemon = daemon.start_ready().await;
    manager.hear("STATUS=ready", Instant::now()).await;
    daemon.stop().await;
}

/// Sends to the socket at `path` until it takes no more.
fn fill(path: &Path) {
    // The system bounds what a sender has under way, and what a receiver has waiting.
    let full = (0..1000).any(|_| {
        let sender = UnixDatagram::unbound().expect("a socket can be made");
        sender.set_nonblocking(true).expect("it can be asked without waiting");
        (0..1000).position(|_| sender.send_to(b"STATUS=full", path).is_err()) == Some(0)
    });
    assert!(full, "the socket takes everything");
}

/// A thread that stands still for as long as this is.
struct Halted(Pid);

impl Halted {
    fn new(thread: Pid) -> Self {
        ptrace::attach(thread).expect("a child's thread can be traced");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("the thread stops");
        Self(thread)
    }
}

impl Drop for Halted {
    /// Also where the test fails: a process with a traced thread can't be waited for.
    fn drop(&mut self) {
        ptrace::detach(self.0, None).expect("the thread goes on");
    }
}

/// The thread of the process `pid` that has this name.
fn thread_of(pid: u32, name: &str) -> Pid {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process has threads");
    let ids = threads.map(|thread| thread.expect("it can be listed").file_name());
    let is_it = |id: &std::ffi::OsString| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/task/{}/comm", id.display()));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    let found = ids.into_iter().find(is_it).unwrap_or_else(|| panic!("no thread is called {name}"));
    Pid::from_raw(found.to_str().and_then(|id| id.parse().ok()).expect("it is a number"))
}
