//! `/health` and `/healthz`, and how the two servers answer in general.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;

use testkit::daemon::Running;
use testkit::http::{self, Answer};
use testkit::raw::{Misbehaviour, RawPeer};
use testkit::stage::Stage;

const SOON: Duration = Duration::from_secs(60);
const WEBHOOK: &str = "http://127.0.0.1:1/";

/// Waits until `/health` says 503; gives its reasons.
async fn unready(daemon: &Running) -> Vec<String> {
    let until_unready = async {
        loop {
            let (status, body) = daemon.health().await;
            if status == 503 {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let body = tokio::time::timeout(SOON, until_unready).await;
    let body: Value = serde_json::from_str(&body.expect("the daemon gets unready")).expect("it is JSON");
    assert_eq!(body["status"], "unready");
    let reasons = body["reasons"].as_array().expect("there are reasons");
    reasons.iter().map(|reason| reason.as_str().unwrap_or_default().to_owned()).collect()
}

async fn assert_alive(daemon: &Running) {
    let answer = daemon.get("/healthz").await;
    assert_eq!(answer.status, 200, "/healthz: {}", answer.body);
}

async fn ask(method: Method, address: SocketAddr, path: &str) -> Answer {
    http::request(method, address, path).await.expect("the daemon answers")
}

#[tokio::test]
async fn health_follows_nats_and_healthz_does_not() {
    let mut stage = Stage::set(WEBHOOK, |daemon| daemon).await;
    let answer = stage.daemon.get("/health").await;
    assert_eq!(answer.body, "{\"status\":\"ready\",\"reasons\":[]}\n");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_alive(&stage.daemon).await;

    stage.nats.kill();
    let reasons = unready(&stage.daemon).await;
    assert!(reasons[0].contains("not connected to NATS"), "{reasons:?}");
    assert_alive(&stage.daemon).await;
    let connected = |metrics: &testkit::metrics::Metrics| metrics.value("broadcaster_nats_connected", &[]);
    assert_eq!(connected(&stage.daemon.metrics().await).to_string(), "0");

    stage.nats.restart().await;
    stage.daemon.ready(SOON).await;
    // There are connections beside those of the lanes, which readiness does not wait for.
    stage.daemon.wait_metrics(|metrics| connected(metrics).to_string() == "1", SOON).await;
    stage.close().await;
}

#[tokio::test]
async fn a_stopping_process_is_not_ready_but_alive() {
    let peer = RawPeer::start([Misbehaviour::NeverAnswer]);
    let mut stage = Stage::set(&peer.url(), |daemon| daemon.env("BROADCASTER__SHUTDOWN__GRACE", "2s")).await;
    stage.publish("0").await;
    peer.wait_for(|peer| peer.requests().len() == 1, SOON).await;
    stage.daemon.term();
    let reasons = unready(&stage.daemon).await;
    assert!(reasons.iter().any(|reason| reason.contains("stopping")), "{reasons:?}");
    assert_alive(&stage.daemon).await;
    assert!(stage.daemon.metrics().await.has("broadcaster_in_flight"));
    assert!(stage.daemon.wait(SOON).await.success());
}

#[tokio::test]
async fn both_servers_have_nothing_else_and_only_read() {
    let mut stage = Stage::set(WEBHOOK, |daemon| daemon.env("BROADCASTER__SERVER__PAGE", "false")).await;
    let (api, metrics) = (stage.daemon.api(), stage.daemon.metrics_address());
    for (address, path) in [
        (api, "/"),
        (api, "/metrics"),
        (api, "/health/"),
        (api, "/healthzz"),
        (metrics, "/"),
        (metrics, "/health"),
        (metrics, "/metrics/x"),
    ] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(ask(method.clone(), address, path).await.status, 404, "{method} {path}");
        }
    }
    for (address, path) in
        [(api, "/health"), (api, "/healthz"), (api, "/health?verbose=1"), (metrics, "/metrics")]
    {
        let allowed = if address == api { "GET, HEAD, OPTIONS" } else { "GET, HEAD" };
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let answer = ask(method.clone(), address, path).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.headers["allow"], allowed, "{method} {path}");
        }
        let (get, head) = (ask(Method::GET, address, path).await, ask(Method::HEAD, address, path).await);
        assert_eq!((get.status, head.status), (StatusCode::OK, StatusCode::OK), "{path}: {}", get.body);
        assert_eq!(head.headers["content-type"], get.headers["content-type"], "{path}");
        assert_eq!(head.body, "", "HEAD {path} has a body");
    }
    stage.close().await;
}
