//! Ten thousand routes in a bucket: what they take of memory, and what is shown of them.

use std::time::{Duration, Instant};

use testkit::daemon::Daemon;
use testkit::http;
use testkit::nats::NatsServer;

use super::browser::{Browser, DESK};
use super::{NOWHERE, assert_contented};

const ROUTES: usize = 10_000;
/// How long it may take to have all of them run, in a development build on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(300);
/// How much memory each may take.
const ROUTE_KIB: u64 = 40;

#[tokio::test]
async fn ten_thousand_routes_of_a_bucket_are_looked_through() {
    let nats = NatsServer::start().await;
    let daemon = Daemon::new().env("NATS_URL", nats.url());
    let daemon = daemon.arg("--set").arg("endpoints.bucket=many").arg("--set").arg("endpoints.create=true");
    let mut daemon = daemon.start_ready().await;
    let idle = daemon.rss_kib();
    let client = nats.client().await;
    let began = Instant::now();
    for number in 0..ROUTES {
        let value = format!(r#"{{"subject": "a.{number}", "webhook": {{"url": "{NOWHERE}{number}"}}}}"#);
        let subject = format!("$KV.many.routes.r{number:04}");
        client.publish(subject, value.into()).await.expect("the client takes a value");
    }
    let all = ROUTES as f64;
    daemon
        .wait_metrics(|metrics| metrics.value("broadcaster_endpoints_revision", &[]) >= all, PATIENCE)
        .await;
    let (took, each) = (began.elapsed(), (daemon.rss_kib() - idle) / ROUTES as u64);
    eprintln!("{ROUTES} routes run after {took:?} and take {each} KiB each");
    assert!(each <= ROUTE_KIB, "a route takes {each} KiB");
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.value("broadcaster_endpoints", &[("state", "active")]), all);
    // The first of them had names as long as there was one for each.
    assert!(metrics.text().len() < 2_000_000, "the metrics have {} bytes", metrics.text().len());
    let status = http::get(daemon.api(), "/api/v1/status").await.expect("the daemon answers").body;
    assert!(status.len() < 100_000, "the status has {} bytes", status.len());

    let mut browser = Browser::open(&format!("http://{}/", daemon.api()), DESK).await;
    browser.reads("1–50 of 10,000 routes").await;
    browser.press("/").await;
    browser.type_in("r7777").await;
    let found = "document.querySelectorAll('#rows a').length === 1";
    let searched = browser.wait(found, PATIENCE).await;
    // One that gets into trouble comes first.
    browser.press("Escape").await;
    client.publish("a.9999", "0".into()).await.expect("the client takes a message");
    let first = "document.querySelector('#rows a')?.textContent === 'r9999'";
    let shown = browser.wait(first, PATIENCE).await;
    eprintln!("found within {searched:?}; one in trouble shows after {shown:?}");
    assert_contented(&mut browser).await;
    daemon.stop().await;
}
