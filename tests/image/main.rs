//! What is in the image, and that the daemon does its job in it as Kubernetes runs it: without privileges, without anything
//! it could write to, in 128 MiB.
//!
//! The daemon is the release build as it is shipped, which `make` builds apart and names by `BROADCASTER`. It is run by
//! runc, which takes root.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::collections::BTreeSet;
use std::env;
use std::time::Duration;

use container::{Contained, Container, MEMORY, SECRETS, USER};
use image::Image;
use name_server::NameServer;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::tls::Authority;
use testkit::webhook::{Reply, Webhook};

mod container;
mod image;
mod name_server;

const SOON: Duration = Duration::from_secs(30);
/// When a queue counts as full: nearly at the default of `queue.bytes` and `retry.bytes`.
const FULL: f64 = 0.98 * 32.0 * 1024.0 * 1024.0;
/// What every container here is told; the ports are free ones, since the network is shared with other tests.
const SETTINGS: &str = "\
    log.format = \"json\"\n\
    server = { api = \"127.0.0.1:0\", metrics = \"127.0.0.1:0\" }\n";

#[test]
#[ignore = "takes the release build, which `make test` builds"]
fn the_image_holds_what_is_listed_here_and_none_of_it_can_be_written_to() {
    let entries = Image::build().entries();
    let files = entries.iter().filter(|(_, entry)| entry.mode & 0o170_000 != 0o040_000);
    let found: BTreeSet<_> = files.map(|(path, _)| path.to_str().expect("a plain name")).collect();
    let (loader, libraries) = match env::consts::ARCH {
        "x86_64" => ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu"),
        "aarch64" => ("lib/ld-linux-aarch64.so.1", "lib/aarch64-linux-gnu"),
        other => panic!("where are the libraries of {other}?"),
    };
    let [libc, libgcc, libm] =
        ["libc.so.6", "libgcc_s.so.1", "libm.so.6"].map(|name| format!("{libraries}/{name}"));
    let expected = BTreeSet::from([
        "etc/group",
        "etc/os-release",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        &libc,
        &libgcc,
        &libm,
        loader,
        "usr/bin/broadcaster",
        "usr/share/doc/broadcaster/LICENSE",
        "usr/share/doc/ca-certificates/copyright",
        "usr/share/doc/libc6/copyright",
        "usr/share/doc/libgcc-s1/copyright",
        "var/lib/dpkg/status.d/ca-certificates",
        "var/lib/dpkg/status.d/libc6",
        "var/lib/dpkg/status.d/libgcc-s1",
    ]);
    let (missing, more) = (&expected - &found, &found - &expected);
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:?}; not expected: {more:?}");
    for (path, entry) in &entries {
        let modes = [0o040_755, 0o100_444, 0o100_555];
        assert!(modes.contains(&entry.mode), "the mode of {} is {:o}", path.display(), entry.mode);
        assert_eq!(entry.changed, 0, "{} is as old as the build", path.display());
    }
    let bytes: usize = entries.values().map(|entry| entry.content.len()).sum();
    println!("the image has {:.1} MB", bytes as f64 / 1e6);
}

#[test]
#[ignore = "takes the release build, which `make test` builds"]
fn the_image_is_the_same_each_time_it_is_built() {
    let (first, second) = (Image::build().entries(), Image::build().entries());
    assert!(first.keys().eq(second.keys()), "{:?}\n{:?}", first.keys(), second.keys());
    for (path, entry) in first {
        assert!(entry == second[&path], "{} is not the same", path.display());
    }
}

#[tokio::test]
#[ignore = "takes the release build, which `make test` builds, and root"]
async fn the_daemon_delivers_over_tls_by_names_of_dns_and_hosts() {
    const COUNT: u64 = 5_000;
    let nats = NatsServer::start().await;
    let authority = Authority::new();
    let hook = Webhook::start_tls(&authority.issue(&["webhook.test"]));
    let names = NameServer::start("webhook.test");
    let config = format!(
        "{SETTINGS}\
         nats.url = \"nats://nats.test:{}\"\n\
         routes.todos.webhook.url_file = \"{SECRETS}/WEBHOOK_URL\"\n\
         routes.todos.webhook.tls.ca_file = \"{SECRETS}/ca.pem\"\n",
        nats.port(),
    );
    let url = format!("https://webhook.test:{}/hook\n", hook.address().port());
    let container = Container::new(&config, &[("WEBHOOK_URL", &url), ("ca.pem", &authority.pem())])
        .resolving(&names.address().to_string(), "nats.test")
        .start()
        .await;
    assert_confined(&container);
    println!("idle, it takes {} KiB", container.status().vmrss.expect("a process has memory"));
    let probe = container.exec(&["health", "--url", &format!("http://{}", container.daemon.api())]);
    assert!(probe.status.success(), "the probe: {}", String::from_utf8_lossy(&probe.stderr));
    let mut publisher = Publisher::new(nats.client().await, "todos.events");
    publisher.paced(COUNT, 1_000, || hook.delivered() as u64).await;
    hook.wait_delivered(5_000, SOON).await;
    let account = container.stop().await;
    assert_eq!((account.received, account.delivered), (COUNT, COUNT));
    hook.assert_exactly_once(0..COUNT);
}

