//! A stop, and another replica.

use super::*;
use testkit::nats::NatsServer;

const RECEIVED: &str = "broadcaster_messages_received_total";

#[tokio::test]
async fn a_batch_that_waits_for_more_goes_out_at_a_stop() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| batched(daemon, 1_000, "1m")).await;
    publish(&stage, 7).await;
    stage.daemon.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) >= 7.0, SOON).await;
    assert_eq!(hook.received(), 0);
    let begin = Instant::now();
    assert_eq!(stage.close().await.delivered, 7);
    assert!(begin.elapsed() < Duration::from_secs(10), "the stop took {:?}", begin.elapsed());
    assert_eq!(hook.bodies(), ["[0,1,2,3,4,5,6]"]);
}

#[tokio::test]
async fn what_waits_or_is_under_way_is_handed_over() {
    let nats = NatsServer::start().await;
    let stuck = Webhook::start();
    stuck.answer(Reply::status(200).after(Duration::from_secs(600)));
    let hook = Webhook::start();
    let replica = |hook: &Webhook| {
        batched(Daemon::between(&nats, &hook.url()), 10, "0s")
            .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
            .route("webhook.concurrency", "2")
    };
    let mut leaving = replica(&stuck).start_ready().await;
    let client = nats.client().await;
    for number in 0..100 {
        client.publish("todos.events", number.to_string().into()).await.expect("the client takes it");
    }
    client.flush().await.expect("NATS is there");
    leaving.wait_metrics(|metrics| metrics.sum(RECEIVED, &[]) >= 100.0, SOON).await;
    stuck.wait_for(|hook| hook.received() == 2, SOON).await;
    let mut other = replica(&hook).start_ready().await;
    nats.wait_subscriptions("broadcaster.handover.broadcaster-workers", 2, SOON).await;
    let account = leaving.stop().await;
    assert!(account.adds_up() && account.handed_over == 100, "{account:?}");
    hook.wait_for(|hook| answered(hook, |status| status == 200).len() == 100, SOON).await;
    assert_taken_once(&hook, 100, &[]);
    let account = other.stop().await;
    assert!(account.adds_up() && account.delivered == 100, "{account:?}");
}
