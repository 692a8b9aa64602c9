//! Many messages: none lost, none twice, nothing that grows without bound, and no route in another's way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::Subscriber;

use testkit::daemon::{Account, Daemon, Running};
use testkit::metrics::Metrics;
use testkit::nats::{NatsServer, next};
use testkit::publisher::Publisher;
use testkit::webhook::{Reply, Webhook};

const SUBJECT: &str = "todos.events";
const SOON: Duration = Duration::from_secs(60);
const THREADS: &str = "BROADCASTER__RUNTIME__THREADS";

async fn publisher(nats: &NatsServer) -> Publisher {
    Publisher::new(nats.client().await, SUBJECT)
}

/// Stops `daemon`; a panic unless its account says what became of each message.
async fn closed(mut daemon: Running) -> Account {
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    account
}

#[tokio::test]
async fn a_hundred_thousand_messages_through_two_replicas_arrive_exactly_once_each() {
    const COUNT: u64 = 100_000;
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    let replica = || Daemon::between(&nats, &hook.url()).start_ready();
    let replicas = [replica().await, replica().await];
    let mut publisher = publisher(&nats).await;
    publisher.paced(COUNT, 4_000, || hook.delivered() as u64).await;
    hook.wait_delivered(100_000, SOON).await;
    let mut received = Vec::new();
    for replica in replicas {
        let account = closed(replica).await;
        assert_eq!(account.received, account.delivered, "{account:?}");
        received.push(account.received);
    }
    assert_eq!(received.iter().sum::<u64>(), COUNT, "{received:?}");
    assert!(received.iter().all(|&share| share > COUNT / 4), "the load is not shared: {received:?}");
    hook.assert_exactly_once(0..COUNT);
}

#[tokio::test]
async fn a_webhook_that_fails_for_five_seconds_costs_no_message_and_no_duplicate() {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    let daemon = Daemon::between(&nats, &hook.url()).start_ready().await;
    let load = publisher(&nats).await.steadily(1_000);
    hook.wait_for(|hook| hook.delivered() > 500, SOON).await;
    hook.answer(503);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = hook.delivered();
    hook.answer(200);
    hook.wait_for(|hook| hook.delivered() > before + 7_000, SOON).await;
    let published = load.stop().await.count();
    hook.wait_delivered(usize::try_from(published).expect("a count fits"), SOON).await;
    assert_eq!(daemon.events("webhook is failing, its messages are retried").len(), 1);
    assert_eq!(daemon.events("webhook has recovered").len(), 1);
    let account = closed(daemon).await;
    assert_eq!((account.received, account.delivered), (published, published));
    hook.assert_exactly_once(0..published);
}

/// The bounds of both queues of a route.
#[derive(Clone, Copy)]
struct Bounds {
    messages: f64,
    bytes: f64,
}

impl Bounds {
    /// A panic unless a daemon that shows this has kept them.
    fn check(self, metrics: &Metrics) {
        for queue in ["queue", "retry_queue"] {
            let value = |unit: &str| metrics.value(&format!("broadcaster_{queue}_{unit}"), &[]);
            let (messages, bytes) = (value("messages"), value("bytes"));
            assert!(messages <= self.messages, "{messages} messages in the {queue}");
            assert!(bytes <= self.bytes, "{bytes} bytes in the {queue}");
        }
    }

    /// Is the retry queue as full as it can be, but for one message in each lane?
    fn are_reached(self, metrics: &Metrics) -> bool {
        metrics.value("broadcaster_retry_queue_messages", &[]) >= self.messages - 4.0
            || metrics.value("broadcaster_retry_queue_bytes", &[]) >= self.bytes - 4_000.0
    }
}

/// A webhook that fails while 40,000 messages come, a part of them only to warm up. Without a breaker, which would leave the
/// retry queue nearly empty.
struct Outage {
    nats: NatsServer,
    hook: Webhook,
    daemon: Running,
    publisher: Publisher,
    bounds: Bounds,
}

impl Outage {
    const WARM_UP: u64 = 10_000;
    const MESSAGES: u64 = 30_000;
    /// How many messages are published before the metrics are looked at.
    const STEP: u64 = 1_000;

    async fn begin(bounds: Bounds, describe: impl FnOnce(Daemon) -> Daemon) -> Self {
        let nats = NatsServer::start().await;
        let hook = Webhook::counting();
        hook.answer(503);
        let mut daemon = Daemon::between(&nats, &hook.url())
            .without_breaker()
            .route("retry.attempts", "1000000")
            .route("retry.initial", "1s")
            .route("retry.max", "2s")
            .route("webhook.concurrency", "16");
        for queue in ["queue", "retry"] {
            daemon = daemon
                .route(&format!("{queue}.messages"), &bounds.messages.to_string())
                .route(&format!("{queue}.bytes"), &bounds.bytes.to_string());
        }
        let daemon = describe(daemon).start_ready().await;
        let publisher = publisher(&nats).await.padded(200);
        Self { nats, hook, daemon, publisher, bounds }
    }

