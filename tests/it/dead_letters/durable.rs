//! Letters of durable routes: one counts when a stream has confirmed it, and until then its message is in its stream.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer, stream::RetentionPolicy};

use super::{SOON, STREAM, SUBJECT, count, make_stream, wait_count};
use crate::durable::{durable, stream_of};
use testkit::{daemon::Running, nats::NatsServer, webhook::Webhook};

const TROUBLE: &str = "dead letters can't be published";
const PROCESSED: &str = "broadcaster_messages_processed_total";

/// Makes the stream of the dead letters with these settings.
async fn make(nats: &NatsServer, settings: jetstream::stream::Config) -> jetstream::stream::Stream {
    let config = jetstream::stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["broadcaster.dead.>".to_owned()],
        ..settings
    };
    jetstream::new(nats.client().await).create_stream(config).await.expect("the stream can be made")
}

async fn ack_pending(stream: &jetstream::stream::Stream) -> usize {
    stream.consumer_info("broadcaster-default").await.expect("the daemon has made it").num_ack_pending
}

/// Waits until so many messages have died, and a moment more for what may come of that wrongly.
async fn wait_dead(hook: &Webhook, messages: usize) {
    hook.wait_for(|hook| hook.received() == messages, SOON).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
}

async fn processed(daemon: &Running) -> f64 {
    daemon.metrics().await.sum(PROCESSED, &[])
}

/// Nobody listens, somebody listens, or the stream is deleted while it runs: plain messages are no letters.
#[tokio::test]
async fn they_are_never_plain_messages() {
    for is_deleted in [false, true] {
        let nats = NatsServer::start().await;
        let stream = stream_of(&nats, 0).await;
        if is_deleted {
            make_stream(&nats).await;
        }
        // Somebody may listen, but that is not to keep.
        let _listener = nats.client().await.subscribe(SUBJECT).await.unwrap();
        let hook = Webhook::answering([400]);
        let mut daemon =
            durable(&nats.url(), &hook).route("dead_letter.subject", SUBJECT).start_ready().await;
        if is_deleted {
            daemon.wait_log("dead letters go through JetStream", SOON).await;
            jetstream::new(nats.client().await).delete_stream(STREAM).await.unwrap();
        } else {
            let line = daemon.wait_log(TROUBLE, SOON).await;
            assert!(line.contains("no stream keeps the subject") && line.contains("default"), "{line}");
        }
        crate::durable::fill(nats.client().await, 0..20).await;
        wait_dead(&hook, 20).await;
        assert_eq!(
            (processed(&daemon).await, ack_pending(&stream).await),
            (0.0, 20),
            "deleted: {is_deleted}"
        );
        make_stream(&nats).await;
        wait_count(&nats, 20).await;
        let account = daemon.stop().await;
        assert_eq!((account.dead_lettered, account.dropped, account.returned), (20, 0, 0), "{account:?}");
    }
}

/// A user who may not ask which stream has the subject learns it from the acknowledgements.
#[tokio::test]
async fn without_the_permission_to_ask_any_stream_that_confirms_will_do() {
    let users = "authorization: { users: [{ user: \"all\", password: \"all\" },\n\
         { user: \"daemon\", password: \"daemon\", permissions: { publish: { deny: \"$JS.API.STREAM.>\" } } }],\n\
         }\nno_auth_user: all";
    let nats = NatsServer::builder().config(users).start().await;
    let stream = stream_of(&nats, 20).await;
    let hook = Webhook::answering([400]);
    let consumer = consumer::pull::Config {
        durable_name: Some("broadcaster-default".to_owned()),
        filter_subject: "todos.events".to_owned(),
        ..Default::default()
    };
    stream.create_consumer(consumer).await.unwrap();
    let mut daemon = durable(&nats.url(), &hook)
        .route("jetstream.create", "false")
        .route("dead_letter.subject", SUBJECT)
        .env("BROADCASTER__NATS__USER", "daemon")
        .env("BROADCASTER__NATS__PASSWORD", "daemon")
        .start_ready()
        .await;
    daemon.wait_log(TROUBLE, SOON).await;
    wait_dead(&hook, 20).await;
    assert_eq!((processed(&daemon).await, ack_pending(&stream).await), (0.0, 20));
    make_stream(&nats).await;
    wait_count(&nats, 20).await;
    assert_eq!(daemon.stop().await.dead_lettered, 20);
}

/// A stream with interest retention confirms what it removes at once.
#[tokio::test]
async fn a_stream_that_keeps_only_what_is_wanted_keeps_nothing_without_a_consumer() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 20).await;
    let dead =
        make(&nats, jetstream::stream::Config { retention: RetentionPolicy::Interest, ..Default::default() })
            .await;
    let consumer = |filter: &str| consumer::pull::Config {
        durable_name: Some(filter.replace('.', "-")),
        filter_subject: filter.to_owned(),
        ..Default::default()
    };
    dead.create_consumer(consumer("broadcaster.dead.other")).await.unwrap();
    let hook = Webhook::answering([400]);
    let mut daemon = durable(&nats.url(), &hook).route("dead_letter.stream", STREAM).start_ready().await;
    let line = daemon.wait_log(TROUBLE, SOON).await;
    assert!(line.contains("interest"), "{line}");
    wait_dead(&hook, 20).await;
    assert_eq!((processed(&daemon).await, ack_pending(&stream).await), (0.0, 20));
    dead.create_consumer(consumer(SUBJECT)).await.unwrap();
    wait_count(&nats, 20).await;
    // The consumer goes while letters are made.
    dead.delete_consumer(&SUBJECT.replace('.', "-")).await.unwrap();
    crate::durable::fill(nats.client().await, 20..30).await;
    wait_dead(&hook, 30).await;
    assert_eq!(ack_pending(&stream).await, 10);
    dead.create_consumer(consumer(SUBJECT)).await.unwrap();
    wait_count(&nats, 10).await;
    let account = daemon.stop().await;
    assert_eq!((account.dead_lettered, account.returned), (30, 0), "{account:?}");
}

