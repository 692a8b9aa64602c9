//! Streams and consumers that are deleted and made anew while the daemon runs.

use super::*;
use testkit::webhook::{Behaviour, Reply};

/// Deletes the stream and makes another one of the same name with these numbers in it.
async fn stream_anew(nats: &NatsServer, numbers: std::ops::Range<u64>) -> stream::Stream {
    let client = nats.client().await;
    jetstream::new(client.clone()).delete_stream("TODOS").await.expect("it is there");
    let stream = make_stream(nats).await;
    fill(client, numbers).await;
    stream
}

#[tokio::test]
async fn what_is_in_hand_of_a_stream_that_is_gone_acknowledges_nothing_in_the_new_one() {
    let nats = NatsServer::start().await;
    let _former = stream_of(&nats, 5).await;
    let hook = Webhook::start();
    // The old ones are under way when the new ones come, and are answered while those are.
    hook.answer(Behaviour::by(|request| {
        let is_old = request.number().is_some_and(|number| number < 5);
        Reply::status(200).after(Duration::from_secs(if is_old { 3 } else { 60 }))
    }));
    let mut daemon = durable(&nats.url(), &hook).start_ready().await;
    hook.wait_for(|hook| hook.received() == 5, PATIENCE).await;
    let stream = stream_anew(&nats, 5..10).await;
    hook.wait_for(|hook| hook.received() == 10, PATIENCE).await;
    hook.wait_delivered(5, PATIENCE).await;
    // The acks would be there by now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(consumer_info(&stream).await.num_ack_pending, 5);
    daemon.wait_log("the stream was made anew", PATIENCE).await;
    daemon.kill();
    hook.answer(Reply::status(200));
    let daemon = durable(&nats.url(), &hook).route("jetstream.ack_wait", "1s").start_ready().await;
    hook.wait_delivered(10, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..10);
    let ids: std::collections::BTreeSet<_> = hook.ids().into_iter().collect();
    assert_eq!(ids.len(), 10, "two messages have one id: {ids:#?}");
}

#[tokio::test]
async fn a_stream_in_memory_that_a_restart_empties_is_another_one() {
    let mut nats = NatsServer::start().await;
    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    context.create_stream(config.clone()).await.unwrap();
    fill(nats.client().await, 0..20).await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    hook.wait_delivered(20, PATIENCE).await;
    nats.restart().await;
    jetstream::new(nats.client().await).create_stream(config).await.unwrap();
    fill(nats.client().await, 20..30).await;
    hook.wait_delivered(30, PATIENCE).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..30);
    assert_eq!(hook.ids().into_iter().collect::<std::collections::BTreeSet<_>>().len(), 30);
}

/// The consumer is deleted when 500 messages were delivered: none of them comes again, and what has come meanwhile comes.
async fn goes_on_after_the_consumer_was_deleted(policy: &str) {
    let nats = NatsServer::start().await;
    let stream = make_stream(&nats).await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).route("jetstream.deliver_policy", policy).start_ready().await;
    fill(nats.client().await, 0..500).await;
    hook.wait_delivered(500, PATIENCE).await;
    wait_acknowledged(&stream).await;
    // While nobody can pull, so that the next ones are a backlog of the consumer that is made.
    hook.answer(Reply::status(200).after(Duration::from_millis(50)));
    fill(nats.client().await, 500..1_500).await;
    stream.delete_consumer("broadcaster-default").await.expect("it is there");
    fill(nats.client().await, 1_500..1_600).await;
    hook.wait_for(|hook| hook.distinct() == 1_600, PATIENCE).await;
    wait_acknowledged(&stream).await;
    daemon.wait_log("after sequence", PATIENCE).await;
    let made = daemon.wait_log("consumer made", PATIENCE).await;
    assert!(made.contains("begins"), "{made}");
    assert!(
        daemon.logs_containing("after sequence").len() == 1,
        "{:?}",
        daemon.logs_containing("consumer made")
    );
    stop(daemon).await;
    hook.assert_exactly_once(0..1_600);
}

#[tokio::test]
async fn a_consumer_that_is_deleted_goes_on_where_it_was() {
    goes_on_after_the_consumer_was_deleted("all").await;
}

#[tokio::test]
async fn a_consumer_for_new_messages_that_is_deleted_skips_none() {
    goes_on_after_the_consumer_was_deleted("new").await;
}

#[tokio::test]
async fn who_makes_the_consumer_anew_by_hand_gets_all_once_more() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 100).await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    hook.wait_delivered(100, PATIENCE).await;
    wait_acknowledged(&stream).await;
    // In one go with its successor, so that the daemon does not come between.
    let config = consumer::pull::Config {
        durable_name: Some("broadcaster-default".to_owned()),
        filter_subject: "todos.events".to_owned(),
        max_deliver: -1,
        ..consumer::pull::Config::default()
    };
    daemon.signal(rustix::process::Signal::STOP);
    stream.delete_consumer("broadcaster-default").await.unwrap();
    stream.create_consumer(config).await.unwrap();
    daemon.signal(rustix::process::Signal::CONT);
    hook.wait_for(|hook| hook.delivered() == 200, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    assert_eq!((hook.distinct(), hook.duplicates().len()), (100, 100));
}
