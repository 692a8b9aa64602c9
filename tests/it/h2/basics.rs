//! What is spoken when, and how many connections that takes.

use std::time::Duration;

use tempfile::TempDir;
use testkit::daemon::Daemon;
use testkit::metrics::Metrics;
use testkit::raw::{self, Misbehaviour, RawPeer};
use testkit::stage::Stage;
use testkit::tls::Authority;
use testkit::webhook::{Reply, Webhook};

use super::http2;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn many_messages_share_a_few_connections() {
    const MANY: u32 = 5_000;
    let hook = Webhook::counting_http2();
    let mut stage = Stage::set(&hook.url(), http2).await;
    for number in 0..MANY {
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(MANY as usize, SOON).await;
    stage.wait_processed(MANY).await;
    hook.assert_exactly_once(0..MANY.into());
    assert!(hook.connections() <= 4, "{}", hook.summary());
    stage.assert_codes([("200", u64::from(MANY))]).await;
    stage.close().await;
}

#[tokio::test]
async fn as_many_requests_are_under_way_as_the_route_may_have() {
    let hook = Webhook::start_http2();
    hook.answer(Reply::status(200).after(Duration::from_millis(300)));
    let mut stage = Stage::set(&hook.url(), |daemon| http2(daemon).route("webhook.concurrency", "250")).await;
    for number in 0..500 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(500).await;
    hook.assert_exactly_once(0..500);
    assert_eq!(hook.most_in_flight(), 250, "{}", hook.summary());
    assert_eq!(hook.connections(), 4, "{}", hook.summary());
    stage.close().await;
}

/// What stands behind a balancer of layer 4 shares the load only where there are several connections.
#[tokio::test]
async fn a_busy_route_has_a_few_connections_and_a_quiet_one_has_one() {
    for (at_a_time, connections) in [(8, 1), (40, 3), (64, 4), (120, 4)] {
        let hook = Webhook::start_http2();
        hook.answer(Reply::status(200).after(Duration::from_millis(400)));
        let concurrency = at_a_time.to_string();
        let mut stage =
            Stage::set(&hook.url(), |daemon| http2(daemon).route("webhook.concurrency", &concurrency)).await;
        for number in 0..3 * at_a_time {
            stage.publish(number.to_string()).await;
        }
        stage.wait_processed(3 * at_a_time).await;
        hook.assert_exactly_once(0..(3 * at_a_time).into());
        assert_eq!(hook.connections(), connections, "{at_a_time} at a time: {}", hook.summary());
        stage.close().await;
    }
}

#[tokio::test]
async fn a_request_says_over_http_2_what_it_says_over_http_1() {
    let mut said = Vec::new();
    for (hook, version) in [(Webhook::start(), "1.1"), (Webhook::start_http2(), "2")] {
        let mut stage = Stage::set(&hook.url(), |daemon| {
            let daemon =
                http2(daemon).route("webhook.http", version).route("webhook.auth.bearer.token", "s3cret");
            daemon.route("webhook.headers.X-Own", "mine").route("webhook.forward", "x-*")
        })
        .await;
        for number in 0..3 {
            let headers = [("Nats-Msg-Id", "an-id"), ("X-Given", "theirs"), ("Content-Type", "text/plain")];
            stage.publish_with(&headers, number.to_string()).await;
            stage.wait_processed(number + 1).await;
        }
        let requests = hook.requests().into_iter().map(|request| {
            let mut headers: Vec<_> = request
                .headers
                .iter()
                .filter(|(name, _)| *name != "host")
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("it is text")))
                .collect();
            headers.sort();
            (request.method, request.path.rsplit("/").next().map(str::to_owned), headers, request.body)
        });
        said.push(requests.collect::<Vec<_>>());
        stage.close().await;
    }
    assert_eq!(said[0], said[1]);
    assert!(said[1][2].2.contains(&"authorization: Bearer s3cret".to_owned()), "{:?}", said[1][2]);
}

/// A daemon that trusts the authority in `folder`.
fn trusting(daemon: Daemon, folder: &TempDir) -> Daemon {
    let ca = folder.path().join("ca.pem");
    let daemon = daemon.env("BROADCASTER__RUNTIME__THREADS", "1").impatient();
    daemon.route("webhook.tls.ca_file", &ca.display().to_string())
}

#[tokio::test]
async fn over_tls_the_webhook_chooses_and_one_handshake_shows_it() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    authority.write_to(folder.path());
    let identity = authority.issue_loopback();
    for (speaks, http, connections) in [
        (&["h2", "http/1.1"][..], "auto", 1..=4),
        (&["http/1.1"], "auto", 5..=64),
        (&["h2"], "2", 1..=4),
        (&[], "auto", 5..=64),
    ] {
        let hook = Webhook::start_tls_as(identity.server_config_speaking(speaks));
        hook.answer(Reply::status(200).after(Duration::from_millis(100)));
        let mut stage =
            Stage::set(&hook.url(), |daemon| trusting(daemon, &folder).route("webhook.http", http)).await;
        for number in 0..64 {
            stage.publish(number.to_string()).await;
        }
        stage.wait_processed(64).await;
        hook.assert_exactly_once(0..64);
        assert!(connections.contains(&hook.connections()), "{speaks:?}: {}", hook.summary());
        stage.assert_codes([("200", 64)]).await;
        // What is spoken is told, not what is configured.
        let spoken = if speaks.contains(&"h2") { "\"http\":\"2\"" } else { "\"http\":\"1.1\"" };
        let status = stage.daemon.get("/api/v1/status").await.body;
        assert!(status.contains(spoken), "{speaks:?}: {status}");
        stage.close().await;
    }
}

#[tokio::test]
async fn a_webhook_that_does_not_speak_it_gets_no_request() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    authority.write_to(folder.path());
    let identity = authority.issue_loopback();
    let closing = Webhook::start();
    let answering = RawPeer::start([Misbehaviour::Say(raw::OK)]);
    let silent = Webhook::start_tls_as(identity.server_config_speaking(&[]));
    let choosing = Webhook::start_tls_as(identity.server_config_speaking(&["http/1.1"]));
    let hooks = [
        (closing.url(), "reset", "without a word of HTTP/2"),
        (answering.url(), "protocol", "HTTP/2: what listens there does not speak it"),
        (silent.url(), "protocol", "demands"),
        (choosing.url(), "tls", "NoApplicationProtocol"),
    ];
    for (url, code, words) in hooks {
        let stage = Stage::set(&url, |daemon| trusting(daemon, &folder).route("webhook.http", "2")).await;
        stage.publish("0").await;
        let failed =
            |metrics: &Metrics| metrics.sum("broadcaster_webhook_requests_total", &[("code", code)]) >= 1.0;
        stage.daemon.wait_metrics(failed, SOON).await;
        let told = || (!stage.daemon.logs_containing(words).is_empty()).then_some(());
        assert!(testkit::poll(SOON, told).await.is_some(), "{words}: {:?}", stage.daemon.logs());
    }
    assert_eq!(closing.received() + silent.received() + choosing.received(), 0);
}
