//! Streams and consumers that are not as they should be, and where JetStream has another name.

use super::*;

fn consumer_config(change: impl FnOnce(&mut consumer::pull::Config)) -> consumer::pull::Config {
    let mut config = consumer::pull::Config {
        durable_name: Some("broadcaster-default".to_owned()),
        filter_subject: "todos.events".to_owned(),
        max_deliver: -1,
        max_ack_pending: 10_000,
        ..consumer::pull::Config::default()
    };
    change(&mut config);
    config
}

/// What `/health` says of a consumer like this, with which nothing is posted.
async fn refused(change: impl FnOnce(&mut consumer::pull::Config), why: &str) {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 10).await;
    stream.create_consumer(consumer_config(change)).await.expect("a consumer can be made");
    let hook = Webhook::start();
    let mut daemon = durable(&nats.url(), &hook).start().await;
    daemon.wait_log(why, PATIENCE).await;
    let (status, body) = daemon.health().await;
    assert!(status == 503 && body.contains(why), "{status} {body}");
    // Put right, it goes on by itself.
    stream.delete_consumer("broadcaster-default").await.expect("it is there");
    hook.wait_delivered(10, PATIENCE).await;
    daemon.ready(PATIENCE).await;
    assert!(hook.bodies().iter().all(|body| !body.is_empty()));
    daemon.stop().await;
}

#[tokio::test]
async fn a_consumer_that_delivers_no_bodies_is_refused_by_name() {
    refused(|config| config.headers_only = true, "delivers headers without bodies").await;
}

#[tokio::test]
async fn a_consumer_with_priority_groups_is_refused_by_name() {
    let overflow = |config: &mut consumer::pull::Config| {
        config.priority_policy = consumer::PriorityPolicy::Overflow;
        config.priority_groups = vec!["jobs".to_owned()];
    };
    refused(overflow, "priority groups (jobs)").await;
}

#[tokio::test]
async fn a_stream_without_the_routes_subject_is_refused_by_name() {
    let nats = NatsServer::start().await;
    let _stream = make_stream(&nats).await;
    let hook = Webhook::start();
    let mut daemon = durable(&nats.url(), &hook).route("subject", "orders.new").start().await;
    daemon.wait_log("stream TODOS keeps no subject that orders.new matches", PATIENCE).await;
    assert_eq!(daemon.health().await.0, 503);
    daemon.stop().await;
}

#[tokio::test]
async fn letters_that_would_come_back_are_refused_by_name() {
    let nats = NatsServer::start().await;
    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned(), "broadcaster.dead.>".to_owned()],
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    fill(nats.client().await, 0..10).await;
    stream.create_consumer(consumer_config(|config| config.filter_subject.clear())).await.unwrap();
    let hook = Webhook::answering([400]);
    let mut daemon = durable(&nats.url(), &hook).route("dead_letter.stream", "TODOS").start().await;
    daemon.wait_log("where the route's dead letters go", PATIENCE).await;
    assert_eq!((daemon.health().await.0, hook.received()), (503, 0));
    daemon.stop().await;
}

#[tokio::test]
async fn what_can_be_lived_with_is_in_the_log_and_in_health() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 10).await;
    let odd = |config: &mut consumer::pull::Config| {
        config.filter_subject.clear();
        config.ack_wait = Duration::from_secs(10);
        config.inactive_threshold = Duration::from_secs(60);
    };
    stream.create_consumer(consumer_config(odd)).await.unwrap();
    let hook = Webhook::start();
    let mut daemon = durable(&nats.url(), &hook).start_ready().await;
    hook.wait_delivered(10, PATIENCE).await;
    let (status, body) = daemon.health().await;
    for words in
        ["it has no filter", "ack_wait is 10s, and jetstream.ack_wait 30s", "inactive_threshold is 60s"]
    {
        daemon.wait_log(words, PATIENCE).await;
        assert!(status == 200 && body.contains(words), "{words}: {status} {body}");
    }
    assert_eq!(daemon.logs_containing("is not as it should be").len(), 3);
    daemon.stop().await;
}

#[tokio::test]
async fn a_paused_consumer_is_named_and_goes_on_by_itself() {
    let nats = NatsServer::start().await;
    let stream = stream_of(&nats, 10).await;
    let until = std::time::SystemTime::now() + Duration::from_secs(3);
    let pause = |config: &mut consumer::pull::Config| config.pause_until = Some(until.into());
    stream.create_consumer(consumer_config(pause)).await.unwrap();
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook).start_ready().await;
    daemon.wait_log("it is paused", PATIENCE).await;
    assert_eq!(hook.received(), 0);
    hook.wait_delivered(10, PATIENCE).await;
    stop(daemon).await;
}

#[tokio::test]
async fn a_stream_in_a_domain_is_reached_by_its_name() {
    let nats = NatsServer::builder().jetstream("domain: hub").start().await;
    let stream = stream_of(&nats, 50).await;
    let hook = Webhook::start();
    for settings in [("jetstream.domain", "hub"), ("jetstream.api_prefix", "$JS.hub.API")] {
        let daemon = durable(&nats.url(), &hook).route(settings.0, settings.1).start_ready().await;
        hook.wait_delivered(50, PATIENCE).await;
        wait_acknowledged(&stream).await;
        stop(daemon).await;
    }
    let daemon = durable(&nats.url(), &hook).route("jetstream.domain", "elsewhere").start().await;
    daemon.wait_log("nobody answers for JetStream", PATIENCE).await;
    hook.assert_exactly_once(0..50);
}

#[tokio::test]
async fn a_stream_of_another_account_is_reached_by_its_prefix() {
    const ACCOUNTS: &str = "accounts {
        KEEPER { jetstream: enabled, users: [ { user: keeper, password: keeper } ],
            exports: [ { service: \"$JS.API.>\", response: stream }, { service: \"$JS.ACK.>\" } ] },
        TAKER { users: [ { user: taker, password: taker } ],
            imports: [ { service: { account: KEEPER, subject: \"$JS.API.>\" }, to: \"KEPT.API.>\" },
                       { service: { account: KEEPER, subject: \"$JS.ACK.>\" } } ] } }";
    let nats = NatsServer::builder().config(ACCOUNTS).start().await;
    let keeper = async_nats::ConnectOptions::with_user_and_password("keeper".to_owned(), "keeper".to_owned());
    let client = nats.client_with(keeper).await;
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        ..stream::Config::default()
    };
    let stream = jetstream::new(client.clone()).create_stream(config).await.unwrap();
    fill(client, 0..100).await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook)
        .env("BROADCASTER__NATS__USER", "taker")
        .env("BROADCASTER__NATS__PASSWORD", "taker")
        .route("jetstream.api_prefix", "KEPT.API")
        .start_ready()
        .await;
    hook.wait_delivered(100, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..100);
}
