//! Webhooks that answer as no webhook should.

use std::time::{Duration, Instant};

use testkit::daemon::Daemon;
use testkit::raw::{self, Misbehaviour, RawPeer};
use testkit::stage::Stage;
use testkit::webhook::{Reply, Webhook};

const SOON: Duration = Duration::from_secs(20);

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
    assert_retried(Misbehaviour::SayAndClose(raw::BAD_CHUNK), "protocol").await;
}

#[tokio::test]
async fn a_head_without_an_end_is_a_failure_of_the_protocol() {
    assert_retried(Misbehaviour::EndlessHead, "protocol").await;
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
async fn a_body_of_ten_gigabytes_is_not_read() {
    // What the system takes for a client that reads nothing more.
    const BUFFERS: u64 = 16 * 1024 * 1024;
    let peer = assert_delivered(Misbehaviour::EndlessBody, 2).await;
    peer.wait_for(|peer| peer.closed_by_client() >= 1, SOON).await;
    assert!(peer.bytes_sent() < BUFFERS, "{} bytes of the body were taken", peer.bytes_sent());
}

#[tokio::test]
async fn an_answer_that_ends_in_the_middle_is_a_reset() {
    assert_retried(Misbehaviour::SayAndClose(raw::HALF_AN_ANSWER), "reset").await;
    assert_retried(Misbehaviour::SayAndClose(raw::HALF_A_HEAD), "reset").await;
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
    stage.assert_codes([("protocol", 1), ("200", 1)]).await;
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
