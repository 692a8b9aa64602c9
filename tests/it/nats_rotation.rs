//! Logins that are rotated while the daemon runs: what was good is refused from then on, and the daemon comes back with
//! what its files hold now, without a restart.

use std::path::Path;
use std::time::{Duration, SystemTime};

use async_nats::ConnectOptions;
use nkeys::KeyPair;

use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::tls::Authority;
use testkit::webhook::Webhook;

use super::nats_auth::{Operator, assert_secret, server, written};

const SOON: Duration = Duration::from_secs(60);
const SUBJECT: &str = "todos.events";
const OLD: &str = "correct-horse-battery";
const NEW: &str = "staple-and-another-horse";

/// A daemon that is ready, with the secret of its file in place.
struct Rotation {
    nats: NatsServer,
    hook: Webhook,
    daemon: Running,
    file: String,
    directory: tempfile::TempDir,
}

impl Rotation {
    /// A daemon whose setting `key` names a file that holds `secret`, which a server with this configuration lets in.
    async fn begin(config: &str, key: &str, secret: &str, more: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let file = written(directory.path(), "secret", secret);
        let nats = server(config).await;
        let hook = Webhook::start();
        let daemon =
            Daemon::between(&nats, &hook.url()).env(key, &file).env("BROADCASTER__RUNTIME__THREADS", "1");
        let daemon = more.iter().fold(daemon, |daemon, (key, value)| daemon.env(key, value));
        let daemon = daemon.start_ready().await;
        Self { nats, hook, daemon, file, directory }
    }

    fn write(&self, secret: &str) {
        written(self.directory.path(), "secret", secret);
    }

