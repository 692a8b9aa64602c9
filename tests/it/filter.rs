//! Filters: which messages are delivered, and that the others are counted and acknowledged.

use std::time::Duration;

use testkit::{nats::NatsServer, stage::Stage, webhook::Webhook};

use crate::durable::{durable, fill};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn only_what_the_filter_wants_is_delivered() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.route("filter", "headers['x-tenant'] == 'acme' and data.n % 2 == 0")
    })
    .await;
    for number in 0..100 {
        let tenant = if number < 50 { "acme" } else { "other" };
        stage.publish_with(&[("X-Tenant", tenant)], format!("{{\"n\":{number}}}")).await;
    }
    stage.wait_processed(100).await;
    let numbers: Vec<_> = (0..50).step_by(2).collect();
    let mut delivered: Vec<_> =
        hook.requests().iter().filter_map(testkit::webhook::Received::number).collect();
    delivered.sort_unstable();
    assert_eq!(delivered, numbers);
    let metrics = stage.daemon.metrics().await;
    let filtered = metrics.value("broadcaster_messages_processed_total", &[("outcome", "filtered")]);
    let observed = metrics.value("broadcaster_delivery_latency_seconds_count", &[]);
    assert_eq!((filtered.to_string(), observed.to_string()), ("75".to_owned(), "25".to_owned()));
    let account = stage.close().await;
    assert_eq!((account.received, account.delivered, account.filtered), (100, 25, 75));
}

#[tokio::test]
async fn what_the_filter_can_not_judge_is_delivered_and_said_once_a_minute() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.route("filter", "data.n + 1 > 5")).await;
    let deep = "[".repeat(100_000);
    for payload in ["no json", "{\"n\": \"x\"}", deep.as_str(), "{\"n\": 1}", "{\"n\": 5}"] {
        stage.publish(payload.to_owned()).await;
    }
    stage.wait_processed(5).await;
    let metrics = stage.daemon.metrics().await;
    assert!((metrics.value("broadcaster_filter_errors_total", &[]) - 3.0).abs() < 0.1);
    let said = stage.daemon.logs_containing("the filter can't judge a message");
    assert_eq!(said.len(), 1, "{said:?}");
    let account = stage.close().await;
    assert_eq!((account.delivered, account.filtered), (4, 1));
}

#[tokio::test]
async fn what_is_filtered_is_acknowledged_to_its_stream() {
    const COUNT: u64 = 2_000;
    let nats = NatsServer::start().await;
    let stream = nats.stream("TODOS", &["todos.>"]).await;
    fill(nats.client().await, 0..COUNT).await;
    let hook = Webhook::start();
    let filter = "stream == 'TODOS' and sequence > 1990";
    let mut daemon = durable(&nats.url(), &hook).route("filter", filter).start_ready().await;
    hook.wait_delivered(10, SOON).await;
    stream.wait_acknowledged("broadcaster-default", SOON).await;
    hook.assert_exactly_once(COUNT - 10..COUNT);
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
    assert_eq!((account.delivered, account.filtered), (10, COUNT - 10));
    assert_eq!(stream.consumer("broadcaster-default").await.num_redelivered, 0);
}
