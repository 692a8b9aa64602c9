//! Metrics of more routes than have series of their own.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use testkit::daemon::{Daemon, Running};
use testkit::http;
use testkit::metrics::Metrics;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::Webhook;

use super::metrics::assert_promtool_accepts;

const SOON: Duration = Duration::from_secs(60);
const ROUTES: usize = 250;
const RECEIVED: &str = "broadcaster_messages_received_total";
/// A route whose webhook refuses connections.
const DOWN: (&str, &str) = ("route", "r007");

fn routes(count: usize, hook: &Webhook) -> String {
    let route = |number: usize| {
        let url = if number == 7 { "http://127.0.0.1:1/".to_owned() } else { hook.url() };
        format!(
            "[routes.r{number:03}]\nsubject = \"many.{number}\"\nwebhook.url = \"{url}\"\nretry.initial = \"5ms\"\n"
        )
    };
    (0..count).map(route).collect()
}

/// Waits until so many messages were received, by whatever route.
async fn wait_received(daemon: &Running, count: f64) -> Metrics {
    daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) >= count, SOON).await;
    daemon.metrics().await
}

fn names(metrics: &Metrics) -> Vec<String> {
    metrics.by(RECEIVED, "route").into_iter().map(|(route, _)| route).collect()
}

#[tokio::test]
async fn the_busy_and_the_troubled_have_names_and_the_sums_are_right() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let mut daemon =
        Daemon::new().env("NATS_URL", nats.url()).config(&routes(ROUTES, &hook)).start_ready().await;
    let metrics = daemon.metrics().await;
    assert_eq!(names(&metrics), ["__other__"], "there is nothing to say of any");
    let count = |series| metrics.value("broadcaster_routes", &[("series", series)]);
    assert_eq!((count("own"), count("shared")), (0.0, ROUTES as f64));
    let first = metrics.text().len();

    let client = nats.client().await;
    let mut busy = Publisher::new(client.clone(), "many.3");
    busy.burst(20).await;
    let metrics = wait_received(&daemon, 20.0).await;
    assert!(names(&metrics).contains(&"r003".to_owned()), "{:?}", names(&metrics));
    let before = metrics.value(RECEIVED, &[("route", "r003")]);
    busy.burst(30).await;
    let metrics = wait_received(&daemon, 50.0).await;
    assert_eq!(metrics.value(RECEIVED, &[("route", "r003")]), before + 30.0, "it has a name");
    assert_eq!(metrics.sum(RECEIVED, &[]), 50.0);

    Publisher::new(client, "many.7").burst(20).await;
    let is_down = |metrics: &Metrics| {
        names(metrics).contains(&"r007".to_owned())
            && metrics.value("broadcaster_webhook_trouble", &[DOWN, ("trouble", "down")]) == 1.0
    };
    daemon.wait_metrics(is_down, SOON).await;
    hook.wait_delivered(50, SOON).await;
    daemon.wait_metrics(|metrics| metrics.sum("broadcaster_messages_in_hand", &[]) == 20.0, SOON).await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.value("broadcaster_messages_in_hand", &[DOWN]), 20.0);
    assert_eq!(metrics.sum("broadcaster_delivery_latency_seconds_count", &[]), 50.0);
    assert_eq!(metrics.sum("broadcaster_messages_processed_total", &[("outcome", "delivered")]), 50.0);
    assert_eq!(names(&metrics), ["r003", "r007", "__other__"]);
    assert!(metrics.text().len() < 4 * first, "the page grew from {first} to {}", metrics.text().len());
    assert_promtool_accepts(metrics.text());
    daemon.stop().await;
}

#[tokio::test]
async fn all_have_names_where_that_is_wanted_and_none_where_that_is() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    for (per_route, series, others) in [("all", ROUTES, false), ("none", 1, true), ("300", ROUTES, false)] {
        let daemon = Daemon::new().env("NATS_URL", nats.url()).config(&routes(ROUTES, &hook));
        let daemon = daemon.env("BROADCASTER__METRICS__PER_ROUTE", per_route).start_ready().await;
        let names = names(&daemon.metrics().await);
        assert_eq!((names.len(), names.contains(&"__other__".to_owned())), (series, others), "{per_route}");
    }
}

/// The probes come after the scraper, and are answered before it.
#[tokio::test]
async fn a_probe_does_not_wait_for_a_large_page() {
    let nats = NatsServer::start().await;
    let daemon = Daemon::new().env("NATS_URL", nats.url()).config(&routes(ROUTES, &Webhook::start()));
    let mut daemon = daemon.env("BROADCASTER__METRICS__PER_ROUTE", "all").start_ready().await;
    let mut scraper = TcpStream::connect(daemon.metrics_address()).await.expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    scraper.write_all(request).await.expect("it reads");
    for _ in 0..3 {
        let probe = http::get(daemon.api(), "/healthz").await.expect("the daemon answers");
        assert_eq!(probe.status, 200);
    }
    let first = scraper.try_read(&mut [0]);
    assert!(first.is_err(), "the page was there first: the probes have waited for it");
    let mut page = String::new();
    scraper.read_to_string(&mut page).await.expect("it is answered");
    assert_eq!(page.matches(&format!("\n{RECEIVED}{{")).count(), ROUTES);
    let packed = http::get_with(daemon.metrics_address(), "/metrics", "accept-encoding", "gzip").await;
    let packed = packed.expect("the daemon answers").headers["content-length"].to_str().unwrap().parse();
    assert!(packed.is_ok_and(|size: usize| size < page.len() / 10), "of {} bytes", page.len());
    daemon.stop().await;
}
