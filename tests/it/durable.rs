//! Durable mode: messages come from a stream, and are acknowledged when they were delivered. Nothing may be lost, whatever is
//! killed.

use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};

use testkit::{
    daemon::{Daemon, Running},
    nats::NatsServer,
    tally::Numbers,
    webhook::Webhook,
};

mod acks;
mod anew;
mod attempts;
mod basics;
mod cluster;
mod dead_letters;
mod faults;
mod in_hand;
mod killed;
mod leaving;
mod limits;
mod settings;

const PATIENCE: Duration = Duration::from_secs(60);

/// The stream of these tests, empty.
async fn make_stream(nats: &NatsServer) -> stream::Stream {
    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        ..stream::Config::default()
    };
    context.create_stream(config).await.expect("a stream can be made")
}

/// Puts the numbers from `first` on into the stream, and waits until it has them.
pub(crate) async fn fill(client: async_nats::Client, numbers: std::ops::Range<u64>) {
    const WINDOW: u64 = 1_000;
    let context = jetstream::new(client);
    let (first, mut stored) = (numbers.start, Vec::new());
    for number in numbers {
        stored.push(context.publish("todos.events", number.to_string().into()).await.expect("NATS takes it"));
        if (number - first) % WINDOW == WINDOW - 1 {
            for stored in stored.drain(..) {
                stored.await.expect("the stream has it");
            }
        }
    }
    for stored in stored {
        stored.await.expect("the stream has it");
    }
}

pub(crate) async fn stream_of(nats: &NatsServer, messages: u64) -> stream::Stream {
    let stream = make_stream(nats).await;
    fill(nats.client().await, 0..messages).await;
    stream
}

/// A daemon with one durable route, whose consumer it makes.
pub(crate) fn durable(nats_url: &str, hook: &Webhook) -> Daemon {
    Daemon::new()
        .env("NATS_URL", nats_url)
        .env("WEBHOOK_URL", hook.url())
        .route("jetstream.stream", "TODOS")
        .route("jetstream.create", "true")
}

pub(crate) async fn consumer_info(stream: &stream::Stream) -> consumer::Info {
    stream.consumer_info("broadcaster-default").await.expect("the daemon has made it")
}

/// Each number of `0..count` was delivered, each time with the id of its place in the stream. Returns how many were delivered
/// more than once.
fn assert_none_lost(hook: &Webhook, count: u64) -> usize {
    let missing = hook.missing(0..count);
    assert!(missing.is_empty(), "lost: {}; {}", Numbers(missing), hook.summary());
    for request in hook.requests() {
        let number = request.number().expect("all have numbers");
        let (id, place) = (request.header("webhook-id"), format!("TODOS:{}:", number + 1));
        assert!(id.starts_with(&place), "number {number} has the id {id}");
    }
    hook.duplicates().len()
}

/// Waits until everything is acknowledged.
pub(crate) async fn wait_acknowledged(stream: &stream::Stream) {
    wait_unacknowledged(stream, 0).await;
}

/// Waits until the consumer has delivered everything, and so many of that are not acknowledged: the server hears of the others
/// a moment after the webhook has them.
async fn wait_unacknowledged(stream: &stream::Stream, count: usize) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let info = consumer_info(stream).await;
        if (info.num_ack_pending, info.num_pending) == (count, 0) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{count} were to be unacknowledged: {info:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn stop(mut daemon: Running) {
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
}
