//! Webhooks behind a proxy that is asked for a tunnel by HTTP's CONNECT: a real tinyproxy.

use std::net::Ipv4Addr;

use testkit::{
    daemon::Daemon,
    haproxy::Haproxy,
    names::NameServer,
    namespace,
    proxy::Proxy,
    publisher::Publisher,
    raw::{self, Misbehaviour, RawPeer},
    stage::Stage,
    tls::Authority,
    webhook::Webhook,
};

use super::SOON;

const MESSAGES: u64 = 40;

/// A stage whose webhook is behind the proxy with this address.
async fn behind(proxy: &str, url: &str, described: impl FnOnce(Daemon) -> Daemon) -> Stage {
    Stage::set(url, |daemon| {
        let daemon = daemon.env("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__EGRESS__PROXY", proxy);
        described(daemon.impatient())
    })
    .await
}

async fn publish(stage: &Stage, count: u64) -> Publisher {
    let mut publisher = Publisher::new(stage.client.clone(), "todos.events");
    publisher.burst(count).await;
    publisher
}

#[tokio::test]
async fn plain_and_encrypted_webhooks_are_reached_through_a_tunnel() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let proxy = Proxy::http("BasicAuth user s3cret").await;
    for hook in [Webhook::start(), Webhook::start_tls(&authority.issue_loopback())] {
        let address = format!("http://us%65r:s3cret@{}", proxy.address());
        let ca = ca.to_str().unwrap();
        let mut stage = behind(&address, &hook.url(), |daemon| daemon.route("webhook.tls.ca_file", ca)).await;
        publish(&stage, MESSAGES).await;
        hook.wait_for(|hook| hook.distinct() as u64 == MESSAGES, SOON).await;
        hook.assert_exactly_once(0..MESSAGES);
        stage.wait_processed(u32::try_from(MESSAGES).unwrap()).await;
        stage.assert_codes([("200", MESSAGES)]).await;
        let asked = proxy.asked();
        assert!(asked.contains(&format!("CONNECT {}", hook.address())), "{asked:?}");
        assert!(hook.requests().iter().all(|request| request.header("proxy-authorization").is_empty()));
        let said = stage.daemon.logs_containing("webhooks are reached by a proxy");
        assert!(said.len() == 1 && said[0].contains(&proxy.address().to_string()), "{said:?}");
        assert!(stage.daemon.logs_containing("s3cret").is_empty() && !said[0].contains("user:"), "{said:?}");
        stage.close().await;
    }
}

#[tokio::test]
async fn a_proxy_that_is_encrypted_itself_sees_two_layers() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = authority.write_to(directory.path());
    let inner = Proxy::http("").await;
    let proxy = Haproxy::encrypting(&authority.issue_loopback(), inner.address()).await;
    for hook in [Webhook::start(), Webhook::start_tls(&authority.issue_loopback())] {
        let (address, ca) = (format!("https://{}", proxy.address()), ca.to_str().unwrap());
        let mut stage = behind(&address, &hook.url(), |daemon| daemon.route("webhook.tls.ca_file", ca)).await;
        publish(&stage, MESSAGES).await;
        hook.wait_for(|hook| hook.distinct() as u64 == MESSAGES, SOON).await;
        hook.assert_exactly_once(0..MESSAGES);
        stage.close().await;
    }
    assert!(!inner.asked().is_empty());
}

#[tokio::test]
async fn a_proxy_that_dies_and_comes_back_costs_no_message_an_attempt() {
    let mut proxy = Proxy::http("").await;
    let hook = Webhook::start();
    let address = format!("http://{}", proxy.address());
    // A message that paid for one failure would be dead.
    let mut stage = behind(&address, &hook.url(), |daemon| {
        daemon.route("retry.attempts", "1").route("breaker.open_for", "100ms")
    })
    .await;
    let mut publisher = publish(&stage, MESSAGES).await;
    hook.wait_for(|hook| hook.distinct() as u64 == MESSAGES, SOON).await;
    proxy.stop();
    publisher.burst(MESSAGES).await;
    let line = stage.daemon.wait_log("breaker open: the webhook is left alone", SOON).await;
    let name = format!("proxy: connecting to the proxy {}: connection refused", proxy.address());
    assert!(line.contains(&name), "{line}");
    proxy.start().await;
    hook.wait_for(|hook| hook.distinct() as u64 == 2 * MESSAGES, SOON).await;
    hook.assert_exactly_once(0..2 * MESSAGES);
    let codes = stage.codes().await;
    assert!(codes.get("proxy").is_some_and(|count| *count > 0), "{codes:?}");
    let attempts: Vec<_> =
        hook.requests().iter().map(|request| request.header("broadcaster-attempt").to_owned()).collect();
    assert!(attempts.iter().all(|attempt| attempt == "1"), "{attempts:?}");
    stage.close().await;
}

