//! Whose fault a failure is: no outage, wrong credential or rate limit kills a message, and a message that always fails
//! dies alone and holds nobody up.

use std::time::{Duration, Instant};

use testkit::{
    daemon::{Daemon, Running},
    metrics::Metrics,
    nats::NatsServer,
    publisher::Publisher,
    webhook::{Behaviour, Received, Reply, Webhook},
};

use crate::durable;

const SUBJECT: &str = "todos.events";
const SOON: Duration = Duration::from_secs(60);

async fn publisher(nats: &NatsServer) -> Publisher {
    Publisher::new(nats.client().await, SUBJECT)
}

/// A daemon with one lane whose breaker is open for half a second.
fn daemon(nats: &NatsServer, hook: &Webhook) -> Daemon {
    Daemon::between(nats, &hook.url())
        .env("BROADCASTER__RUNTIME__THREADS", "1")
        .route("breaker.open_for", "500ms")
        .route("retry.initial", "50ms")
}

fn trouble(metrics: &Metrics, kind: &str) -> f64 {
    metrics.value("broadcaster_webhook_trouble", &[("trouble", kind)])
}

fn requests(metrics: &Metrics, code: &str) -> f64 {
    metrics.value("broadcaster_webhook_requests_total", &[("code", code)])
}

/// Stops `daemon`; a panic unless each of `count` messages was delivered, once.
async fn all_delivered(mut daemon: Running, hook: &Webhook, count: u64) {
    let account = daemon.stop().await;
    assert_eq!((account.received, account.delivered), (count, count), "{account:?}");
    hook.assert_exactly_once(0..count);
}

/// A webhook that takes one request each `interval`, and answers others 429, with `retry_after` where it has some.
fn limited(interval: Duration, retry_after: Option<&'static str>) -> Behaviour {
    let mut taken: Option<Instant> = None;
    Behaviour::by(move |request: &Received| {
        if taken.is_some_and(|taken| request.at.duration_since(taken) < interval) {
            let refused = Reply::status(429);
            return match retry_after {
                Some(after) => refused.header("retry-after", after),
                None => refused,
            };
        }
        taken = Some(request.at);
        Reply::status(200)
    })
}

#[tokio::test]
async fn an_outage_kills_no_message_of_a_quiet_route() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.down().await;
    let daemon = daemon(&nats, &hook).impatient().route("retry.attempts", "2").start_ready().await;
    publisher(&nats).await.burst(1).await;
    daemon.wait_metrics(|metrics| requests(metrics, "connect") >= 20.0, SOON).await;
    hook.up().await;
    hook.wait_delivered(1, SOON).await;
    all_delivered(daemon, &hook, 1).await;
}

#[tokio::test]
async fn an_outage_kills_no_message_of_a_quiet_stream() {
    let nats = NatsServer::start().await;
    let _stream = durable::stream_of(&nats, 2).await;
    let hook = Webhook::answering([503]);
    let mut daemon = durable::durable(&nats.url(), &hook)
        .impatient()
        .route("retry.attempts", "2")
        .route("breaker.open_for", "100ms")
        .start_ready()
        .await;
    hook.wait_for(|hook| hook.received() >= 30, SOON).await;
    hook.answer(200);
    hook.wait_delivered(2, SOON).await;
    let account = daemon.stop().await;
    assert_eq!((account.received, account.delivered, account.dropped), (2, 2, 0), "{account:?}");
}

#[tokio::test]
async fn a_webhook_that_limits_the_rate_gets_close_to_it() {
    const COUNT: usize = 60;
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(limited(Duration::from_millis(100), None));
    let daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(COUNT as u64).await;
    hook.wait_delivered(COUNT, SOON).await;
    assert!(hook.received() <= 2 * COUNT, "a stampede: {}", hook.summary());
    all_delivered(daemon, &hook, COUNT as u64).await;
}

