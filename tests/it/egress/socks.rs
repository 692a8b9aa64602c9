//! Webhooks behind a proxy that speaks SOCKS 5: a real microsocks.

use testkit::{proxy::Proxy, stage::Stage, tls::Authority, webhook::Webhook};

/// A stage whose webhook is behind the proxy with this address; a message dies of its first failure.
async fn behind(proxy: &str, url: &str, ca: &str) -> Stage {
    Stage::set(url, |daemon| {
        daemon
            .env("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__EGRESS__PROXY", proxy)
            .route("webhook.tls.ca_file", ca)
            .without_breaker()
            .route("retry.attempts", "1")
    })
    .await
}

#[tokio::test]
async fn webhooks_are_reached_by_socks_5() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let ca = ca.to_str().unwrap();
    let (open, closed) = (Proxy::socks(None).await, Proxy::socks(Some(("user", "s3cret"))).await);
    for hook in [Webhook::start(), Webhook::start_tls(&authority.issue_loopback())] {
        let named = hook.url().replace("127.0.0.1", "localhost");
        for (proxy, url) in [
            (format!("socks5://{}", open.address()), hook.url()),
            (format!("socks5h://user:s3cret@{}", closed.address()), named),
        ] {
            let mut stage = behind(&proxy, &url, ca).await;
            stage.publish("0").await;
            stage.wait_processed(1).await;
            stage.assert_codes([("200", 1)]).await;
            stage.close().await;
        }
        assert_eq!(hook.received(), 2);
    }
}

#[tokio::test]
async fn socks_tells_a_proxy_in_trouble_from_a_webhook_that_is_down() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let ca = ca.to_str().unwrap();
    let hook = Webhook::start();
    let (open, closed) = (Proxy::socks(None).await, Proxy::socks(Some(("user", "s3cret"))).await);
    let mut stage = behind(&format!("socks5://{}", open.address()), "http://127.0.0.1:1/", ca).await;
    stage.publish("0").await;
    stage.wait_processed(1).await;
    stage.assert_codes([("connect", 1)]).await;
    stage.close().await;
    for login in ["", "user:wrong@"] {
        let proxy = format!("socks5://{login}{}", closed.address());
        let mut stage = behind(&proxy, &hook.url(), ca).await;
        stage.publish("0").await;
        let failed = |metrics: &testkit::metrics::Metrics| {
            metrics.sum("broadcaster_webhook_requests_total", &[("code", "proxy")]) >= 2.0
        };
        stage.daemon.wait_metrics(failed, super::SOON).await;
        let done = stage.daemon.metrics().await.sum("broadcaster_messages_processed_total", &[]);
        assert!(done.abs() < f64::EPSILON, "the message has died of the proxy");
        stage.daemon.kill();
    }
    assert_eq!(hook.received(), 0);
}
