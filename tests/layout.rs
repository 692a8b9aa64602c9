//! How much memory an idle daemon takes, and what keeps it small: the layout of the program.
//!
//! The memory is that of the release build as it is shipped, which `make` builds apart and names by `BROADCASTER`.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::{daemon::Daemon, nats::NatsServer, process, tls::Authority, webhook::Webhook};
use tokio::time;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long an idle daemon is looked at.
const WAITING: Duration = Duration::from_secs(5);
const SUBJECT: &str = "todos.events";
const STREAM: &str = "TODOS";
const MOST_WHEN_IDLE_KIB: u64 = 10 * 1024;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/layout.ld");
const HEADER: &str = "\
/* Puts side by side in the program what a daemon runs: first what it needs to start and to wait, then what messages take.
   The system reads a program in pieces of 64 KiB and more, and a few functions in each of them would bring all of it into
   memory. build.rs gives this to the linker, which takes the functions in this order. One that is not named here, or not
   there any more, does no harm. `make layout` writes this anew, by tests/layout.rs. */
";

/// What a daemon does, in the order in which the program lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    /// It waits for messages, and answers probes and Prometheus.
    Idle,
    /// It waits, and its log is for people.
    Text,
    /// It delivers, over HTTP/1.1.
    Http1,
    /// It delivers, over HTTP/2.
    Http2,
    /// It delivers to an `https` URL.
    Tls,
    /// It delivers what is in a stream.
    Durable,
    /// It delivers by a route that stands in a bucket.
    Bucket,
}

impl Course {
    const ALL: [Self; 7] =
        [Self::Idle, Self::Text, Self::Http1, Self::Http2, Self::Tls, Self::Durable, Self::Bucket];

    fn webhook(self, authority: &Authority) -> Webhook {
        match self {
            Self::Http2 => Webhook::counting_http2(),
            Self::Tls => Webhook::start_tls(&authority.issue_loopback()),
            Self::Idle | Self::Text | Self::Http1 | Self::Durable | Self::Bucket => Webhook::counting(),
        }
    }

    fn settings(self, daemon: Daemon, authority: &Path) -> Daemon {
        match self {
            Self::Idle | Self::Http1 => daemon,
            Self::Text => daemon.env("BROADCASTER__LOG__FORMAT", "text"),
            Self::Http2 => daemon.route("webhook.http", "2"),
            Self::Tls => daemon.route("webhook.tls.ca_file", &authority.display().to_string()),
            Self::Durable => daemon.route("jetstream.stream", STREAM).route("jetstream.create", "true"),
            Self::Bucket => daemon.arg("--set=endpoints.bucket=routes").arg("--set=endpoints.create=true"),
        }
    }

    /// What is published to be delivered once.
    const fn subject(self) -> &'static str {
        if matches!(self, Self::Bucket) { "others.events" } else { SUBJECT }
    }

    /// The functions that run in it, by the names that the linker knows.
    async fn run(self) -> BTreeSet<String> {
        let nats = NatsServer::start().await;
        nats.stream(STREAM, &[if self == Self::Durable { SUBJECT } else { "unused" }]).await;
        let (directory, authority) =
            (tempfile::tempdir().expect("there is room for files"), Authority::new());
        let hook = self.webhook(&authority);
        let profile = directory.path().join("profile");
        let mut valgrind = Command::new(process::tool("valgrind", "VALGRIND"));
        let file = format!("--callgrind-out-file={}", profile.display());
        valgrind
            .args(["--tool=callgrind", "--demangle=no", "--compress-strings=no", &file])
            .arg(release_build());
        let daemon = self.settings(minimal(valgrind, &nats, &hook), &authority.write_to(directory.path()));
        if self == Self::Text {
            // Nobody reads in such a log where it listens.
            let mut daemon = daemon.spawn();
            nats.wait_subscriptions(SUBJECT, 1, PATIENCE).await;
            daemon.term();
            daemon.wait(PATIENCE).await;
            return functions(&profile);
        }
        let mut daemon = daemon.start_ready().await;
        daemon.metrics().await;
        if self == Self::Idle {
            // It looks at its files and takes its samples every second or so.
            time::sleep(WAITING).await;
        } else {
            self.deliver(&nats, &hook).await;
        }
        daemon.stop().await;
        functions(&profile)
    }

    async fn deliver(self, nats: &NatsServer, hook: &Webhook) {
        const MESSAGES: usize = 100;
        let client = nats.client().await;
        if self == Self::Bucket {
            let route =
                format!(r#"{{"subject": "{}", "webhook": {{"url": "{}"}}}}"#, self.subject(), hook.url());
            client.publish("$KV.routes.routes.others", route.into()).await.expect("NATS takes it");
            nats.wait_subscriptions(self.subject(), 1, PATIENCE).await;
        }
        for _ in 0..MESSAGES {
            client.publish(self.subject(), "{}".into()).await.expect("NATS takes it");
        }
        hook.wait_for(|hook| hook.delivered() == MESSAGES, PATIENCE).await;
    }
}

