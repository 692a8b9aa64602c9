//! Another configuration for a daemon that runs: what changes, and who must not notice.
//!
//! The daemon runs on a thread of the test and not as a process: users have no means to apply a configuration yet.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use broadcaster::app::{App, AppError, ConfigHandle};
use broadcaster::base::{clock::Clock, runtime};
use broadcaster::config::{self, Config, Origin, Sources};
use broadcaster::control::reload::Report;
use broadcaster::message::outcome::Outcome;
use broadcaster::stats::Tally;
use testkit::http;
use testkit::metrics::Metrics;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::{Reply, Webhook};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

mod adversity;
mod many;
mod sources;
mod stops;
mod troubles;
mod under_load;

const SOON: Duration = Duration::from_secs(60);

/// The settings of a daemon, to be changed by a test.
#[derive(Clone, Default)]
struct Settings(Vec<(String, String)>);

impl Settings {
    /// For a daemon of `nats`, without a route.
    fn of(nats: &NatsServer) -> Self {
        Self::default()
            .with("nats.url", &nats.url())
            .with("server.api", "127.0.0.1:0")
            .with("server.metrics", "127.0.0.1:0")
            .with("shutdown.grace", "20s")
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.0.retain(|(known, _)| known != key);
        self.0.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With a route that delivers its own subject to `url`.
    fn route(self, name: &str, url: &str) -> Self {
        self.set(name, "subject", &format!("apply.{name}")).set(name, "webhook.url", url)
    }

    /// With a setting of a route.
    fn set(self, route: &str, key: &str, value: &str) -> Self {
        self.with(&format!("routes.{route}.{key}"), value)
    }

    /// Without a route.
    fn without(mut self, route: &str) -> Self {
        let prefix = format!("routes.{route}.");
        self.0.retain(|(key, _)| !key.starts_with(&prefix));
        self
    }

    fn config(&self) -> Config {
        let flag = |(key, value): &(String, String)| (key.clone(), value.clone(), "--set".to_owned());
        let flags = self.0.iter().map(flag).collect();
        let loaded = config::load(Sources { flags, ..Sources::default() });
        loaded.map_err(|errors| errors.to_string()).expect("a right configuration")
    }
}

/// A daemon on a thread of its own.
struct Live {
    handle: ConfigHandle,
    stop: CancellationToken,
    thread: JoinHandle<Result<Tally, AppError>>,
    api: SocketAddr,
    metrics: SocketAddr,
}

impl Live {
    async fn start(settings: &Settings) -> Self {
        let config = settings.config();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (started, ready) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = runtime::local().expect("a runtime");
            runtime.block_on(async {
                let app = App::bind(config, Origin::of(Sources::default()), Clock::start())?;
                let (api, metrics) = app.servers();
                let addresses = (api.address().expect("it listens"), metrics.address().expect("it listens"));
                drop(started.send((app.handle(), addresses)));
                app.run(stopped.cancelled()).await
            })
        });
        let (handle, (api, metrics)) = ready.await.expect("the daemon starts");
        let live = Self { handle, stop, thread, api, metrics };
        live.ready().await;
        live
    }

    async fn apply(&self, settings: &Settings) -> Report {
        self.handle.apply(settings.config()).await.expect("it can be applied")
    }

    async fn health(&self) -> (u16, String) {
        let answer = http::get(self.api, "/health").await.expect("the API answers");
        (answer.status.as_u16(), answer.body)
    }

    async fn ready(&self) {
        let end = std::time::Instant::now() + SOON;
        loop {
            let (status, body) = self.health().await;
            if status == 200 {
                return;
            }
            assert!(std::time::Instant::now() < end, "not ready: {body}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until no attempt is under way.
    async fn idle(&self) {
        let end = std::time::Instant::now() + SOON;
        while self.metrics().await.sum("broadcaster_in_flight", &[]) > 0.0 {
            assert!(std::time::Instant::now() < end, "there are still attempts under way");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn metrics(&self) -> Metrics {
        let answer = http::get(self.metrics, "/metrics").await.expect("the metrics are there");
        Metrics::parse(answer.body)
    }

    /// Stops it in order. A panic unless every message came to an end.
    fn stop(self) -> Tally {
        self.stop.cancel();
        let tally = self.thread.join().expect("it does not panic").expect("it ends well");
        assert_eq!(tally.in_hand(), 0, "{tally:?}");
        tally
    }
}

/// A panic unless all that was received was delivered.
fn assert_all_delivered(tally: Tally, published: u64) {
    assert_eq!((tally.received, tally.of(Outcome::Delivered)), (published, published), "{tally:?}");
}

fn names(names: &[config::RouteName]) -> Vec<&str> {
    names.iter().map(config::RouteName::as_str).collect()
}

/// Another value of a setting that changes nothing of what is delivered, and how.
fn touched(settings: &Settings, route: &str, change: u32) -> Settings {
    settings.clone().set(route, "retry.multiplier", &format!("2.{change:03}"))
}

/// A webhook that has never time.
fn stuck() -> Webhook {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    hook
}

fn durable(settings: Settings, route: &str) -> Settings {
    settings.set(route, "jetstream.stream", "APPLY").set(route, "jetstream.create", "true")
}

async fn publisher(nats: &NatsServer, route: &str) -> Publisher {
    Publisher::new(nats.client().await, &format!("apply.{route}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_says_what_has_changed_and_what_needs_a_restart() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let settings = Settings::of(&nats).route("a", &hook.url()).route("b", &hook.url());
    let live = Live::start(&settings).await;
    let other = settings
        .without("a")
        .set("b", "retry.attempts", "3")
        .route("c", &hook.url())
        .with("nats.name", "other")
        .with("log.level", "warn");
    let report = live.apply(&other).await;
    assert_eq!(names(&report.changes.removed), ["a"]);
    assert_eq!(names(&report.changes.changed), ["b"]);
    assert_eq!(names(&report.changes.added), ["c"]);
    assert_eq!(report.need_restart, ["log", "nats"]);

    let again = live.apply(&other).await;
    assert_eq!((again.changes, again.generation), (Default::default(), report.generation + 1));
    live.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_of_a_route_outlive_a_change_and_leave_with_the_route() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let settings = Settings::of(&nats).route("a", &hook.url()).route("b", &hook.url());
    let live = Live::start(&settings).await;
    publisher(&nats, "a").await.burst(100).await;
    hook.wait_delivered(100, SOON).await;
    live.apply(&settings.clone().set("a", "webhook.concurrency", "8")).await;
    let received =
        |metrics: &Metrics| metrics.value("broadcaster_messages_received_total", &[("route", "a")]);
    let metrics = live.metrics().await;
    assert!((received(&metrics) - 100.0).abs() < 0.5, "{}", metrics.text());

    live.apply(&settings.without("a")).await;
    let gone = async || !live.metrics().await.text().contains("route=\"a\"");
    let end = std::time::Instant::now() + SOON;
    while !gone().await {
        assert!(std::time::Instant::now() < end, "the series of a route that is gone are still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_all_delivered(live.stop(), 100);
}
