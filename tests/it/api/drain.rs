//! Routes that take nothing any more, and deliver what they have.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ACTOR, Client, SOON, nothing, with_tokens};
use crate::durable::{consumer_info, durable, stream_of, wait_acknowledged};
use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::{Behaviour, Reply, Webhook};

const ROUTE: &str = "/api/v1/routes/default";

/// Drains the route `default`, so that nothing comes any more.
async fn drain(client: &Client) {
    let (status, done) = client.post(&format!("{ROUTE}/drain"), json!({"why": "it moves"})).await;
    assert_eq!((status, &done["held"]["act"], &done["held"]["by"]), (200, &json!("drain"), &json!("ops")));
    assert_eq!((&done["applied"], &done["reach"]), (&json!(true), &json!("process")));
}

async fn received(daemon: &Running) -> f64 {
    daemon.metrics().await.sum("broadcaster_messages_received_total", &[])
}

/// Waits until everything that the route `default` has in hand is delivered.
async fn wait_empty(client: &Client) -> Value {
    let ask = async || client.get(ROUTE).await.1;
    testkit::wait_for(SOON, ask, |route| route["in_hand"] == 0).await
}

/// Fails the first attempt at every fifth message.
fn flaky() -> Behaviour {
    let mut seen = HashSet::new();
    Behaviour::by(move |request| {
        let number = request.number().unwrap_or_default();
        Reply::status(if number % 5 == 0 && seen.insert(number) { 503 } else { 200 })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_drained_replica_has_is_delivered_and_another_gets_what_comes() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    hook.answer(flaky());
    let described = || with_tokens(Daemon::between(&nats, &hook.url())).route("retry.initial", "200ms");
    let (mut drained, mut other) = (described().start_ready().await, described().start_ready().await);
    let client = Client::of(&drained, ACTOR).await;
    let load = Publisher::new(nats.client().await, "todos.events").steadily(500);
    hook.wait_delivered(200, SOON).await;
    assert!(received(&drained).await > 0.0);

    drain(&client).await;
    let route = wait_empty(&client).await;
    assert_eq!(route["trouble"]["word"], "drained", "{route}");
    let (had, others) = (received(&drained).await, received(&other).await);
    other.wait_metrics(|m| m.sum("broadcaster_messages_received_total", &[]) > others + 250.0, SOON).await;
    assert_eq!(received(&drained).await, had, "a drained route takes messages");
    assert_eq!(drained.health().await.0, 200, "what an operator wants makes no replica unready");
    drain(&client).await;

    let (status, done) = client.post(&format!("{ROUTE}/resume"), nothing()).await;
    assert_eq!((status, &done["held"]), (200, &json!(null)));
    drained.wait_metrics(|m| m.sum("broadcaster_messages_received_total", &[]) > had + 100.0, SOON).await;
    let published = load.stop().await.count();
    let (some, rest) = (drained.stop().await, other.stop().await);
    assert_eq!((some.delivered + rest.delivered, some.dropped + rest.dropped), (published, 0));
    hook.assert_exactly_once(0..published);
}

#[tokio::test]
async fn a_drained_stream_is_acknowledged_over_another_connection_and_left_to_others() {
    const COUNT: u64 = 400;
    const ACK_WAIT: Duration = Duration::from_secs(2);
    let mut nats = NatsServer::start().await;
    let stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::answering([503]);
    let described = || {
        let daemon = with_tokens(durable(&nats.url(), &hook)).route("jetstream.ack_wait", "2s");
        // None waits so long that it is given back to the stream meanwhile: it would be counted as delivered again.
        let daemon = daemon.route("retry.initial", "300ms").route("retry.max", "1s");
        daemon.without_breaker().route("retry.attempts", "1000")
    };
    let mut drained = described().route("queue.messages", "50").start_ready().await;
    let replica = described();
    let client = Client::of(&drained, ACTOR).await;
    hook.wait_for(|hook| hook.received() >= 20, SOON).await;
    drain(&client).await;
    let had = received(&drained).await;

    // What is in hand has to stay this replica's, also when the server is another one.
    nats.stop().await;
    nats.restart().await;
    drained.ready(SOON).await;
    tokio::time::sleep(2 * ACK_WAIT).await;
    hook.answer(Reply::status(200));
    wait_empty(&client).await;
    assert_eq!(received(&drained).await, had, "a drained route takes messages");

    let mut other = replica.start_ready().await;
    hook.wait_for(|hook| hook.delivered() as u64 >= COUNT, SOON).await;
    wait_acknowledged(&stream).await;
    let (status, done) = client.post(&format!("{ROUTE}/resume"), nothing()).await;
    assert_eq!((status, &done["applied"]), (200, &json!(true)));
    Publisher::new(nats.client().await, "todos.events").store(COUNT + 100).await;
    hook.wait_for(|hook| hook.distinct() as u64 >= COUNT + 100, SOON).await;
    drained.wait_metrics(|m| m.sum("broadcaster_messages_received_total", &[]) > had, SOON).await;
    wait_acknowledged(&stream).await;
    assert_eq!(consumer_info(&stream).await.delivered.consumer_sequence, 2 * COUNT + 100, "redelivered");
    assert!(drained.stop().await.adds_up() && other.stop().await.adds_up());
}

#[tokio::test]
async fn of_pause_and_drain_the_last_one_counts() {
    let (nats, hook) = (NatsServer::start().await, Webhook::start());
    let mut daemon = with_tokens(Daemon::between(&nats, &hook.url())).start_ready().await;
    let client = Client::of(&daemon, ACTOR).await;
    drain(&client).await;
    assert_eq!(nats.subscriptions("todos.events").await, 0, "it has left its queue group");
    let (_, done) = client.post(&format!("{ROUTE}/pause"), nothing()).await;
    assert_eq!((&done["held"]["act"], &done["applied"]), (&json!("pause"), &json!(true)));
    Publisher::new(nats.client().await, "todos.events").burst(10).await;
    daemon.wait_metrics(|metrics| metrics.sum("broadcaster_queue_messages", &[]) == 10.0, SOON).await;
    assert_eq!(hook.received(), 0, "a paused route attempts");
    drain(&client).await;
    hook.wait_delivered(10, SOON).await;
    wait_empty(&client).await;
    assert_eq!(nats.subscriptions("todos.events").await, 0, "it has left its queue group again");
    assert_eq!(daemon.stop().await.delivered, 10);
}
