//! What has been sent when a stop begins is delivered or given back, and nothing is taken after that.

use super::*;
use testkit::{nats::cluster::Cluster, publisher::Publisher, webhook::Reply};

/// Stops a replica again and again while messages come. What is stranded would come again only after 30 seconds.
async fn stops(url: &str, client: async_nats::Client, stream: &stream::Stream, stops: u64, rate: u32) {
    let hook = Webhook::counting();
    hook.answer(Reply::status(200).after(Duration::from_millis(5)));
    let coming = Publisher::new(client, "todos.events").steadily(rate);
    let mut slowest = Duration::ZERO;
    for _ in 0..stops {
        let mut daemon = durable(url, &hook).start_ready().await;
        let before = hook.distinct();
        hook.wait_for(|hook| hook.distinct() > before + 5, PATIENCE).await;
        let began = tokio::time::Instant::now();
        let account = daemon.stop().await;
        slowest = slowest.max(began.elapsed());
        assert!(account.adds_up() && account.in_hand == 0, "{account:?}");
        // In a cluster it takes its servers a moment to agree on what they were told.
        let returned = usize::try_from(account.returned).expect("it is a count");
        let end = tokio::time::Instant::now() + Duration::from_secs(1);
        loop {
            let info = consumer_info(stream).await;
            if info.num_ack_pending <= returned {
                break;
            }
            assert!(tokio::time::Instant::now() < end, "stranded: {info:?}, {account:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let published = coming.stop().await.count();
    let daemon = durable(url, &hook).start_ready().await;
    hook.wait_for(|hook| hook.distinct() as u64 == published, Duration::from_secs(10)).await;
    wait_acknowledged(stream).await;
    stop(daemon).await;
    hook.assert_exactly_once(0..published);
    assert!(slowest < Duration::from_secs(2), "a stop took {slowest:?}");
}

#[tokio::test]
async fn a_stop_strands_nothing() {
    let nats = NatsServer::start().await;
    let stream = make_stream(&nats).await;
    stops(&nats.url(), nats.client().await, &stream, 8, 400).await;
}

#[tokio::test]
#[ignore = "takes minutes: by hand, when the end of a session changes"]
async fn a_hundred_stops_strand_nothing() {
    let nats = NatsServer::start().await;
    let stream = make_stream(&nats).await;
    stops(&nats.url(), nats.client().await, &stream, 100, 400).await;
}

#[tokio::test]
#[ignore = "takes minutes: by hand, when the end of a session changes"]
async fn a_hundred_stops_in_a_cluster_strand_nothing() {
    let cluster = Cluster::start().await;
    cluster.stream("TODOS", &["todos.>"]).await;
    let client = cluster.client().await;
    let stream = jetstream::new(client.clone()).get_stream("TODOS").await.unwrap();
    stops(&cluster.url(), client, &stream, 100, 400).await;
}
