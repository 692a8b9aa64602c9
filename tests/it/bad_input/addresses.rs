//! Webhook addresses where nothing listens, or something that is not to be trusted.

use std::net::TcpListener;
use std::time::Duration;

use testkit::daemon::Daemon;
use testkit::raw::{self, Misbehaviour, RawPeer};
use testkit::stage::Stage;
use testkit::tls::{Authority, TlsIdentity};
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);

/// Two attempts at a message for `url` fail for `reason`; it is given up and the daemon goes on.
async fn assert_fails(url: &str, reason: &str, described: impl FnOnce(Daemon) -> Daemon) {
    let described = |daemon: Daemon| {
        // With the breaker, the webhook would pay for these, and the message would wait for a better one.
        described(daemon.impatient().without_breaker().route("retry.attempts", "2"))
    };
    let mut stage = Stage::set(url, described).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    stage.assert_codes([(reason, 2)]).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.dropped), (1, 1));
    let drops = stage.daemon.events("message dropped");
    assert_eq!(drops[0]["last_failure"], reason, "{drops:?}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failure_of_dns() {
    assert_fails("http://nonexistent.invalid/hook", "dns", |daemon| daemon).await;
}

#[tokio::test]
async fn a_refused_connection_is_retried_until_somebody_listens() {
    let hook = Webhook::start();
    hook.down().await;
    let mut stage =
        Stage::set(&hook.url(), |daemon| daemon.impatient().route("retry.attempts", "1000000")).await;
    stage.publish("0").await;
    let refused = |metrics: &testkit::metrics::Metrics| {
        metrics.value("broadcaster_webhook_requests_total", &[("code", "connect")]) >= 3.0
    };
    stage.daemon.wait_metrics(refused, SOON).await;
    hook.up().await;
    hook.wait_delivered(1, SOON).await;
    stage.publish("1").await;
    hook.wait_delivered(2, SOON).await;
    stage.wait_processed(2).await;
    let codes = stage.codes().await;
    assert!(codes.keys().eq(["200", "connect"].iter()), "{codes:?}");
    assert_eq!(stage.close().await.delivered, 2);
}

/// An https webhook that shows `identity`, for a daemon that trusts `trusted`.
async fn assert_distrusted(identity: &TlsIdentity, trusted: &Authority) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let ca = trusted.write_to(directory.path());
    let hook = Webhook::start_tls(identity);
    let ca = ca.to_str().expect("the path is text");
    assert_fails(&hook.url(), "tls", |daemon| daemon.route("webhook.tls.ca_file", ca)).await;
    assert_eq!(hook.received(), 0, "a webhook got a message that it could not prove to be for");
}

#[tokio::test]
async fn an_expired_certificate_is_a_failure_of_tls() {
    let authority = Authority::new();
    assert_distrusted(&authority.issue_expired(&["127.0.0.1", "localhost"]), &authority).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_failure_of_tls() {
    let authority = Authority::new();
    assert_distrusted(&authority.issue(&["elsewhere.example"]), &authority).await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_a_failure_of_tls() {
    assert_distrusted(&Authority::new().issue_loopback(), &Authority::new()).await;
}

#[tokio::test]
async fn https_to_a_port_that_speaks_no_tls_is_a_failure_of_tls() {
    for misbehaviour in [Misbehaviour::SayAndClose(raw::GARBAGE), Misbehaviour::NeverAnswer] {
        let peer = RawPeer::start([misbehaviour]);
        let url = peer.url().replace("http:", "https:");
        let short = |daemon: Daemon| daemon.route("webhook.connect_timeout", "200ms");
        assert_fails(&url, "tls", short).await;
    }
}

#[tokio::test]
async fn http_to_a_port_that_speaks_tls_is_a_failure_of_the_protocol() {
    let hook = Webhook::start_tls(&Authority::new().issue_loopback());
    let url = hook.url().replace("https:", "http:");
    assert_fails(&url, "protocol", |daemon| daemon).await;
}

#[tokio::test]
async fn a_taken_port_fails_the_start_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, key) in
        [("BROADCASTER__SERVER__API", "server.api"), ("BROADCASTER__SERVER__METRICS", "server.metrics")]
    {
        let daemon = Daemon::new().env("WEBHOOK_URL", "http://127.0.0.1:1/").env(variable, &address);
        let mut daemon = daemon.spawn();
        let status = daemon.wait(SOON).await;
        assert_eq!(status.code(), Some(1));
        let said = daemon.logs_containing(&address);
        assert_eq!(said.len(), 1, "one line names the port: {:?}", daemon.logs());
        assert!(said[0].contains(key), "the key is not named: {}", said[0]);
        assert!(said[0].contains("in use"), "the cause is not named: {}", said[0]);
    }
}
