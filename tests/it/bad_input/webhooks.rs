//! Webhooks that answer as no webhook should.

use std::time::{Duration, Instant};

use testkit::daemon::Daemon;
use testkit::nats::next;
use testkit::raw::{self, Misbehaviour, RawPeer};
use testkit::stage::Stage;
use testkit::webhook::{Reply, Webhook};

const SOON: Duration = Duration::from_secs(60);

/// One connection at a time, and no long wait for an answer.
fn hasty(daemon: Daemon) -> Daemon {
    let daemon = daemon.env("BROADCASTER__RUNTIME__THREADS", "1").impatient();
    daemon.route("webhook.concurrency", "1").route("webhook.timeout", "400ms")
}

/// A message whose first attempt meets `bad`, and is counted as `code`. The next attempt meets a good webhook, and so
/// does another message.
async fn assert_retried(bad: Misbehaviour, code: &str) {
    assert_retried_for(bad, &[code]).await;
}

/// The same, where it depends on the moment which of `codes` it is.
async fn assert_retried_for(bad: Misbehaviour, codes: &[&str]) {
    let peer = RawPeer::start([bad, Misbehaviour::Say(raw::OK)]);
    let mut stage = Stage::set(&peer.url(), hasty).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    stage.publish("2").await;
    stage.wait_processed(2).await;
    let counted = stage.codes().await;
    let failures: Vec<_> = counted.iter().filter(|(code, _)| *code != "200").collect();
    assert!(
        counted["200"] == 2
            && failures.len() == 1
            && *failures[0].1 == 1
            && codes.contains(&failures[0].0.as_str()),
        "attempts by their code: {counted:?}, expected one of {codes:?}"
    );
    assert_eq!(peer.connections(), 2, "a connection that went wrong must not be used again");
    let account = stage.close().await;
    assert_eq!((account.received, account.delivered), (2, 2));
}

/// A message that meets `odd` and is delivered by it, and another message that meets a good webhook.
async fn assert_delivered(odd: Misbehaviour, connections: usize) -> RawPeer {
    let peer = RawPeer::start([odd, Misbehaviour::Say(raw::OK)]);
    let mut stage = Stage::set(&peer.url(), hasty).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    stage.publish("2").await;
    stage.wait_processed(2).await;
    stage.assert_codes([("200", 2)]).await;
    assert_eq!(peer.connections(), connections);
    let account = stage.close().await;
    assert_eq!((account.received, account.delivered), (2, 2));
    peer
}

#[tokio::test]
async fn garbage_is_a_failure_of_the_protocol() {
    assert_retried(Misbehaviour::Say(raw::GARBAGE), "protocol").await;
}

#[tokio::test]
async fn what_is_odd_behind_a_status_ends_the_connection_and_the_delivery_counts() {
    for odd in [
        Misbehaviour::Say(raw::TWO_LENGTHS),
        Misbehaviour::SayAndClose(raw::BAD_CHUNK),
        Misbehaviour::EndlessHead,
        Misbehaviour::SayAndClose(raw::HALF_AN_ANSWER),
        Misbehaviour::SayAndClose(raw::HALF_A_HEAD),
        Misbehaviour::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\r\n"),
        Misbehaviour::Say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok"),
        Misbehaviour::Say(b"HTTP/1.1 200 OK\r\nthis is no field\r\ncontent-length: 2\r\n\r\nok"),
    ] {
        assert_delivered(odd, 2).await;
    }
}

#[tokio::test]
async fn what_is_odd_is_said_once_for_a_route() {
    let peer = RawPeer::start([Misbehaviour::Say(raw::TWO_LENGTHS)]);
    let mut stage = Stage::set(&peer.url(), hasty).await;
    for number in 0..5 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(5).await;
    stage.assert_codes([("200", 5)]).await;
    assert_eq!(stage.close().await.delivered, 5);
    let said = stage.daemon.logs_containing("webhook answers oddly");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("more than one Content-Length") && said[0].contains("default"), "{said:?}");
}

#[tokio::test]
async fn a_refusal_counts_by_its_status_whatever_is_odd_behind_it() {
    const REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nno id";
    const BUSY: &[u8] =
        b"HTTP/1.1 503 Busy\r\nno field\r\nretry-after: 1\r\ncontent-length: 4\r\n\r\nbusy\r\n";
    let peer = RawPeer::start([Misbehaviour::Say(BUSY), Misbehaviour::Say(REFUSED)]);
    let mut stage = Stage::set(&peer.url(), |daemon| {
        hasty(daemon).route("retry.max", "5s").route("dead_letter.subject", "dead")
    })
    .await;
    let mut dead = stage.client.subscribe("dead").await.unwrap();
    stage.nats.wait_subscriptions("dead", 1, SOON).await;
    let begin = Instant::now();
    stage.publish("1").await;
    let headers = next(&mut dead, SOON).await.headers.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1), "the webhook asked for a second");
    let value = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    assert_eq!(value("Broadcaster-Last-Status"), Some("400"));
    assert_eq!(value("Broadcaster-Last-Answer"), Some("no id"));
    assert_eq!(value("Broadcaster-Last-Cause"), Some("more than one Content-Length"));
    stage.assert_codes([("400", 1), ("503", 1)]).await;
    stage.close().await;
}