    /// Publishes `count` messages; a panic as soon as a bound is broken.
    async fn publish(&mut self, count: u64) {
        let end = self.publisher.count() + count;
        while self.publisher.count() < end {
            self.publisher.burst(Self::STEP).await;
            let published = self.publisher.count();
            let all = |metrics: &Metrics| {
                self.bounds.check(metrics);
                metrics.value("broadcaster_messages_received_total", &[]) >= published as f64
            };
            self.daemon.wait_metrics(all, SOON).await;
        }
        let full = |metrics: &Metrics| self.bounds.are_reached(metrics);
        self.daemon.wait_metrics(full, SOON).await;
    }

    /// The outage, and how the memory of the daemon is the same at its end as it was soon after its beginning.
    async fn endure(&mut self) {
        const SLACK_KIB: u64 = 4 * 1024;
        self.publish(Self::WARM_UP).await;
        let before = self.daemon.rss_kib();
        self.publish(Self::MESSAGES).await;
        let after = self.daemon.rss_kib();
        assert!(after < before + SLACK_KIB, "the memory grew from {before} KiB to {after} KiB");
    }

    /// The webhook works again: what was kept is delivered.
    async fn recover(self) -> (Account, Webhook) {
        self.hook.answer(200);
        let waiting =
            ["broadcaster_queue_messages", "broadcaster_retry_queue_messages", "broadcaster_in_flight"];
        let idle = |metrics: &Metrics| waiting.iter().all(|name| metrics.value(name, &[]) == 0.0);
        self.daemon.wait_metrics(idle, SOON).await;
        let account = closed(self.daemon).await;
        assert_eq!(account.received, self.publisher.count(), "{account:?}");
        assert_eq!(account.delivered, self.hook.delivered() as u64, "{account:?}");
        assert!(self.hook.duplicates().is_empty(), "{}", self.hook.summary());
        (account, self.hook)
    }
}

#[tokio::test]
async fn an_outage_keeps_the_bounds_in_messages_and_the_account_adds_up() {
    let bounds = Bounds { messages: 1_000.0, bytes: 64e6 };
    let mut outage = Outage::begin(bounds, |daemon| daemon.env(THREADS, "2")).await;
    outage.endure().await;
    let (account, _) = outage.recover().await;
    assert!((900..2_100).contains(&account.delivered), "{account:?}");
    assert_eq!(account.delivered + account.dropped, account.received, "{account:?}");
}

#[tokio::test]
async fn an_outage_keeps_the_bounds_in_bytes_and_the_account_adds_up() {
    let bounds = Bounds { messages: 1e6, bytes: 400_000.0 };
    let mut outage = Outage::begin(bounds, |daemon| daemon.env(THREADS, "4")).await;
    outage.endure().await;
    let (account, _) = outage.recover().await;
    // What fills one of the two bounds at least, of messages that are charged with some 540 bytes each.
    assert!((700..2_200).contains(&account.delivered), "{account:?}");
    assert_eq!(account.delivered + account.dropped, account.received, "{account:?}");
}

#[tokio::test]
async fn what_does_not_fit_in_an_outage_becomes_a_dead_letter_once() {
    let bounds = Bounds { messages: 1_000.0, bytes: 64e6 };
    let mut outage = Outage::begin(bounds, |daemon| daemon.route("dead_letter.subject", "dead")).await;
    let mut dead = outage.nats.client().await.subscribe("dead").await.unwrap();
    outage.nats.wait_subscriptions("dead", 1, SOON).await;
    outage.endure().await;
    let (account, hook) = outage.recover().await;
    assert_eq!(account.dropped, 0, "{account:?}");
    assert_eq!(account.delivered + account.dead_lettered, account.received, "{account:?}");
    let letters = numbers(&mut dead, account.dead_lettered).await;
    let delivered = hook.missing(0..account.received);
    assert!(delivered.into_iter().eq(letters), "a message is neither delivered nor a dead letter, or both");
}

/// The numbers of the next `count` messages, which came because there was no room for them; a panic when one comes twice.
async fn numbers(dead: &mut Subscriber, count: u64) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for _ in 0..count {
        let letter = next(dead, SOON).await;
        let headers = letter.headers.expect("a dead letter has headers");
        let reason = headers.get("Broadcaster-Reason").map(async_nats::HeaderValue::as_str);
        assert!(matches!(reason, Some("queue_full" | "retry_queue_full")), "{reason:?}");
        let body = String::from_utf8_lossy(&letter.payload);
        let number = body.trim_end().parse().expect("a letter has its message's body");
        assert!(numbers.insert(number), "two dead letters are message {number}");
    }
    numbers
}