/// A daemon with one lane and the least configuration, which this command runs.
fn minimal(command: Command, nats: &NatsServer, hook: &Webhook) -> Daemon {
    let (nats, hook) = (nats.url(), hook.url());
    let route = format!("[routes.default]\nsubject = \"{SUBJECT}\"\nwebhook.url = \"{hook}\"\n");
    Daemon::run_by(command).config(&format!("nats.url = \"{nats}\"\nruntime.threads = 1\n{route}"))
}

fn release_build() -> PathBuf {
    env::var_os("BROADCASTER").expect("BROADCASTER names the release build: use `make`").into()
}

/// What callgrind saw running, in the order of the names.
fn functions(profile: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(profile).expect("callgrind has written it");
    text.lines().filter_map(|line| line.strip_prefix("fn=")).map(str::to_owned).collect()
}

/// What the name of a function begins with, also when another compiler, or another version of a library, names it; none where
/// it is not one of Rust's.
fn pattern(name: &str) -> Option<String> {
    const HASH: &str = "17h";
    /// What comes behind so much is hardly ever the only difference between two.
    const MOST: usize = 120;
    let known = if name.starts_with("_ZN") {
        let (name, _hash) = name.rsplit_once(HASH)?;
        name.to_owned() + HASH
    } else {
        // Those of the standard library (RFC 2603): the name of each crate has its hash before it, in letters and digits.
        let name = name.split(['.', '\'']).next().filter(|name| name.starts_with("_R"))?;
        let mut parts = name.split("Cs");
        let first = parts.next()?.to_owned();
        let named = parts.filter_map(|part| part.split_once('_')).map(|(_hash, name)| name);
        named.fold(first, |all, name| all + "Cs*_" + name)
    };
    Some(known.chars().take(MOST).collect::<String>() + "*")
}

#[tokio::test]
#[ignore = "measures the release build, which `make test` builds"]
async fn an_idle_daemon_takes_at_most_ten_mebibytes() {
    let (nats, hook) = (NatsServer::start().await, Webhook::counting());
    let daemon = minimal(Command::new(release_build()), &nats, &hook).start_ready().await;
    daemon.metrics().await;
    let taken = daemon.rss_kib();
    println!("{taken} KiB when idle, of which {} are its own", daemon.own_memory() / 1024);
    assert!(
        taken <= MOST_WHEN_IDLE_KIB,
        "{taken} KiB are in memory when idle, more than {MOST_WHEN_IDLE_KIB}: does `make layout` help?"
    );
}

#[tokio::test]
#[ignore = "writes packaging/layout.ld: use `make layout`"]
async fn write_the_layout() {
    let mut known = HashSet::new();
    let mut text = format!("{HEADER}SECTIONS\n{{\n  .text.run :\n  {{\n");
    for course in Course::ALL {
        for pattern in course.run().await.iter().filter_map(|name| pattern(name)) {
            // What is called rarely has another section. (One pattern for both, `.text*.`, takes a linker half a minute.)
            if known.insert(pattern.clone()) {
                text += &format!("    *(.text.{pattern} .text.unlikely.{pattern})\n");
            }
        }
    }
    assert!(!known.is_empty(), "callgrind has named no function");
    text.push_str("  }\n}\nINSERT BEFORE .text;\n");
    fs::write(FILE, text).expect("the checkout is writable");
}
