//! The configuration read again by a daemon that runs, a process: what asks for it, and what comes of it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::Webhook;

mod in_hand;
mod refusals;
mod signals;
mod under_load;
mod watching;

const SOON: Duration = Duration::from_secs(60);

/// A folder with a configuration file.
struct Folder(TempDir);

impl Folder {
    fn with(toml: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary directory can be made"));
        folder.write("broadcaster.toml", toml);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the directory is writable");
    }

    /// Puts a file in the place of another one, as editors and deployments do.
    fn swap(&self, name: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.path("new"), self.path(name)).expect("the directory is writable");
    }

    /// A daemon of this configuration, ready for messages. It reads it again when it is asked, and at no other time.
    async fn start(&self, nats: &NatsServer) -> Running {
        self.daemon(nats).env("BROADCASTER__RELOAD__WATCH", "false").start_ready().await
    }

    /// One that reads it again when a file has changed.
    async fn start_watching(&self, nats: &NatsServer) -> Running {
        self.daemon(nats).start_ready().await
    }

    fn daemon(&self, nats: &NatsServer) -> Daemon {
        Daemon::new().env("NATS_URL", nats.url()).config_file(&self.path("broadcaster.toml"))
    }
}

/// A route that takes a subject of its own to `hook`, with more `settings` of its webhook.
fn route(name: &str, hook: &Webhook, settings: &str) -> String {
    let url = hook.url();
    format!(
        "[routes.{name}]\nsubject = \"reload.{name}\"\n[routes.{name}.webhook]\nurl = \"{url}\"\n{settings}\n"
    )
}

async fn publisher(nats: &NatsServer, route: &str) -> Publisher {
    Publisher::new(nats.client().await, &format!("reload.{route}"))
}

/// Sends SIGHUP, and waits until the log says what came of it: the next `message`.
async fn hang_up(daemon: &Running, message: &str) -> Value {
    let before = daemon.events(message).len();
    daemon.signal(Signal::HUP);
    next(daemon, message, before).await
}

/// The event of the log with this message that comes after so many.
async fn next(daemon: &Running, message: &str, before: usize) -> Value {
    let end = std::time::Instant::now() + SOON;
    loop {
        if let Some(event) = daemon.events(message).into_iter().nth(before) {
            return event;
        }
        assert!(std::time::Instant::now() < end, "the log does not say {message:?} for the {before}. time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What `/health` says of the configuration; it has to be ready.
async fn complaints(daemon: &Running) -> Vec<String> {
    let (status, body) = daemon.health().await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).expect("it is JSON");
    let complaints = body["configuration"].as_array().cloned().unwrap_or_default();
    complaints.iter().map(|complaint| complaint.as_str().unwrap_or_default().to_owned()).collect()
}