/// What is said of a proxy with this address while a message waits behind it.
async fn trouble(proxy: &str, url: &str) -> String {
    let mut stage = behind(proxy, url, |daemon| {
        daemon.route("retry.attempts", "1").route("webhook.connect_timeout", "300ms")
    })
    .await;
    publish(&stage, 3).await;
    let line = stage.daemon.wait_log("webhook is failing", SOON).await;
    let codes = stage.codes().await;
    assert!(codes.keys().eq(["proxy"].iter()), "{codes:?}");
    let processed = stage.daemon.metrics().await.sum("broadcaster_messages_processed_total", &[]);
    assert!(processed.abs() < f64::EPSILON, "a message has come to an end");
    stage.daemon.kill();
    line
}

#[tokio::test]
async fn what_a_proxy_refuses_is_the_proxys_failure() {
    let closed = Proxy::http("BasicAuth user s3cret").await;
    let hook = Webhook::start();
    let says = |words: &'static [u8]| RawPeer::start(vec![Misbehaviour::SayAndClose(words); 100]);
    let busy = says(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    let garbage = says(raw::GARBAGE);
    let mute = RawPeer::start(vec![Misbehaviour::NeverAnswer; 100]);
    let open = Proxy::http("").await;
    let address = |proxy: &Proxy, login: &str| format!("http://{login}{}", proxy.address());
    let peer = |peer: &RawPeer| format!("http://{}", peer.address());
    for (proxy, url, words) in [
        (address(&closed, ""), hook.url(), "407 Proxy Authentication Required: it wants a login"),
        (address(&closed, "user:wrong@"), hook.url(), "401 Unauthorized"),
        (peer(&busy), hook.url(), "it answers CONNECT with 503 Busy"),
        (peer(&garbage), hook.url(), "the proxy 127.0.0.1"),
        (peer(&mute), hook.url(), "no tunnel within 300ms"),
        // The webhook is down, and the proxy has no other word for it.
        (address(&open, ""), "http://127.0.0.1:1/hook".to_owned(), "it answers CONNECT with 50"),
        ("http://nobody.invalid:3128".to_owned(), hook.url(), "looking up nobody.invalid"),
    ] {
        let line = trouble(&proxy, &url).await;
        assert!(line.contains(words), "{proxy}: {line}");
        assert!(!line.contains("wrong"), "{line}");
    }
    assert_eq!(hook.received(), 0);
}

#[test]
fn variables_name_proxies_and_what_is_reached_without() {
    let test = "egress::proxies::variables_name_proxies_and_what_is_reached_without";
    namespace::run(test, "timeout:1", async {
        let names = NameServer::start();
        names.know("far.example", [Ipv4Addr::LOCALHOST]);
        names.know("near.example", [Ipv4Addr::LOCALHOST]);
        let (hook, proxy) = (Webhook::start(), Proxy::http("").await);
        let variable = format!("http://{}", proxy.address());
        for (host, setting, tunnels) in [
            ("far.example", "", 1),
            ("near.example", "", 0),
            ("127.0.0.1", "", 0),
            ("far.example", "none", 0),
        ] {
            let before = proxy.asked().len();
            let url = format!("http://{host}:{}/hook", hook.address().port());
            let mut stage = Stage::set(&url, |daemon| {
                let daemon =
                    daemon.env("http_proxy", &variable).env("NO_PROXY", ".cluster.local, near.example");
                if setting.is_empty() { daemon } else { daemon.route("webhook.egress.proxy", setting) }
            })
            .await;
            stage.publish("0").await;
            stage.wait_processed(1).await;
            stage.assert_codes([("200", 1)]).await;
            assert_eq!(proxy.asked().len() - before, tunnels, "{host} {setting}");
            stage.close().await;
        }
    });
}