#[tokio::test]
async fn an_answer_in_http_1_0_is_an_answer() {
    assert_delivered(Misbehaviour::SayAndClose(raw::HTTP_1_0), 2).await;
}

#[tokio::test]
async fn an_informational_answer_is_waited_out() {
    assert_delivered(Misbehaviour::Say(raw::CONTINUE_FIRST), 1).await;
}

#[tokio::test]
async fn a_webhook_that_never_answers_times_out() {
    assert_retried(Misbehaviour::NeverAnswer, "timeout").await;
}

#[tokio::test]
async fn a_byte_a_second_times_out_and_a_slow_answer_in_time_does_not() {
    assert_retried(Misbehaviour::Drip(raw::OK, Duration::from_secs(1)), "timeout").await;
    assert_delivered(Misbehaviour::Drip(raw::HTTP_1_0, Duration::from_millis(1)), 2).await;
}

#[tokio::test]
async fn a_body_that_trickles_holds_up_a_message_no_longer_than_a_second() {
    let trickle: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n0123456789012345678901234567890123456789";
    // Its head alone takes half a second.
    let peer =
        RawPeer::start([Misbehaviour::Drip(trickle, Duration::from_millis(12)), Misbehaviour::Say(raw::OK)]);
    let mut stage = Stage::set(&peer.url(), |daemon| hasty(daemon).route("webhook.timeout", "30s")).await;
    let begin = Instant::now();
    stage.publish("1").await;
    stage.wait_processed(1).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    stage.assert_codes([("200", 1)]).await;
    stage.close().await;
}

#[tokio::test]
async fn a_body_of_ten_gigabytes_is_not_read() {
    // What the system takes for a client that reads nothing more.
    const BUFFERS: u64 = 16 * 1024 * 1024;
    let peer = assert_delivered(Misbehaviour::EndlessBody, 2).await;
    peer.wait_for(|peer| peer.closed_by_client() >= 1, SOON).await;
    assert!(peer.bytes_sent() < BUFFERS, "{} bytes of the body were taken", peer.bytes_sent());
}

#[tokio::test]
async fn an_answer_that_ends_before_its_status_is_a_reset() {
    assert_retried(Misbehaviour::SayAndClose(b"HTTP/1.1 200"), "reset").await;
    assert_retried(Misbehaviour::SayAndClose(b""), "reset").await;
}

#[tokio::test]
async fn a_connection_that_is_reset_is_a_reset() {
    assert_retried(Misbehaviour::Reset, "reset").await;
    // It may come before the connection counts as made.
    assert_retried_for(Misbehaviour::ResetUnread, &["reset", "connect"]).await;
}

#[tokio::test]
async fn a_second_answer_to_one_request_is_not_taken_for_the_next_ones() {
    let peer = RawPeer::start([Misbehaviour::Say(raw::TWO_ANSWERS), Misbehaviour::Say(raw::OK)]);
    let mut stage = Stage::set(&peer.url(), hasty).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    stage.assert_codes([("503", 1), ("200", 1)]).await;
    assert_eq!((peer.requests().len(), peer.connections()), (2, 2), "the second answer was believed");
    stage.close().await;
}

#[tokio::test]
async fn a_change_of_the_protocol_is_refused() {
    let peer = RawPeer::start([Misbehaviour::Say(raw::SWITCHING_PROTOCOLS), Misbehaviour::Say(raw::OK)]);
    let mut stage = Stage::set(&peer.url(), |daemon| hasty(daemon).without_breaker()).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    stage.publish("2").await;
    stage.wait_processed(2).await;
    stage.assert_codes([("200", 1), ("other", 1)]).await;
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dropped), (1, 1));
}

#[tokio::test]
async fn a_redirect_is_rejected_and_never_followed() {
    let (elsewhere, hook) = (Webhook::start(), Webhook::start());
    let redirects =
        [301, 302, 303, 307, 308].map(|status| Reply::status(status).header("location", &elsewhere.url()));
    hook.answer(redirects);
    let mut stage = Stage::set(&hook.url(), |daemon| hasty(daemon).without_breaker()).await;
    for number in 0..5 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(5).await;
    hook.answer(200);
    stage.publish("5").await;
    hook.wait_delivered(1, SOON).await;
    assert_eq!((elsewhere.received(), hook.received()), (0, 6), "a redirect was followed or retried");
    let expected = [("200", 1), ("301", 1), ("302", 1), ("303", 1), ("307", 1), ("308", 1)];
    stage.wait_processed(6).await;
    stage.assert_codes(expected).await;
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dropped), (1, 5));
    let drops = stage.daemon.events("message dropped");
    let rejected = drops.iter().filter(|drop| drop["reason"] == "rejected");
    assert_eq!(rejected.count(), 5, "{drops:?}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_webhook_that_never_answers() {
    let peer = RawPeer::start([Misbehaviour::NeverAnswer]);
    let daemon = |daemon: Daemon| daemon.env("BROADCASTER__SHUTDOWN__GRACE", "300ms");
    let mut stage = Stage::set(&peer.url(), daemon).await;
    stage.publish("1").await;
    peer.wait_for(|peer| peer.requests().len() == 1, SOON).await;
    let begin = Instant::now();
    let account = stage.close().await;
    assert!(begin.elapsed() < Duration::from_secs(10), "the stop took {:?}", begin.elapsed());
    assert_eq!((account.received, account.dropped), (1, 1));
}
