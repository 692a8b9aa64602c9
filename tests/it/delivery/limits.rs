//! What is never exceeded: the rate, the concurrency, the queue.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use testkit::daemon::Daemon;
use testkit::metrics::Metrics;
use testkit::nats::next;
use testkit::stage::Stage;
use testkit::webhook::{Behaviour, Reply, Webhook};

const SOON: Duration = Duration::from_secs(60);

fn two_lanes(daemon: Daemon) -> Daemon {
    daemon.env("BROADCASTER__RUNTIME__THREADS", "2")
}

#[tokio::test]
async fn the_rate_limit_holds_over_all_lanes_with_retries_included() {
    const PER_SECOND: u32 = 50;
    const BURST: u32 = 5;
    let hook = Webhook::start();
    let mut count = 0;
    hook.answer(Behaviour::by(move |_| {
        count += 1;
        Reply::status(if count % 3 == 0 { 503 } else { 200 })
    }));
    let mut stage = Stage::set(&hook.url(), |daemon| {
        two_lanes(daemon)
            .impatient()
            .route("rate_limit.per_second", &PER_SECOND.to_string())
            .route("rate_limit.burst", &BURST.to_string())
            .route("retry.attempts", "1000")
    })
    .await;
    for number in 0..80 {
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(80, SOON).await;
    hook.assert_exactly_once(0..80);
    let requests = hook.requests();
    assert!(requests.len() > 100, "{} requests, retries included", requests.len());
    // From any request to any later one: what was free at once, and what came free meanwhile. The webhook's own
    // scheduling may let two come a little closer together than they were sent.
    for (place, early) in requests.iter().enumerate() {
        for (more, late) in requests[place..].iter().enumerate() {
            let free = (late.at - early.at + Duration::from_millis(60)).as_secs_f64() * f64::from(PER_SECOND);
            let between = f64::from(u32::try_from(more).unwrap());
            assert!(between <= f64::from(BURST) + free, "{more} requests within {:?}", late.at - early.at);
        }
    }
    let took = requests[requests.len() - 1].at - requests[0].at;
    assert!(took < Duration::from_secs(6), "the rate is not used: {} requests took {took:?}", requests.len());
    stage.close().await;
}

#[tokio::test]
async fn the_concurrency_is_used_and_never_exceeded() {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(50)));
    let mut stage =
        Stage::set(&hook.url(), |daemon| two_lanes(daemon).route("webhook.concurrency", "7")).await;
    for number in 0..100 {
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(100, SOON).await;
    assert_eq!(hook.most_in_flight(), 7);
    stage.close().await;
}

/// One message is under way and stays there, ten wait, and twenty find the queue full. Gives the stage with all 31
/// received, and the webhook, which answers nothing.
async fn overflowing(describe: impl FnOnce(Daemon) -> Daemon) -> (Stage, Webhook) {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(600)));
    let describe = |daemon: Daemon| {
        let daemon = daemon.env("BROADCASTER__RUNTIME__THREADS", "1").impatient();
        describe(daemon.route("webhook.concurrency", "1").route("queue.messages", "10"))
    };
    let stage = Stage::set(&hook.url(), describe).await;
    stage.publish("0").await;
    hook.wait_for(|hook| hook.received() == 1, SOON).await;
    for number in 1..=30 {
        stage.publish(number.to_string()).await;
    }
    (stage, hook)
}

/// What is lost is exactly what does not fit, and `kept` is delivered as soon as the webhook works.
async fn assert_overflow(policy: &str, kept: RangeInclusive<u64>) {
    let (mut stage, hook) = overflowing(|daemon| daemon.route("queue.overflow", policy)).await;
    let full = |metrics: &Metrics| {
        metrics.value("broadcaster_messages_received_total", &[]) >= 31.0
            && metrics.value("broadcaster_queue_messages", &[]) >= 10.0
    };
    stage.daemon.wait_metrics(full, SOON).await;
    let metrics = stage.daemon.metrics().await;
    let outcomes = metrics.counted("broadcaster_messages_processed_total", "outcome");
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [("dropped".to_owned(), 20)], "{policy}");
    hook.answer(200);
    hook.close_connections().await;
    hook.wait_delivered(11, SOON).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.delivered, account.dropped), (31, 11, 20));
    let expected: BTreeSet<_> = kept.chain([0]).collect();
    let delivered: BTreeSet<_> = hook.requests().iter().filter_map(|request| request.number()).collect();
    assert_eq!(delivered, expected, "{policy}");
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_and_counts_them() {
    assert_overflow("drop_newest", 1..=10).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts_them() {
    assert_overflow("drop_oldest", 21..=30).await;
}

#[tokio::test]
async fn a_full_queue_without_a_place_for_dead_letters_drops_the_newest() {
    assert_overflow("dead_letter", 1..=10).await;
}

#[tokio::test]
async fn a_full_queue_makes_dead_letters_of_what_does_not_fit() {
    let (mut stage, hook) = overflowing(|daemon| daemon.route("dead_letter.subject", "dead")).await;
    stage.wait_processed(20).await;
    // Ten more, for which there is a subscriber.
    let mut dead = stage.client.subscribe("dead").await.unwrap();
    stage.nats.wait_subscriptions("dead", 1, SOON).await;
    for number in 31..=40 {
        stage.publish(number.to_string()).await;
        let letter = next(&mut dead, SOON).await;
        assert_eq!(letter.payload, number.to_string());
        let headers = letter.headers.unwrap();
        let value = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
        assert_eq!(value("Broadcaster-Reason"), Some("queue_full"));
        assert_eq!(value("Broadcaster-Attempts"), Some("0"));
        assert_eq!(value("Broadcaster-Last-Failure"), None);
    }
    hook.answer(200);
    hook.close_connections().await;
    hook.wait_delivered(11, SOON).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.delivered, account.dead_lettered), (41, 11, 30));
}
