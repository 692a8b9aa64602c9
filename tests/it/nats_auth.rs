//! How the daemon logs in to NATS, by each kind of login, and which servers it trusts.

use std::path::Path;
use std::time::Duration;

use async_nats::ConnectOptions;
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use testkit::daemon::{Daemon, Running};
use testkit::nats::{NatsServer, Setup};
use testkit::publisher::Publisher;
use testkit::tls::Authority;
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);
pub(super) const SECRET: &str = "correct-horse-battery";

/// A server with this in its configuration.
pub(super) async fn server(config: &str) -> NatsServer {
    NatsServer::builder().config(config).start().await
}

fn with_password() -> String {
    format!("authorization {{ user: daemon, password: \"{SECRET}\" }}")
}

fn as_daemon() -> ConnectOptions {
    ConnectOptions::with_user_and_password("daemon".to_owned(), SECRET.to_owned())
}

/// A secret in a file, as an editor leaves it.
pub(super) fn written(directory: &Path, name: &str, secret: &str) -> String {
    let file = directory.join(name);
    std::fs::write(&file, format!("{secret}\n")).expect("the directory is writable");
    file.display().to_string()
}

/// The URL of `nats` with a login in it.
fn url_with(nats: &NatsServer, login: &str) -> String {
    nats.url().replace("nats://", &format!("nats://{login}@"))
}

/// A panic unless a daemon that is `described` delivers from `nats`, where the test may publish with `options`, and
/// keeps `secret` to itself.
async fn assert_works(
    nats: &NatsServer,
    options: ConnectOptions,
    secret: &str,
    described: impl FnOnce(Daemon) -> Daemon,
) {
    let hook = Webhook::start();
    let mut daemon =
        described(Daemon::between(nats, &hook.url()).env("LOG_LEVEL", "debug")).start_ready().await;
    let mut publisher = Publisher::new(nats.client_with(options).await, "todos.events");
    publisher.burst(10).await;
    hook.wait_delivered(10, SOON).await;
    assert_eq!(daemon.stop().await.delivered, 10);
    assert_secret(&daemon, secret);
}

pub(super) fn assert_secret(daemon: &Running, secret: &str) {
    let leaks = daemon.logs_containing(secret);
    assert!(leaks.is_empty(), "the log holds the secret: {leaks:?}");
}

#[tokio::test]
async fn a_user_with_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let nats = server(&with_password()).await;
    let file = written(directory.path(), "password", SECRET);
    assert_works(&nats, as_daemon(), SECRET, |daemon| {
        daemon.env("BROADCASTER__NATS__USER", "daemon").env("BROADCASTER__NATS__PASSWORD", SECRET)
    })
    .await;
    assert_works(&nats, as_daemon(), SECRET, |daemon| {
        daemon.env("BROADCASTER__NATS__USER", "daemon").env("BROADCASTER__NATS__PASSWORD_FILE", &file)
    })
    .await;
    let url = url_with(&nats, &format!("daemon:{SECRET}"));
    assert_works(&nats, as_daemon(), SECRET, |daemon| daemon.env("NATS_URL", url)).await;
}

#[tokio::test]
async fn a_token() {
    let directory = tempfile::tempdir().unwrap();
    let nats = server(&format!("authorization {{ token: \"{SECRET}\" }}")).await;
    let options = || ConnectOptions::with_token(SECRET.to_owned());
    let file = written(directory.path(), "token", SECRET);
    assert_works(&nats, options(), SECRET, |daemon| daemon.env("BROADCASTER__NATS__TOKEN", SECRET)).await;
    assert_works(&nats, options(), SECRET, |daemon| daemon.env("BROADCASTER__NATS__TOKEN_FILE", &file)).await;
    let url = url_with(&nats, SECRET);
    assert_works(&nats, options(), SECRET, |daemon| daemon.env("NATS_URL", url)).await;
}

#[tokio::test]
async fn an_nkey_seed_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let user = KeyPair::new_user();
    let seed = user.seed().unwrap();
    let nats = server(&format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key())).await;
    let file = written(directory.path(), "user.nk", &seed);
    assert_works(&nats, ConnectOptions::with_nkey(seed.clone()), &seed, |daemon| {
        daemon.env("BROADCASTER__NATS__NKEY_SEED_FILE", &file)
    })
    .await;
}