/// A panic unless the daemon is as powerless as the manifests promise.
fn assert_confined(container: &Contained) {
    let status = container.status();
    let ids = [
        status.ruid,
        status.euid,
        status.suid,
        status.fuid,
        status.rgid,
        status.egid,
        status.sgid,
        status.fgid,
    ];
    assert_eq!(ids, [USER; 8], "users and groups");
    assert!(status.groups.is_empty(), "more groups: {:?}", status.groups);
    let capabilities =
        [Some(status.capinh), Some(status.capprm), Some(status.capeff), status.capbnd, status.capamb];
    assert_eq!(capabilities, [Some(0); 5], "capabilities");
    assert_eq!(status.nonewprivs, Some(1), "new privileges");
    for path in ["/", "/etc/broadcaster/config", "/etc/broadcaster/secrets", "/etc/hosts", "/etc/resolv.conf"]
    {
        assert!(container.mount(path).mount_options.contains_key("ro"), "{path} can be written to");
    }
    let memory = container.memory();
    assert_eq!(memory.limit, MEMORY, "{memory:?}");
}

#[tokio::test]
#[ignore = "takes the release build, which `make test` builds, and root"]
async fn an_outage_that_fills_both_queues_stays_within_the_memory() {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    let config = format!(
        "{SETTINGS}\
         nats.url = \"{}\"\n\
         shutdown.grace = \"1s\"\n\
         [routes.todos]\n\
         webhook.url_file = \"{SECRETS}/WEBHOOK_URL\"\n\
         breaker.enabled = false # it would leave the retry queue nearly empty\n\
         retry = {{ initial = \"5m\", jitter = \"none\" }}\n",
        nats.url(),
    );
    let container = Container::new(&config, &[("WEBHOOK_URL", &hook.url())]).start().await;
    let mut publisher = Publisher::new(nats.client().await, "todos.events").padded(1_024);
    hook.answer(503);
    fill(&container, &mut publisher, "broadcaster_retry_queue_bytes").await;
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    fill(&container, &mut publisher, "broadcaster_queue_bytes").await;
    let metrics = container.daemon.metrics().await;
    for queue in ["broadcaster_queue_bytes", "broadcaster_retry_queue_bytes"] {
        assert!(metrics.value(queue, &[]) >= FULL, "{queue} is not full:\n{}", metrics.text());
    }
    let memory = container.memory();
    println!("with both queues full, it took {} KiB at most", memory.most / 1024);
    assert!(memory.most < MEMORY && memory.killed == 0, "{memory:?}");
    let account = container.stop().await;
    assert_eq!(account.received, publisher.count(), "{account:?}");
    assert_eq!(account.delivered + account.dropped, account.received, "{account:?}");
}

/// Publishes until there is no room in a queue, and some more.
async fn fill(container: &Contained, publisher: &mut Publisher, queue: &str) {
    const STEP: u64 = 1_000;
    const MOST: u64 = 100_000;
    const MORE: u64 = 15_000;
    let end = publisher.count() + MOST;
    while container.daemon.metrics().await.value(queue, &[]) < FULL {
        assert!(publisher.count() < end, "{queue}: there is room left after {MOST} messages");
        publisher.burst(STEP).await;
        received(container, publisher.count()).await;
    }
    publisher.burst(MORE).await;
    received(container, publisher.count()).await;
}

/// Waits until the daemon has as many messages as were published.
async fn received(container: &Contained, count: u64) {
    let all = |metrics: &testkit::metrics::Metrics| {
        metrics.value("broadcaster_messages_received_total", &[]) >= count as f64
    };
    container.daemon.wait_metrics(all, SOON).await;
}