    /// The daemon has lost its connection and has another one, over which it delivers what is published with `options`.
    async fn assert_back(&mut self, options: ConnectOptions) {
        // The server sends one connection after the other away, and the first is not always the lane's.
        let has_moved =
            || self.daemon.events("connected to NATS").iter().any(|event| event["link"] == "lane 0");
        let end = std::time::Instant::now() + SOON;
        while !has_moved() {
            assert!(std::time::Instant::now() < end, "{:?}", self.daemon.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.daemon.ready(SOON).await;
        let mut publisher = Publisher::new(self.nats.client_with(options).await, SUBJECT);
        publisher.burst(10).await;
        self.hook.wait_delivered(10, SOON).await;
        assert_eq!(self.daemon.stop().await.delivered, 10);
    }
}

/// A login that is another one from then on, in the file first and at the server then.
async fn assert_rotates(
    [before, after]: [&str; 2],
    key: &str,
    [old, new]: [&str; 2],
    more: &[(&str, &str)],
    options: ConnectOptions,
) {
    let mut rotation = Rotation::begin(before, key, old, more).await;
    rotation.write(new);
    rotation.nats.reload(after).await;
    rotation.assert_back(options).await;
    assert_secret(&rotation.daemon, old);
    assert_secret(&rotation.daemon, new);
}

#[tokio::test]
async fn a_password() {
    let config = |password| format!("authorization {{ user: daemon, password: \"{password}\" }}");
    assert_rotates(
        [&config(OLD), &config(NEW)],
        "BROADCASTER__NATS__PASSWORD_FILE",
        [OLD, NEW],
        &[("BROADCASTER__NATS__USER", "daemon")],
        ConnectOptions::with_user_and_password("daemon".to_owned(), NEW.to_owned()),
    )
    .await;
}

#[tokio::test]
async fn a_token() {
    let config = |token| format!("authorization {{ token: \"{token}\" }}");
    let options = ConnectOptions::with_token(NEW.to_owned());
    let key = "BROADCASTER__NATS__TOKEN_FILE";
    assert_rotates([&config(OLD), &config(NEW)], key, [OLD, NEW], &[], options).await;
}

#[tokio::test]
async fn an_nkey() {
    let users = [KeyPair::new_user(), KeyPair::new_user()];
    let seeds = users.each_ref().map(|user| user.seed().unwrap());
    let configs = users
        .each_ref()
        .map(|user| format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key()));
    assert_rotates(
        configs.each_ref().map(String::as_str),
        "BROADCASTER__NATS__NKEY_SEED_FILE",
        seeds.each_ref().map(String::as_str),
        &[],
        ConnectOptions::with_nkey(seeds[1].clone()),
    )
    .await;
}

#[tokio::test]
async fn credentials_that_expire() {
    let operator = Operator::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let soon = operator.credentials(Some(now.as_secs() + 3));
    let key = "BROADCASTER__NATS__CREDENTIALS_FILE";
    let mut rotation = Rotation::begin(&operator.config, key, &soon, &[]).await;
    let renewed = operator.credentials(None);
    rotation.write(&renewed);
    rotation.assert_back(ConnectOptions::with_credentials(&renewed).unwrap()).await;
    rotation.daemon.wait_log("the server has closed it: User Authentication Expired", SOON).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_at_a_login_is_said_until_it_can() {
    let config = |token| format!("authorization {{ token: \"{token}\" }}");
    let key = "BROADCASTER__NATS__TOKEN_FILE";
    let mut rotation = Rotation::begin(&config(OLD), key, OLD, &[]).await;
    std::fs::remove_file(&rotation.file).unwrap();
    rotation.nats.reload(&config(NEW)).await;
    let reason = format!("cannot read {}: No such file or directory", rotation.file);
    wait_health(&rotation.daemon, &reason).await;
    // What it held before is not tried again. (The server itself has sent us away.)
    let troubles = rotation.daemon.events("NATS connection in trouble");
    let refused = |event: &&serde_json::Value| {
        event["link"] == "lane 0" && event["error"].to_string().contains(": authorization")
    };
    assert_eq!(troubles.iter().filter(refused).count(), 0, "{troubles:?}");
    rotation.write("two\nlines");
    wait_health(&rotation.daemon, &format!("expected a single line in {}", rotation.file)).await;
    assert_eq!(rotation.daemon.get("/healthz").await.status, 200);
    rotation.write(NEW);
    rotation.assert_back(ConnectOptions::with_token(NEW.to_owned())).await;
}

/// Waits until `/health` says `reason` for not being ready.
pub(super) async fn wait_health(daemon: &Running, reason: &str) {
    let end = std::time::Instant::now() + SOON;
    loop {
        let (status, body) = daemon.health().await;
        if status == 503 && body.contains(reason) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{reason:?} is not in {status} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn certificates_of_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let options = |authority: &Authority| {
        let (certificate, key) = authority.issue(&["daemon"]).write_to(directory, "daemon");
        authority.issue_loopback().write_to(directory, "nats");
        ConnectOptions::new()
            .add_root_certificates(authority.write_to(directory))
            .add_client_certificate(certificate, key)
    };
    let path = |name: &str| directory.join(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("daemon.pem"), path("daemon.key"));
    drop(options(&Authority::new()));
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {ca:?}, verify: true }}",
        path("nats.pem"),
        path("nats.key")
    );
    let mut nats = server(&config).await;
    let hook = Webhook::start();
    let daemon = Daemon::between(&nats, &hook.url()).env("BROADCASTER__NATS__TLS__CA_FILE", &ca);
    let daemon = daemon.env("BROADCASTER__NATS__TLS__CERT_FILE", &certificate);
    let daemon = daemon.env("BROADCASTER__NATS__TLS__KEY_FILE", &key).start_ready().await;
    nats.kill();
    let options = options(&Authority::new());
    nats.restart().await;
    daemon.ready(SOON).await;
    Publisher::new(nats.client_with(options).await, SUBJECT).burst(3).await;
    hook.wait_delivered(3, SOON).await;
    assert!(Path::new(&ca).is_file());
}
