//! The ways to a webhook that are the same for both versions of HTTP: proxies, certificates, and the command that delivers
//! dead letters after all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testkit::daemon::{Daemon, run};
use testkit::proxy::Proxy;
use testkit::publisher::Publisher;
use testkit::stage::Stage;
use testkit::tls::Authority;
use testkit::webhook::{Reply, Webhook};
use tokio_rustls::rustls::ServerConfig;

use super::http2;

const SOON: Duration = Duration::from_secs(60);
const MESSAGES: u32 = 200;

/// Has messages delivered to `hook`, each in its first attempt and over few connections.
async fn deliver(hook: &Webhook, described: impl FnOnce(Daemon) -> Daemon) {
    let mut stage = Stage::set(&hook.url(), |daemon| described(http2(daemon))).await;
    Publisher::new(stage.client.clone(), "todos.events").burst(MESSAGES.into()).await;
    stage.wait_processed(MESSAGES).await;
    hook.assert_exactly_once(0..MESSAGES.into());
    stage.assert_codes([("200", MESSAGES.into())]).await;
    // One for each of 64 attempts would be HTTP/1.1.
    assert!(hook.connections() <= 4, "{}", hook.summary());
    stage.close().await;
}

fn trusting(daemon: Daemon, ca: &Path) -> Daemon {
    daemon.route("webhook.tls.ca_file", &ca.display().to_string())
}

#[tokio::test]
async fn through_tunnels_of_both_kinds_of_proxy() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let ca = authority.write_to(folder.path());
    let identity = authority.issue_loopback();
    let (tunnel, socks) = (Proxy::http("").await, Proxy::socks(Some(("user", "s3cret"))).await);
    for proxy in
        [format!("http://{}", tunnel.address()), format!("socks5h://user:s3cret@{}", socks.address())]
    {
        let hooks = [Webhook::start_http2(), Webhook::start_tls_as(identity.server_config_speaking(&["h2"]))];
        for hook in hooks {
            deliver(&hook, |daemon| trusting(daemon, &ca).route("webhook.egress.proxy", &proxy)).await;
        }
    }
    assert!(!tunnel.asked().is_empty());
}

#[tokio::test]
async fn with_a_certificate_where_one_is_demanded() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let ca = authority.write_to(folder.path());
    let (certificate, key) = authority.issue(&["client.example"]).write_to(folder.path(), "client");
    let mut demanding = ServerConfig::clone(&authority.demanding(&authority.issue_loopback()));
    demanding.alpn_protocols = vec![b"h2".to_vec()];
    let demanding = Arc::new(demanding);
    let hook = Webhook::start_tls_as(Arc::clone(&demanding));
    deliver(&hook, |daemon| {
        trusting(daemon, &ca)
            .route("webhook.tls.cert_file", &certificate.display().to_string())
            .route("webhook.tls.key_file", &key.display().to_string())
    })
    .await;

    let hook = Webhook::start_tls_as(demanding);
    let code = Stage::one_attempt(&hook.url(), |daemon| trusting(http2(daemon), &ca)).await;
    assert_eq!((code.as_str(), hook.received()), ("tls", 0));
}

#[tokio::test]
async fn dead_letters_are_replayed() {
    const LETTERS: u64 = 20;
    let hook = Webhook::start_http2();
    hook.answer(Reply::status(422));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        http2(daemon).route("dead_letter.stream", "DEAD").route("dead_letter.create", "true")
    })
    .await;
    Publisher::new(stage.client.clone(), "todos.events").burst(LETTERS).await;
    stage
        .daemon
        .wait_metrics(
            |metrics| {
                let dead = [("outcome", "dead_lettered")];
                metrics.sum("broadcaster_messages_processed_total", &dead) >= LETTERS as f64
            },
            SOON,
        )
        .await;
    stage.close().await;

    let hook = Webhook::start_http2();
    let (nats, url) = (stage.nats.url(), hook.url());
    let replay = run(
        &["dead-letters", "replay", "--all"],
        &[
            ("NATS_URL", nats.as_str()),
            ("WEBHOOK_URL", url.as_str()),
            ("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__HTTP", "2"),
            ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__STREAM", "DEAD"),
        ],
    );
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    hook.assert_exactly_once(0..LETTERS);
    assert!(hook.connections() <= 4, "{}", hook.summary());
}