#[tokio::test]
async fn a_webhook_that_says_when_to_come_back_is_hardly_asked_before() {
    const COUNT: usize = 10;
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(limited(Duration::from_secs(1), Some("1")));
    // One attempt is all that a message has: what it is told to wait for is none.
    let daemon = daemon(&nats, &hook).route("retry.attempts", "1").start_ready().await;
    publisher(&nats).await.burst(COUNT as u64).await;
    hook.wait_delivered(COUNT, SOON).await;
    // Seven others begin with the first one.
    assert!(hook.received() <= COUNT + 7 + 5, "{}", hook.summary());
    all_delivered(daemon, &hook, COUNT as u64).await;
}

#[tokio::test]
async fn what_is_always_put_off_holds_up_nobody() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| {
        Reply::status(if request.number().is_some_and(|number| number % 2 == 0) { 429 } else { 200 })
    }));
    let mut daemon = daemon(&nats, &hook).env("BROADCASTER__SHUTDOWN__GRACE", "0s").start_ready().await;
    publisher(&nats).await.burst(100).await;
    hook.wait_delivered(50, SOON).await;
    let account = daemon.stop().await;
    assert_eq!(account.delivered, 50, "{account:?}");
}

#[tokio::test]
async fn a_wrong_credential_holds_the_messages_and_says_so() {
    const COUNT: u64 = 200;
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([401]);
    let daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(COUNT).await;
    daemon.wait_metrics(|metrics| trouble(metrics, "refused") == 1.0, SOON).await;
    hook.wait_for(|hook| hook.received() >= 10, SOON).await;
    let (status, health) = daemon.health().await;
    assert!(
        status == 200 && health.contains("the webhook refuses what it gets, its messages are held"),
        "{health}"
    );
    assert!(health.contains("(401"), "{health}");
    let line = &daemon.events("breaker open: the webhook refuses what it gets, its messages are held")[0];
    assert_eq!((&line["level"], &line["reason"]), (&"WARN".into(), &"401".into()), "{line}");
    assert!(hook.received() <= 20, "it goes on knocking: {}", hook.summary());
    hook.answer(200);
    hook.wait_delivered(200, SOON).await;
    daemon.wait_metrics(|metrics| trouble(metrics, "refused") == 0.0, SOON).await;
    all_delivered(daemon, &hook, COUNT).await;
}

#[tokio::test]
async fn a_credential_that_expires_under_load_kills_nothing() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let daemon = daemon(&nats, &hook).start_ready().await;
    let load = publisher(&nats).await.steadily(500);
    hook.wait_delivered(300, SOON).await;
    hook.answer(403);
    daemon.wait_metrics(|metrics| trouble(metrics, "refused") == 1.0, SOON).await;
    hook.answer(200);
    let count = load.stop().await.count();
    hook.wait_delivered(usize::try_from(count).expect("a count fits"), SOON).await;
    all_delivered(daemon, &hook, count).await;
}

#[tokio::test]
async fn a_message_that_is_refused_among_others_dies_alone() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| Reply::status(if request.number() == Some(50) { 404 } else { 200 })));
    let mut daemon = daemon(&nats, &hook).start_ready().await;
    let load = publisher(&nats).await.steadily(200);
    let dropped = |metrics: &Metrics| {
        metrics.value("broadcaster_messages_processed_total", &[("outcome", "dropped")]) == 1.0
    };
    daemon.wait_metrics(dropped, SOON).await;
    let count = load.stop().await.count();
    hook.wait_delivered(usize::try_from(count - 1).expect("a count fits"), SOON).await;
    let tries = hook.requests().iter().filter(|request| request.number() == Some(50)).count();
    assert!((2..=4).contains(&tries), "{tries} requests with the message that is refused");
    let account = daemon.stop().await;
    assert_eq!((account.delivered, account.dropped), (count - 1, 1), "{account:?}");
    assert_eq!(daemon.events("message dropped")[0]["reason"], "rejected");
    assert_eq!(daemon.logs_containing("breaker"), Vec::<String>::new());
}

