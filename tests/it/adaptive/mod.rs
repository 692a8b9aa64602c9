//! An adaptive limit against real receivers: it finds what they can do, does not have requests stand in line, and loses
//! nothing.

mod receiver;

use std::ops::Range;
use std::time::{Duration, Instant};

use testkit::daemon::{Account, Daemon, Running};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::{Reply, Webhook};

use receiver::{Receiver, Serving, Summary};

const SOON: Duration = Duration::from_secs(60);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn daemon(nats: &NatsServer, hook: &Webhook) -> Running {
    with(Daemon::between(nats, &hook.url())).start_ready().await
}

fn with(daemon: Daemon) -> Daemon {
    daemon.env("BROADCASTER__RUNTIME__THREADS", "2").route("webhook.concurrency", "adaptive")
}

async fn publish(nats: &NatsServer, count: u64) {
    Publisher::new(nats.client().await, "todos.events").burst(count).await;
}

async fn closed(mut daemon: Running) -> Account {
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    account
}

async fn limit(daemon: &Running) -> f64 {
    daemon.metrics().await.value("broadcaster_concurrency_limit", &[("route", "default")])
}

/// How often the limit was changed for this reason.
async fn changes(daemon: &Running, why: &str) -> f64 {
    let labels = [("route", "default"), ("why", why)];
    daemon.metrics().await.value("broadcaster_concurrency_changes_total", &labels)
}

/// Waits until `count` are delivered, and says what the receiver saw between so many deliveries.
async fn delivered(receiver: &Receiver, between: Range<usize>, count: usize) -> Summary {
    receiver.hook.wait_for(|hook| hook.distinct() >= between.start, SOON).await;
    let from = Instant::now();
    receiver.hook.wait_for(|hook| hook.distinct() >= between.end, SOON).await;
    let summary = receiver.since(from);
    receiver.hook.wait_delivered(count, SOON).await;
    receiver.hook.assert_exactly_once(0..count as u64);
    summary
}

#[tokio::test]
async fn it_finds_what_a_receiver_can_do() {
    let serving = Serving::new(20, ms(50));
    let (nats, receiver) = (NatsServer::start().await, Receiver::start(serving));
    let daemon = daemon(&nats, &receiver.hook).await;
    publish(&nats, 4_000).await;
    let summary = delivered(&receiver, 1_000..3_900, 4_000).await;
    assert!(summary.served >= 0.9 * serving.capacity(), "{summary:?}");
    assert!(summary.here <= 45.0, "more than twenty stand in line: {summary:?}");
    let limit = limit(&daemon).await;
    assert!((12.0..60.0).contains(&limit), "{limit}");
    assert!(changes(&daemon, "quick").await >= 3.0, "it was raised from 4 on");
    assert!(changes(&daemon, "trial").await >= 1.0, "the first line was followed by a trial");
    assert_eq!(changes(&daemon, "refused").await, 0.0, "nothing was refused");
    closed(daemon).await;
}

#[tokio::test]
async fn it_stays_below_what_a_receiver_refuses() {
    let serving = Serving { most: 20, ..Serving::new(1_000, ms(50)) };
    let (nats, receiver) = (NatsServer::start().await, Receiver::start(serving));
    let daemon = daemon(&nats, &receiver.hook).await;
    publish(&nats, 5_000).await;
    let summary = delivered(&receiver, 1_000..4_900, 5_000).await;
    assert!(summary.served >= 0.8 * serving.capacity(), "{summary:?}");
    assert!(summary.refused <= 60, "{summary:?}");
    assert!(changes(&daemon, "refused").await >= 1.0, "{summary:?}");
    assert_eq!(closed(daemon).await.dropped, 0);
}

#[tokio::test]
async fn it_follows_a_receiver_that_changes() {
    let (many, few) = (Serving::new(40, ms(50)), Serving::new(10, ms(50)));
    let (nats, receiver) = (NatsServer::start().await, Receiver::start(many));
    let daemon = daemon(&nats, &receiver.hook).await;
    publish(&nats, 7_000).await;
    receiver.hook.wait_for(|hook| hook.distinct() >= 2_500, SOON).await;
    receiver.change(few);
    // What stands in line is served more slowly now, and a round has to show that.
    receiver.hook.wait_for(|hook| hook.distinct() >= 3_000, SOON).await;
    let from = Instant::now();
    receiver.hook.wait_for(|hook| hook.distinct() >= 3_600, SOON).await;
    let summary = receiver.since(from);
    assert!(summary.served >= 0.85 * few.capacity() && summary.here <= 35.0, "{summary:?}");
    receiver.change(many);
    receiver.hook.wait_for(|hook| hook.distinct() >= 4_600, SOON).await;
    let summary = delivered(&receiver, 4_600..6_900, 7_000).await;
    assert!(summary.served >= 0.85 * many.capacity(), "{summary:?}");
    closed(daemon).await;
}

#[tokio::test]
async fn two_replicas_share_a_receiver() {
    let serving = Serving::new(24, ms(50));
    let (nats, receiver) = (NatsServer::start().await, Receiver::start(serving));
    let replicas = [daemon(&nats, &receiver.hook).await, daemon(&nats, &receiver.hook).await];
    publish(&nats, 6_000).await;
    let summary = delivered(&receiver, 1_500..5_000, 6_000).await;
    assert!(summary.served >= 0.9 * serving.capacity(), "{summary:?}");
    assert!(summary.here <= 60.0, "{summary:?}");
    for replica in replicas {
        closed(replica).await;
    }
}

#[tokio::test]
async fn its_bounds_are_kept_and_shown() {
    let nats = NatsServer::start().await;
    let hook = Webhook::counting();
    hook.answer(Reply::status(200).after(ms(5)));
    let daemon = with(Daemon::between(&nats, &hook.url()))
        .route("webhook.min_concurrency", "3")
        .route("webhook.max_concurrency", "33")
        .start_ready()
        .await;
    assert_eq!(limit(&daemon).await, 4.0, "what it begins with");
    publish(&nats, 4_000).await;
    hook.wait_delivered(4_000, SOON).await;
    assert!(hook.most_in_flight() <= 33, "{}", hook.most_in_flight());
    assert!(limit(&daemon).await > 20.0, "a receiver that always takes as long gets more and more");
    closed(daemon).await;
    hook.assert_exactly_once(0..4_000);
}

#[tokio::test]
async fn a_fixed_number_is_shown_as_it_is() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let daemon = Daemon::between(&nats, &hook.url()).route("webhook.concurrency", "17").start_ready().await;
    assert_eq!(limit(&daemon).await, 17.0);
    closed(daemon).await;
}
