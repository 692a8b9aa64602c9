//! How long connections last, how they end, and that all else is as over HTTP/1.1.

use std::time::Duration;

use testkit::stage::Stage;
use testkit::webhook::{Behaviour, Reply, Webhook};

use super::http2;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_idle_connection_is_closed_in_time_and_opened_again() {
    let hook = Webhook::start_http2();
    let mut stage =
        Stage::set(&hook.url(), |daemon| http2(daemon).route("webhook.idle_timeout", "200ms")).await;
    for turn in 1..=2 {
        stage.publish("0").await;
        stage.wait_processed(turn).await;
        hook.wait_for(|hook| hook.open_connections() == 0, SOON).await;
        assert_eq!(hook.connections(), turn as usize);
    }
    stage.assert_codes([("200", 2)]).await;
    stage.close().await;
}

#[tokio::test]
async fn an_old_connection_is_replaced_under_load_at_no_cost() {
    let hook = Webhook::start_http2();
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    let mut stage =
        Stage::set(&hook.url(), |daemon| http2(daemon).route("webhook.max_connection_age", "100ms")).await;
    for number in 0..2_000 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(2_000).await;
    hook.assert_exactly_once(0..2_000);
    assert!(hook.connections() > 2, "{}", hook.summary());
    stage.assert_codes([("200", 2_000)]).await;
    stage.close().await;
}

#[tokio::test]
async fn a_connection_that_is_closed_while_idle_costs_no_attempt() {
    let hook = Webhook::start_http2();
    let mut stage = Stage::set(&hook.url(), http2).await;
    for turn in 1..=3 {
        stage.publish("0").await;
        stage.wait_processed(turn).await;
        hook.close_connections().await;
    }
    stage.assert_codes([("200", 3)]).await;
    assert_eq!(hook.connections(), 3);
    stage.close().await;
}

#[tokio::test]
async fn a_webhook_that_goes_and_comes_back_is_found_again() {
    let hook = Webhook::start_http2();
    let mut stage = Stage::set(&hook.url(), |daemon| http2(daemon).without_breaker()).await;
    for number in 0..400 {
        if number == 100 {
            hook.down().await;
        }
        if number == 300 {
            hook.up().await;
        }
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(400, SOON).await;
    stage.wait_processed(400).await;
    let account = stage.close().await;
    assert_eq!(account.delivered, 400);
}

#[tokio::test]
async fn what_answers_say_counts_as_over_http_1() {
    let hook = Webhook::start_http2();
    let mut seen = std::collections::HashSet::new();
    hook.answer(Behaviour::by(move |request| {
        let first = seen.insert(request.body.clone());
        match &request.body[..] {
            b"retry" if first => Reply::status(200).header("webhook-delivery", "retry"),
            b"again" if first => Reply::status(202).body("{\"verdict\": \"retry\"}"),
            b"drop" => Reply::status(400).header("webhook-delivery", "drop"),
            b"busy" if first => Reply::status(503).header("retry-after", "0").body("too busy"),
            b"bad" => Reply::status(400).body("no such thing"),
            _ => Reply::status(200),
        }
    }));
    let mut stage = Stage::set(&hook.url(), |daemon| http2(daemon).route("answer.verdict", "true")).await;
    for body in ["retry", "again", "drop", "busy", "bad", "good"] {
        stage.publish(body).await;
    }
    stage.wait_processed(6).await;
    stage.assert_codes([("200", 4), ("400", 2), ("503", 1), ("asked_again", 2)]).await;
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dropped, account.filtered), (4, 1, 1));
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_breaks_off_the_rest() {
    let hook = Webhook::start_http2();
    hook.answer(Behaviour::by(|request| {
        let late = if request.body.starts_with(b"late") { 3600 } else { 1 };
        Reply::status(200).after(Duration::from_secs(late))
    }));
    let mut stage =
        Stage::set(&hook.url(), |daemon| http2(daemon).env("BROADCASTER__SHUTDOWN__GRACE", "3s")).await;
    for body in ["0", "late", "1"] {
        stage.publish(body).await;
    }
    hook.wait_for(|hook| hook.received() == 3, SOON).await;
    let account = stage.close().await;
    assert_eq!(account.delivered, 2, "{account:?}");
}