#[tokio::test]
async fn a_message_that_is_rejected_is_said_to_be_and_nothing_else_is() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([422]);
    let mut daemon = daemon(&nats, &hook).start_ready().await;
    publisher(&nats).await.burst(10).await;
    daemon.wait_log("webhook rejects a message, which is not retried", SOON).await;
    hook.wait_for(|hook| hook.received() == 10, SOON).await;
    let account = daemon.stop().await;
    assert_eq!((account.dropped, hook.received()), (10, 10), "{account:?}");
    assert_eq!(daemon.events("webhook rejects a message, which is not retried").len(), 1, "once for all");
    let other =
        [daemon.logs_containing("webhook is failing"), daemon.logs_containing("webhook has recovered")];
    assert_eq!(other, [Vec::<String>::new(), Vec::new()]);
}

#[tokio::test]
async fn a_webhook_that_is_gone_disables_its_route() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([410]);
    let mut daemon = daemon(&nats, &hook).env("BROADCASTER__SHUTDOWN__GRACE", "1s").start_ready().await;
    publisher(&nats).await.burst(100).await;
    daemon.wait_metrics(|metrics| trouble(metrics, "gone") == 1.0, SOON).await;
    let (_, health) = daemon.health().await;
    assert!(health.contains("the webhook is gone for good (410), the route is disabled"), "{health}");
    let received = hook.received();
    assert!(received <= 16, "{}", hook.summary());
    // Not for the sake of a stop either.
    let account = daemon.stop().await;
    assert_eq!((account.received, account.dropped, hook.received()), (100, 100, received), "{account:?}");
}

#[tokio::test]
async fn a_long_pause_is_said_and_returns_nothing_to_the_stream() {
    let nats = NatsServer::start().await;
    let _stream = durable::stream_of(&nats, 5).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(503).header("retry-after", "120"));
    let daemon = durable::durable(&nats.url(), &hook).start_ready().await;
    daemon.wait_metrics(|metrics| trouble(metrics, "paused") == 1.0, SOON).await;
    let line = daemon.wait_log("the webhook asked for a pause", SOON).await;
    assert!(line.contains("2m"), "{line}");
    let (status, health) = daemon.health().await;
    assert!(status == 200 && health.contains("asked for a pause, which ends in"), "{health}");
    let tally = daemon.metrics().await.counted("broadcaster_messages_processed_total", "outcome");
    assert!(tally.values().all(|count| *count == 0), "{tally:?}");
}

#[tokio::test]
async fn what_waits_long_is_handed_over_with_the_time_at_which_it_is_due() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    hook.answer(Reply::status(429).header("retry-after", "6"));
    let replica =
        || daemon(&nats, &hook).route("retry.attempts", "2").env("BROADCASTER__SHUTDOWN__GRACE", "2s");
    let mut leaving = replica().start_ready().await;
    publisher(&nats).await.burst(20).await;
    leaving.wait_metrics(|metrics| metrics.value("broadcaster_retry_queue_messages", &[]) >= 1.0, SOON).await;
    leaving.wait_metrics(|metrics| trouble(metrics, "paused") == 1.0, SOON).await;
    let mut staying = replica().start_ready().await;
    nats.wait_subscriptions("broadcaster.handover.broadcaster-workers", 2, SOON).await;
    let before = hook.received();
    hook.answer(200);
    assert_eq!(leaving.stop().await.handed_over, 20);
    hook.wait_delivered(20, SOON).await;
    let paid = |request: &&Received| request.header("broadcaster-attempt") != "1";
    assert_eq!(hook.requests()[before..].iter().filter(paid).count(), 0, "a stop used up attempts");
    let account = staying.stop().await;
    assert_eq!(account.delivered, 20, "{account:?}");
}
