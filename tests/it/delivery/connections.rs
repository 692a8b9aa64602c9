//! How connections to a webhook are used again, and how they end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testkit::daemon::Daemon;
use testkit::raw::{self, Misbehaviour, RawPeer};
use testkit::stage::Stage;
use testkit::webhook::{Reply, Webhook};

const SOON: Duration = Duration::from_secs(60);

fn one_lane(daemon: Daemon) -> Daemon {
    daemon.env("BROADCASTER__RUNTIME__THREADS", "1").impatient()
}

/// Publishes the messages `0..count`, each when the one before is done with.
async fn publish_in_turn(stage: &Stage, count: u32) {
    for number in 0..count {
        stage.publish(number.to_string()).await;
        stage.wait_processed(number + 1).await;
    }
}

#[tokio::test]
async fn messages_in_turn_share_one_connection() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), one_lane).await;
    publish_in_turn(&stage, 30).await;
    assert_eq!((hook.delivered(), hook.connections()), (30, 1));
    stage.close().await;
}

#[tokio::test]
async fn a_burst_takes_no_more_connections_than_its_concurrency() {
    let hook = Webhook::start();
    let mut stage =
        Stage::set(&hook.url(), |daemon| one_lane(daemon).route("webhook.concurrency", "5")).await;
    for number in 0..1_000 {
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(1_000, SOON).await;
    assert!(hook.connections() <= 5, "{}", hook.summary());
    stage.wait_processed(1_000).await;
    stage.assert_codes([("200", 1_000)]).await;
    stage.close().await;
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_attempt() {
    for pause in [0, 50] {
        let close = Misbehaviour::CloseIdle(Duration::from_millis(pause));
        let peer = RawPeer::start([close, close, Misbehaviour::Say(raw::OK)]);
        let mut stage = Stage::set(&peer.url(), one_lane).await;
        for number in 0..3 {
            stage.publish(number.to_string()).await;
            stage.wait_processed(number + 1).await;
            let closings = usize::from(number > 0) + 1;
            peer.wait_for(|peer| peer.closed_by_peer() == closings.min(2), SOON).await;
        }
        stage.assert_codes([("200", 3)]).await;
        assert!(
            peer.requests().iter().all(|request| request.contains("broadcaster-attempt: 1\r\n")),
            "a second attempt was made: {:?}",
            peer.requests()
        );
        assert_eq!(peer.connections(), 3);
        stage.close().await;
    }
}

#[tokio::test]
async fn a_connection_closed_with_a_request_on_it_is_a_failure_of_the_webhook() {
    let peer = RawPeer::start([Misbehaviour::CloseOnSecond, Misbehaviour::Say(raw::OK)]);
    let mut stage = Stage::set(&peer.url(), one_lane).await;
    publish_in_turn(&stage, 2).await;
    stage.assert_codes([("200", 2), ("reset", 1)]).await;
    let requests = peer.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[2].contains("broadcaster-attempt: 1\r\n"), "the message paid: {}", requests[2]);
    stage.close().await;
}

#[tokio::test]
async fn a_webhook_that_closes_after_each_answer_costs_no_attempt() {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).header("connection", "close"));
    let mut stage = Stage::set(&hook.url(), one_lane).await;
    publish_in_turn(&stage, 10).await;
    assert_eq!((hook.delivered(), hook.connections()), (10, 10));
    stage.assert_codes([("200", 10)]).await;
    stage.close().await;
}

#[tokio::test]
async fn a_connection_is_replaced_at_its_maximum_age() {
    const AGE: Duration = Duration::from_millis(150);
    let hook = Webhook::start();
    let mut stage =
        Stage::set(&hook.url(), |daemon| one_lane(daemon).route("webhook.max_connection_age", "150ms")).await;
    let begin = Instant::now();
    let mut count = 0;
    while hook.connections() < 4 {
        assert!(begin.elapsed() < SOON, "no new connection: {}", hook.summary());
        stage.publish(count.to_string()).await;
        count += 1;
        stage.wait_processed(count).await;
    }
    assert!(begin.elapsed() >= 3 * AGE, "connections end too early: {}", hook.summary());
    let mut used = BTreeMap::new();
    for request in hook.requests() {
        let (_, last) = used.entry(request.connection).or_insert((request.at, request.at));
        *last = request.at;
    }
    for (connection, (first, last)) in used {
        // A request that began in time may take a moment to arrive.
        let age = last - first;
        assert!(age < 2 * AGE, "connection {connection} was used for {age:?}");
    }
    stage.assert_codes([("200", u64::from(count))]).await;
    stage.close().await;
}

/// The connection is closed `after` the only answer, not before, and the next message takes another one.
async fn assert_closes(after: Duration, answer: Reply, describe: impl FnOnce(Daemon) -> Daemon) {
    let hook = Webhook::start();
    hook.answer(answer);
    let mut stage = Stage::set(&hook.url(), |daemon| describe(one_lane(daemon))).await;
    stage.publish("0").await;
    hook.wait_for(|hook| hook.delivered() == 1 && hook.open_connections() == 0, SOON).await;
    let idle = hook.requests()[0].at.elapsed();
    assert!(idle >= after && idle < after + Duration::from_secs(3), "closed after {idle:?}, not {after:?}");
    stage.publish("1").await;
    stage.wait_processed(2).await;
    stage.assert_codes([("200", 2)]).await;
    assert_eq!(hook.connections(), 2);
    stage.close().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    assert_closes(Duration::from_millis(200), Reply::status(200), |daemon| {
        daemon.route("webhook.idle_timeout", "200ms")
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_closed_a_second_before_the_webhook_would() {
    for (header, after) in [("timeout=1", 0), ("max=9, timeout=2", 1)] {
        let answer = Reply::status(200).header("keep-alive", header);
        assert_closes(Duration::from_secs(after), answer, |daemon| daemon).await;
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_network_forgot_costs_two_seconds_and_no_attempt() {
    for size in [1, 300_000] {
        let peer = RawPeer::start([Misbehaviour::Vanish, Misbehaviour::Say(raw::OK)]);
        let mut stage = Stage::set(&peer.url(), one_lane).await;
        stage.publish("0").await;
        stage.wait_processed(1).await;
        // Only one that was idle for a while is doubted.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let begin = Instant::now();
        stage.publish(vec![b'1'; size]).await;
        stage.wait_processed(2).await;
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(4), "{size} bytes took {took:?}");
        stage.assert_codes([("200", 2)]).await;
        let requests = peer.requests();
        assert!(requests.len() == 2 && requests[1].contains("broadcaster-attempt: 1\r\n"), "{size} bytes");
        assert_eq!(peer.connections(), 2);
        stage.close().await;
    }
}

#[tokio::test]
async fn a_request_that_arrived_over_an_idle_connection_is_not_sent_again() {
    let peer = RawPeer::start([Misbehaviour::SilentOnSecond]);
    let mut stage = Stage::set(&peer.url(), |daemon| {
        one_lane(daemon).without_breaker().route("webhook.timeout", "6s").route("retry.attempts", "1")
    })
    .await;
    stage.publish("0").await;
    stage.wait_processed(1).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    stage.publish("1").await;
    stage.wait_processed(2).await;
    stage.assert_codes([("200", 1), ("timeout", 1)]).await;
    assert_eq!((peer.requests().len(), peer.connections()), (2, 1));
    stage.close().await;
}