/// Streams that can't keep letters are named.
#[tokio::test]
async fn a_stream_that_is_not_fit_for_letters_is_refused_by_name() {
    for (settings, reason) in [
        (jetstream::stream::Config { no_ack: true, ..Default::default() }, "no_ack"),
        (jetstream::stream::Config { sealed: true, ..Default::default() }, "sealed"),
    ] {
        let nats = NatsServer::start().await;
        let sealed = settings.sealed;
        let stream = stream_of(&nats, 5).await;
        let dead = make(&nats, jetstream::stream::Config { sealed: false, ..settings }).await;
        if sealed {
            let mut config = dead.cached_info().config.clone();
            config.sealed = true;
            jetstream::new(nats.client().await).update_stream(config).await.unwrap();
        }
        let hook = Webhook::answering([400]);
        let mut daemon =
            durable(&nats.url(), &hook).route("dead_letter.subject", SUBJECT).start_ready().await;
        let line = daemon.wait_log(TROUBLE, SOON).await;
        assert!(line.contains(STREAM) && line.contains(reason), "{line}");
        wait_dead(&hook, 5).await;
        assert_eq!(ack_pending(&stream).await, 5, "{reason}");
        assert_eq!(daemon.stop().await.returned, 5);
    }
}

/// What the stream of letters never takes stays in its own stream.
#[tokio::test]
async fn one_that_no_stream_takes_stays_in_its_stream_and_the_others_go_on() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 3).await;
    make(&nats, jetstream::stream::Config { max_message_size: 10_000, ..Default::default() }).await;
    let context = jetstream::new(nats.client().await);
    context.publish("todos.events", vec![b' '; 20_000].into()).await.unwrap().await.unwrap();
    crate::durable::fill(nats.client().await, 4..7).await;
    let hook = Webhook::answering([400]);
    let mut daemon = durable(&nats.url(), &hook).route("dead_letter.stream", STREAM).start_ready().await;
    wait_count(&nats, 6).await;
    let line = daemon.wait_log("dead letter put aside", SOON).await;
    assert!(line.contains("larger than NATS takes"), "{line}");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(hook.received(), 7, "it comes again only much later");
    let account = daemon.stop().await;
    assert_eq!((account.dead_lettered, account.returned, account.dropped), (6, 1, 0), "{account:?}");
    assert_eq!(ack_pending(&stream).await, 1);
}

/// While there is no room for letters nothing is taken from the stream: it would be posted again and again.
#[tokio::test]
async fn while_there_is_no_room_for_letters_nothing_is_posted_again() {
    const COUNT: usize = 60;
    const SIZE: usize = 1_000_000;
    let nats = NatsServer::start().await;
    stream_of(&nats, 0).await;
    let context = jetstream::new(nats.client().await);
    for _ in 0..COUNT {
        context.publish("todos.events", vec![b' '; SIZE].into()).await.unwrap().await.unwrap();
    }
    let hook = Webhook::answering([400]);
    let mut daemon = durable(&nats.url(), &hook).route("dead_letter.stream", STREAM).start_ready().await;
    // Sixteen fit.
    hook.wait_for(|hook| hook.received() > 16, SOON).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = hook.received();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(hook.received(), first, "posted again and again");
    make_stream(&nats).await;
    let began = Instant::now();
    wait_count(&nats, COUNT as u64).await;
    assert!(began.elapsed() < SOON);
    assert!(hook.received() <= 2 * COUNT, "{} posts", hook.received());
    let account = daemon.stop().await;
    assert_eq!((account.dead_lettered, account.dropped), (COUNT as u64, 0), "{account:?}");
    assert_eq!(count(&nats).await, COUNT as u64);
}

/// One that is larger than all the room for letters.
#[tokio::test]
async fn one_of_any_size_fits_into_an_empty_queue() {
    const SIZE: usize = 20 * 1024 * 1024;
    let nats = NatsServer::builder().config("max_payload: 32MB").start().await;
    stream_of(&nats, 0).await;
    make_stream(&nats).await;
    let context = jetstream::new(nats.client().await);
    context.publish("todos.events", vec![b' '; SIZE].into()).await.unwrap().await.unwrap();
    let hook = Webhook::answering([400]);
    let daemon =
        durable(&nats.url(), &hook).route("queue.bytes", "64MiB").route("dead_letter.stream", STREAM);
    let mut daemon = daemon.start_ready().await;
    wait_count(&nats, 1).await;
    assert_eq!(daemon.stop().await.dead_lettered, 1);
    assert_eq!(hook.received(), 1);
}
