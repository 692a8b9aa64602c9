//! The part of the kit that makes streams and clusters is tested here, too.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, AckKind, consumer::pull::Config};

use super::SOON;
use testkit::nats::cluster::Cluster;
use testkit::nats::streams::Stream;
use testkit::nats::{NatsServer, next};
use testkit::publisher::Publisher;

/// How long a cluster may need to elect a leader, on a busy machine.
const ELECTION: Duration = Duration::from_secs(60);

/// Asks the consumer for so many messages and acknowledges them; gives what they hold.
async fn take(client: &async_nats::Client, consumer: &str, count: usize) -> Vec<String> {
    let inbox = client.new_inbox();
    let mut replies = client.subscribe(inbox.clone()).await.expect("a subscription");
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.KIT.{consumer}");
    client.publish_with_reply(subject, inbox, count.to_string().into()).await.expect("NATS takes it");
    let mut bodies = Vec::new();
    for _ in 0..count {
        let message = next(&mut replies, SOON).await;
        bodies.push(String::from_utf8_lossy(&message.payload).into_owned());
        let reply = message.reply.expect("a message of a stream is to be acknowledged");
        client.publish(reply, AckKind::Ack.into()).await.expect("NATS takes it");
    }
    bodies
}

async fn fill(client: async_nats::Client, count: u64) {
    Publisher::new(client, "kit.numbers").store(count).await;
}

#[tokio::test]
async fn a_stream_keeps_what_it_confirmed_over_a_kill() {
    let mut nats = NatsServer::start().await;
    let stream = nats.stream("KIT", &["kit.>"]).await;
    fill(nats.client().await, 50).await;
    assert_eq!(stream.messages().await, 50);
    nats.kill();
    nats.restart().await;
    assert_eq!(stream.messages().await, 50, "the client of the kit has found the server again");
    fill(nats.client().await, 7).await;
    assert_eq!(stream.messages().await, 57);
}

#[tokio::test]
async fn fifty_thousand_messages_are_stored_quickly() {
    const COUNT: u64 = 50_000;
    let nats = NatsServer::start().await;
    let stream = nats.stream("KIT", &["kit.>"]).await;
    let client = nats.client().await;
    let begin = Instant::now();
    fill(client, COUNT).await;
    let took = begin.elapsed();
    assert_eq!(stream.messages().await, COUNT);
    assert!(took < Duration::from_secs(15), "it took {took:?}");
}

#[tokio::test]
#[should_panic(expected = "the stream does not keep message 0")]
async fn a_message_that_no_stream_keeps_is_named() {
    fill(NatsServer::start().await.client().await, 1).await;
}

#[tokio::test]
async fn a_consumer_is_made_looked_at_and_deleted() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("KIT", &["kit.>"]).await;
    assert!(stream.find_consumer("worker").await.is_none());
    fill(nats.client().await, 10).await;
    stream
        .make_consumer("worker", Config { ack_wait: Duration::from_millis(200), ..Config::default() })
        .await;
    assert_eq!(stream.consumer("worker").await.num_pending, 10);

    let client = nats.client().await;
    assert_eq!(take(&client, "worker", 4).await, ["0", "1", "2", "3"]);
    stream.wait_consumer("worker", |info| info.num_pending == 6 && info.num_ack_pending == 0, SOON).await;

    // Delivered without an ack, and after ack_wait again.
    let inbox = client.new_inbox();
    let mut replies = client.subscribe(inbox.clone()).await.expect("a subscription");
    let subject = "$JS.API.CONSUMER.MSG.NEXT.KIT.worker";
    client.publish_with_reply(subject, inbox, "2".into()).await.unwrap();
    assert_eq!(&next(&mut replies, SOON).await.payload[..], b"4");
    stream.wait_consumer("worker", |info| info.num_ack_pending >= 1, SOON).await;
    assert_eq!(take(&client, "worker", 6).await.len(), 6);
    stream.wait_consumer("worker", |info| info.num_pending == 0, SOON).await;

    stream.delete_consumer("worker").await;
    assert!(stream.find_consumer("worker").await.is_none());
    stream.make_consumer("worker", Config::default()).await;
    assert_eq!(take(&client, "worker", 10).await.len(), 10);
    stream.wait_acknowledged("worker", SOON).await;
}

#[tokio::test]
#[should_panic(expected = "consumer nobody is not as expected after 20ms: None")]
async fn a_wait_for_a_consumer_says_what_there_is() {
    let nats = NatsServer::start().await;
    let stream = nats.stream("KIT", &["kit.>"]).await;
    stream.wait_consumer("nobody", |_| true, Duration::from_millis(20)).await;
}

/// Waits until the cluster has chosen another leader than this.
async fn wait_other_leader(stream: &Stream, former: &str) {
    let end = Instant::now() + ELECTION;
    while stream.leader().await == former {
        assert!(Instant::now() < end, "no new leader after {ELECTION:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_stream_in_a_cluster_survives_the_kill_of_its_leader() {
    let mut cluster = Cluster::start().await;
    let stream = cluster.stream("KIT", &["kit.>"]).await;
    assert_eq!(stream.info().await.config.num_replicas, 3);
    stream.make_consumer("worker", Config::default()).await;
    fill(cluster.client().await, 1_000).await;

    let killed = cluster.kill_leader(&stream).await;
    wait_other_leader(&stream, &killed).await;
    assert_eq!(stream.messages().await, 1_000);
    fill(cluster.client().await, 500).await;
    cluster.restart(&killed).await;
    assert_eq!(stream.messages().await, 1_500);

    // The one that was killed has what it missed: the other two alone could not tell.
    let followers =
        |info: jetstream::stream::Info| info.cluster.map(|cluster| cluster.replicas).unwrap_or_default();
    let end = Instant::now() + ELECTION;
    while followers(stream.info().await).iter().any(|follower| !follower.current) {
        assert!(Instant::now() < end, "{killed} does not keep up: {:?}", stream.info().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let killed = cluster.kill_consumer_leader(&stream, "worker").await;
    assert_ne!(stream.consumer_leader("worker").await, killed);
    assert_eq!(stream.messages().await, 1_500);
    stream.wait_consumer("worker", |info| info.num_pending == 1_500, ELECTION).await;
    assert_eq!(take(&cluster.client().await, "worker", 100).await.len(), 100);
}