/// A JWT as NATS wants it: what `issuer` claims of `subject`, until a second since 1970.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, claims: &Value, expires: Option<u64>) -> String {
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let body = json!({
        "jti": name,
        "iat": 1_700_000_000,
        "exp": expires.unwrap_or_default(),
        "iss": issuer.public_key(),
        "name": name,
        "sub": subject.public_key(),
        "nats": claims,
    });
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(&body));
    let signature = issuer.sign(signed.as_bytes()).expect("a seed can sign");
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// An operator and an account whose users it vouches for.
pub(super) struct Operator {
    /// The configuration of a server that trusts the operator.
    pub(super) config: String,
    account: KeyPair,
}

impl Operator {
    pub(super) fn new() -> Self {
        let (operator, account, system) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let none = json!(-1);
        let limits = json!({ "subs": none, "data": none, "payload": none, "imports": none, "exports": none,
            "wildcards": true, "conn": none, "leaf": none });
        let of_account = json!({ "type": "account", "version": 2, "limits": limits });
        let of_operator = json!({ "type": "operator", "version": 2 });
        let config = format!(
            "operator: \"{}\"\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload {{ {}: \"{}\", {}: \"{}\" }}",
            jwt(&operator, &operator, "operator", &of_operator, None),
            system.public_key(),
            system.public_key(),
            jwt(&operator, &system, "system", &of_account, None),
            account.public_key(),
            jwt(&operator, &account, "todos", &of_account, None),
        );
        Self { config, account }
    }

    /// The text of a credentials file for a new user, good until a second since 1970.
    pub(super) fn credentials(&self, expires: Option<u64>) -> String {
        let (user, none) = (KeyPair::new_user(), json!(-1));
        let of_user = json!({ "type": "user", "version": 2, "subs": none, "data": none, "payload": none });
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            jwt(&self.account, &user, "daemon", &of_user, expires),
            user.seed().expect("a new key has a seed"),
        )
    }
}

#[tokio::test]
async fn a_credentials_file() {
    let directory = tempfile::tempdir().unwrap();
    let operator = Operator::new();
    let (nats, credentials) = (server(&operator.config).await, operator.credentials(None));
    let file = written(directory.path(), "daemon.creds", &credentials);
    let options = ConnectOptions::with_credentials(&credentials).unwrap();
    let seed = credentials.lines().rev().nth(1).unwrap();
    assert_works(&nats, options, seed, |daemon| daemon.env("BROADCASTER__NATS__CREDENTIALS_FILE", &file))
        .await;
}

/// A server that shows a certificate of `authority`, and asks for one where `verify` is set.
async fn tls_server(authority: &Authority, directory: &Path, verify: bool) -> NatsServer {
    let (certificate, key) = authority.issue_loopback().write_to(directory, "nats");
    let ca = authority.write_to(directory);
    server(&format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: {verify} }}"
    ))
    .await
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let nats = tls_server(&authority, directory.path(), false).await;
    let ca = directory.path().join("ca.pem");
    for scheme in ["nats", "tls"] {
        let options = ConnectOptions::new().add_root_certificates(ca.clone());
        let url = nats.url().replace("nats", scheme);
        assert_works(&nats, options, "PRIVATE KEY", |daemon| {
            daemon.env("NATS_URL", url).env("BROADCASTER__NATS__TLS__CA_FILE", &ca)
        })
        .await;
    }
}

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let nats = tls_server(&authority, directory.path(), true).await;
    let ca = directory.path().join("ca.pem");
    let (certificate, key) = authority.issue(&["daemon"]).write_to(directory.path(), "daemon");
    let options = ConnectOptions::new()
        .add_root_certificates(ca.clone())
        .add_client_certificate(certificate.clone(), key.clone());
    assert_works(&nats, options, "PRIVATE KEY", |daemon| {
        daemon
            .env("BROADCASTER__NATS__TLS__CA_FILE", &ca)
            .env("BROADCASTER__NATS__TLS__CERT_FILE", &certificate)
            .env("BROADCASTER__NATS__TLS__KEY_FILE", &key)
    })
    .await;
}

