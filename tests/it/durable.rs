//! Durable mode: messages come from a stream, and are acknowledged when they were delivered.

use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};

use crate::support::{daemon::Daemon, nats::NatsServer, webhook::Webhook};

const PATIENCE: Duration = Duration::from_secs(30);

/// A stream with so many numbered messages in it.
async fn stream_of(nats: &NatsServer, messages: u64) -> stream::Stream {
    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.expect("a stream can be made");
    for number in 0..messages {
        let stored = context.publish("todos.events", number.to_string().into()).await.expect("NATS takes it");
        if number + 1 == messages {
            stored.await.expect("the stream has it");
        }
    }
    stream
}

fn durable(nats: &NatsServer, hook: &Webhook) -> Daemon {
    Daemon::between(nats, &hook.url()).route("jetstream.stream", "TODOS").route("jetstream.create", "true")
}

#[tokio::test]
async fn what_is_in_the_stream_is_delivered_once_and_acknowledged() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 2_000).await;
    let hook = Webhook::start();
    let mut daemon = durable(&nats, &hook).start_ready().await;
    hook.wait_delivered(2_000, PATIENCE).await;
    let account = daemon.stop().await;
    hook.assert_exactly_once(0..2_000);
    assert!(account.adds_up() && account.delivered == 2_000, "{account:?}");
    let consumer: consumer::PullConsumer =
        stream.get_consumer("broadcaster-default").await.expect("the daemon has made it");
    let info = consumer.cached_info();
    assert_eq!((info.num_ack_pending, info.num_pending, info.num_redelivered), (0, 0, 0));
    let mut ids = hook.ids();
    ids.sort_by_key(|id| id.rsplit(':').next().and_then(|n| n.parse::<u64>().ok()));
    assert_eq!((ids[0].as_str(), ids[1999].as_str()), ("TODOS:1", "TODOS:2000"));
}