/// A route to `slow`, which is kept busy, and a route to a good webhook, on one lane. How long the good one's messages
/// took from their publication to the webhook, the quickest first.
async fn latencies_beside(slow: &Webhook) -> Vec<Duration> {
    let nats = NatsServer::start().await;
    let good = Webhook::start();
    let mut daemon = Daemon::new()
        .config(&format!(
            "[nats]\nurl = {:?}\n[runtime]\nthreads = 1\n[shutdown]\ngrace = \"0s\"\n\
             [routes.good]\nsubject = \"good\"\nwebhook.url = {:?}\n\
             [routes.slow]\nsubject = \"slow\"\nwebhook = {{ url = {:?}, timeout = \"1s\" }}\n\
             queue.messages = 1000",
            nats.url(),
            good.url(),
            slow.url(),
        ))
        .start_ready()
        .await;
    let burden = Publisher::new(nats.client().await, "slow").steadily(1_000);
    // One that never answers is left alone before all of its workers are busy.
    slow.wait_for(|slow| slow.most_in_flight() >= 20, SOON).await;
    let load = Publisher::new(nats.client().await, "good").steadily(200);
    good.wait_for(|good| good.delivered() >= 500, SOON).await;
    let published = load.stop().await;
    good.wait_delivered(usize::try_from(published.count()).expect("a count fits"), SOON).await;
    drop(burden.stop().await);
    good.assert_exactly_once(0..published.count());
    let took = |request: &testkit::webhook::Received| {
        let number = request.number().expect("it has a number");
        request.at.saturating_duration_since(published.published_at(number))
    };
    let mut latencies: Vec<_> = good.requests().iter().map(took).collect();
    latencies.sort_unstable();
    assert!(daemon.stop().await.adds_up());
    latencies
}

/// A panic unless nearly all of these are what a route has that is alone.
fn assert_quick(latencies: &[Duration]) {
    let (median, most) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]);
    assert!(median < Duration::from_millis(30), "half of the messages took {median:?} and more");
    assert!(most < Duration::from_millis(300), "one in a hundred took {most:?} and more");
}

#[tokio::test]
async fn a_slow_route_does_not_slow_another_one() {
    let slow = Webhook::counting();
    slow.answer(Reply::status(200).after(Duration::from_millis(500)));
    assert_quick(&latencies_beside(&slow).await);
}

#[tokio::test]
async fn a_route_without_any_answer_does_not_slow_another_one() {
    let slow = Webhook::counting();
    slow.answer(Reply::status(200).after(Duration::from_secs(600)));
    assert_quick(&latencies_beside(&slow).await);
}

#[tokio::test]
async fn lanes_keep_the_concurrency_together() {
    for threads in ["2", "4"] {
        let nats = NatsServer::start().await;
        let hook = Webhook::counting();
        hook.answer(Reply::status(200).after(Duration::from_millis(10)));
        let daemon = Daemon::between(&nats, &hook.url())
            .env(THREADS, threads)
            // Enough for each lane to have some.
            .route("webhook.concurrency", "70")
            .start_ready()
            .await;
        publisher(&nats).await.burst(1_000).await;
        hook.wait_delivered(1_000, SOON).await;
        assert_eq!(hook.most_in_flight(), 70, "requests at the same time from {threads} lanes");
        closed(daemon).await;
        hook.assert_exactly_once(0..1_000);
    }
}

#[tokio::test]
async fn lanes_keep_the_rate_together() {
    const RATE: f64 = 400.0;
    for threads in ["2", "4"] {
        let nats = NatsServer::start().await;
        let hook = Webhook::start();
        let daemon = Daemon::between(&nats, &hook.url())
            .env(THREADS, threads)
            .route("rate_limit.per_second", &RATE.to_string())
            .route("rate_limit.burst", "20")
            .start_ready()
            .await;
        publisher(&nats).await.burst(800).await;
        hook.wait_delivered(800, SOON).await;
        let mut times: Vec<Instant> = hook.requests().iter().map(|request| request.at).collect();
        times.sort_unstable();
        let took = (times[799] - times[0]).as_secs_f64();
        let least = (800.0 - 20.0) / RATE;
        assert!(took > least - 0.1, "{threads} lanes: 800 messages in {took} s are above the limit");
        assert!(took < least + 0.5, "{threads} lanes: 800 messages in {took} s are far below the limit");
        closed(daemon).await;
        hook.assert_exactly_once(0..800);
    }
}