#[tokio::test]
async fn a_user_that_the_client_certificate_names() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue_loopback().write_to(directory.path(), "nats");
    let ca = authority.write_to(directory.path());
    let nats = server(&format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify_and_map: true }}\n\
         authorization {{ users: [{{ user: daemon.example }}] }}"
    ))
    .await;
    let (certificate, key) = authority.issue(&["daemon.example"]).write_to(directory.path(), "daemon");
    let options = ConnectOptions::new()
        .add_root_certificates(ca.clone())
        .add_client_certificate(certificate.clone(), key.clone());
    assert_works(&nats, options, "PRIVATE KEY", |daemon| {
        daemon
            .env("BROADCASTER__NATS__TLS__CA_FILE", &ca)
            .env("BROADCASTER__NATS__TLS__CERT_FILE", &certificate)
            .env("BROADCASTER__NATS__TLS__KEY_FILE", &key)
    })
    .await;
}

#[tokio::test]
async fn the_user_of_those_who_do_not_log_in() {
    let users = format!("authorization {{ users: [{{ user: daemon, password: \"{SECRET}\" }}] }}");
    let nats = server(&format!("{users}\nno_auth_user: daemon")).await;
    assert_works(&nats, ConnectOptions::new(), SECRET, |daemon| daemon).await;
}

/// A daemon that is `described` but does not get in, until `/health` says `reason`. It lives on, and stops in order.
async fn assert_kept_out(nats: Setup, reason: &str, described: impl FnOnce(Daemon, &NatsServer) -> Daemon) {
    let nats = nats.start().await;
    let hook = Webhook::start();
    let daemon = Daemon::between(&nats, &hook.url()).env("LOG_LEVEL", "debug");
    let mut daemon = described(daemon, &nats).start().await;
    let end = std::time::Instant::now() + SOON;
    loop {
        let (status, body) = daemon.health().await;
        assert_eq!(status, 503, "{body}");
        if body.to_lowercase().contains(reason) {
            break;
        }
        assert!(std::time::Instant::now() < end, "{reason:?} is not in {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The log is written by a thread of its own, a moment later.
    daemon.wait_log("NATS connection in trouble", SOON).await;
    let warnings = daemon.logs_containing("NATS connection in trouble").len();
    assert!((1..=4).contains(&warnings), "{warnings} warnings");
    assert_eq!(daemon.get("/healthz").await.status, 200);
    assert_eq!(daemon.stop().await.received, 0);
    assert_secret(&daemon, "wrong-secret");
}

#[tokio::test]
async fn a_wrong_password_shows_in_health_and_not_in_the_log() {
    assert_kept_out(
        NatsServer::builder().config(&with_password()),
        "authorization violation",
        |daemon, _| {
            daemon.env("BROADCASTER__NATS__USER", "daemon").env("BROADCASTER__NATS__PASSWORD", "wrong-secret")
        },
    )
    .await;
    assert_kept_out(
        NatsServer::builder().config(&with_password()),
        "authorization violation",
        |daemon, nats| daemon.env("NATS_URL", url_with(nats, "daemon:wrong-secret")),
    )
    .await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().issue_loopback().write_to(directory.path(), "nats");
    let ca = Authority::new().write_to(directory.path());
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
    assert_kept_out(NatsServer::builder().config(&tls), "certificate", |daemon, _| {
        daemon.env("BROADCASTER__NATS__TLS__CA_FILE", &ca)
    })
    .await;
}

#[tokio::test]
async fn a_password_that_becomes_right_is_noticed() {
    let mut nats = server(&with_password()).await;
    let hook = Webhook::start();
    let daemon = Daemon::between(&nats, &hook.url()).start().await;
    daemon.wait_log("NATS connection in trouble", SOON).await;
    let port = nats.port();
    nats.kill();
    drop(nats);
    nats = NatsServer::builder().port(port).start().await;
    daemon.ready(SOON).await;
    Publisher::new(nats.client().await, "todos.events").burst(3).await;
    hook.wait_delivered(3, SOON).await;
}
