//! Acks are said until the stream has confirmed them.

use super::*;
use testkit::{nats::cluster::Cluster, webhook::Reply};

/// Two users: one that may do anything, and one that may not acknowledge.
fn users(denied: &str) -> String {
    format!(
        "authorization {{ timeout: 5, users = [ {{ user: all, password: all }}, {{ user: daemon, password: daemon, \
         permissions: {{ publish: {{ deny: [{denied}] }} }} }} ] }}"
    )
}

#[tokio::test]
async fn acks_that_are_said_while_the_stream_is_away_are_said_again() {
    const COUNT: u64 = 200;
    let mut cluster = Cluster::start().await;
    // On one server of three, and the daemon is connected to another one.
    let client = cluster.client().await;
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        num_replicas: 1,
        ..stream::Config::default()
    };
    let mut stream = jetstream::new(client.clone()).create_stream(config).await.unwrap();
    let home = stream.info().await.unwrap().cluster.as_ref().and_then(|cluster| cluster.leader.clone());
    let home = home.expect("one server has it");
    // The others hear of it a moment later.
    fill(cluster.node(&home).client().await, 0..COUNT).await;
    let elsewhere = ["n1", "n2", "n3"].into_iter().find(|name| *name != home).unwrap();
    let url = cluster.node(elsewhere).url();
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_secs(2)));
    let daemon = durable(&url, &hook)
        .env("BROADCASTER__NATS__IGNORE_DISCOVERED_SERVERS", "true")
        .route("jetstream.ack_wait", "5s")
        .route("webhook.concurrency", "200")
        .start_ready()
        .await;
    hook.wait_for(|hook| hook.received() >= 50, PATIENCE).await;
    cluster.kill(&home);
    // Those under way are answered meanwhile.
    hook.wait_for(|hook| hook.delivered() == hook.received(), PATIENCE).await;
    cluster.restart(&home).await;
    hook.wait_for(|hook| hook.distinct() == 200, PATIENCE).await;
    wait_acknowledged(&known_again(cluster.client().await).await).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..COUNT);
}

/// The stream, when its server has come back to it.
async fn known_again(client: async_nats::Client) -> stream::Stream {
    let context = jetstream::new(client);
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match context.get_stream("TODOS").await {
            Ok(stream) => return stream,
            Err(error) => {
                assert!(tokio::time::Instant::now() < end, "the stream is not there again: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_in_order_under_load_repeats_nothing() {
    const COUNT: u64 = 5_000;
    let mut nats = NatsServer::start().await;
    let _stream = stream_of(&nats, COUNT).await;
    let hook = Webhook::start();
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    let daemon = durable(&nats.url(), &hook)
        .route("jetstream.ack_wait", "2s")
        .route("webhook.concurrency", "16")
        .start_ready()
        .await;
    for share in 1..=3 {
        hook.wait_for(|hook| hook.distinct() >= share * 1_000, PATIENCE).await;
        nats.stop().await;
        nats.restart().await;
    }
    hook.wait_for(|hook| hook.distinct() == 5_000, PATIENCE).await;
    let stream = jetstream::new(nats.client().await).get_stream("TODOS").await.unwrap();
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..COUNT);
}

#[tokio::test]
async fn without_the_permission_to_acknowledge_nothing_is_taken_until_it_is_given() {
    const COUNT: u64 = 300;
    const WHY: &str = "NATS refuses acknowledgements: the user needs the permission to publish to $JS.ACK.>";
    let mut nats = NatsServer::builder().config(&users("\"$JS.ACK.>\"")).start().await;
    let all = async_nats::ConnectOptions::with_user_and_password("all".to_owned(), "all".to_owned());
    let client = nats.client_with(all).await;
    let stream = jetstream::new(client.clone())
        .create_stream(stream::Config {
            name: "TODOS".to_owned(),
            subjects: vec!["todos.>".to_owned()],
            ..stream::Config::default()
        })
        .await
        .unwrap();
    fill(client.clone(), 0..COUNT).await;
    let hook = Webhook::start();
    let daemon = durable(&nats.url(), &hook)
        .env("BROADCASTER__NATS__USER", "daemon")
        .env("BROADCASTER__NATS__PASSWORD", "daemon")
        .route("jetstream.ack_wait", "1s")
        .start()
        .await;
    daemon.wait_log(WHY, PATIENCE).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (status, body) = daemon.health().await;
    assert!(status == 503 && body.contains(WHY), "{status} {body}");
    assert_eq!(hook.received(), 0, "posted though it can't be acknowledged");
    let lines = daemon.logs().len();
    assert!(lines < 40, "{lines} lines: {:#?}", daemon.logs());

    nats.reload(&users("\"nobody.cares\"")).await;
    daemon.ready(Duration::from_secs(20)).await;
    hook.wait_delivered(300, PATIENCE).await;
    wait_acknowledged(&stream).await;

    // Taken away while it works: what was posted is acknowledged when it is given back, and not posted again.
    hook.answer(Reply::status(200).after(Duration::from_millis(500)));
    fill(client, COUNT..2 * COUNT).await;
    hook.wait_for(|hook| hook.received() > 320, PATIENCE).await;
    nats.reload(&users("\"$JS.ACK.>\"")).await;
    daemon.wait_log("stream in trouble", PATIENCE).await;
    hook.wait_for(|hook| hook.distinct() > 330, PATIENCE).await;
    nats.reload(&users("\"nobody.cares\"")).await;
    hook.wait_for(|hook| hook.distinct() == 600, PATIENCE).await;
    wait_acknowledged(&stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..2 * COUNT);
}
