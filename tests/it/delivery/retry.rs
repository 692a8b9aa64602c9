//! What follows a failed attempt: another one, a pause, or the end of the message.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use testkit::daemon::Daemon;
use testkit::nats::next;
use testkit::stage::Stage;
use testkit::webhook::{Behaviour, Received, Reply, Webhook};

const SOON: Duration = Duration::from_secs(60);

/// Publishes one message for each of `statuses`, which answer its first attempt; later ones are answered 200. Gives how
/// many attempts each got.
async fn attempts_after(statuses: &[u16], describe: impl FnOnce(Daemon) -> Daemon) -> (Stage, Vec<usize>) {
    let hook = Webhook::start();
    let (first, mut seen) = (statuses.to_vec(), HashSet::new());
    hook.answer(Behaviour::by(move |request| {
        let number = request.number().expect("messages have a number");
        let place = usize::try_from(number).expect("it is an index");
        Reply::status(if seen.insert(number) { first[place] } else { 200 })
    }));
    let stage = Stage::set(&hook.url(), |daemon| describe(daemon.impatient().without_breaker())).await;
    for number in 0..statuses.len() {
        stage.publish(number.to_string()).await;
    }
    let count = u32::try_from(statuses.len()).expect("it is a handful");
    stage.wait_processed(count).await;
    let requests = hook.requests();
    let of =
        |number: usize| requests.iter().filter(|request| request.number() == Some(number as u64)).count();
    let attempts = (0..statuses.len()).map(of).collect();
    (stage, attempts)
}

/// Each of `retried` brings a second attempt, each of `rejected` none.
async fn assert_rule(retried: &[u16], rejected: &[u16], describe: impl FnOnce(Daemon) -> Daemon) {
    let (mut stage, attempts) = attempts_after(&[retried, rejected].concat(), describe).await;
    let (twice, once) = attempts.split_at(retried.len());
    assert!(twice.iter().all(|count| *count == 2), "{retried:?} got {twice:?} attempts");
    assert!(once.iter().all(|count| *count == 1), "{rejected:?} got {once:?} attempts");
    let codes = stage.codes().await;
    for status in [retried, rejected].concat() {
        let labels = [status.to_string(), format!("{}xx", status / 100), "other".to_owned()];
        assert!(labels.iter().any(|label| codes.contains_key(label)), "{status} is not among {codes:?}");
    }
    assert_eq!(codes.values().sum::<u64>(), attempts.iter().sum::<usize>() as u64, "{codes:?}");
    let account = stage.close().await;
    let expected = (retried.len() as u64, rejected.len() as u64);
    assert_eq!((account.delivered, account.dropped), expected);
}

#[tokio::test]
async fn statuses_are_retried_or_rejected_as_documented() {
    let retried = [408, 425, 429, 500, 502, 503, 504, 507, 599];
    let rejected = [300, 304, 307, 400, 401, 403, 404, 409, 410, 413, 422, 451, 501, 799];
    assert_rule(&retried, &rejected, |daemon| daemon).await;
}

#[tokio::test]
async fn the_retried_statuses_can_be_configured() {
    let statuses = "[routes.default.retry]\nstatuses = [\"404\", \"5xx\", \"!503\"]\n";
    // 429 is no answer to the message, whatever is configured.
    assert_rule(&[404, 429, 500, 501], &[400, 503], |daemon| daemon.config(statuses)).await;
}

#[tokio::test]
async fn a_message_out_of_attempts_becomes_a_dead_letter_that_says_why() {
    let hook = Webhook::answering([503, 502, 500]);
    let mut stage = Stage::set(&hook.url(), |daemon| {
        let daemon = daemon.impatient().without_breaker().env("NATS_SUBJECT", "todos.*");
        daemon.route("retry.attempts", "3").route("dead_letter.subject", "dead.todos")
    })
    .await;
    let mut dead = stage.client.subscribe("dead.>").await.unwrap();
    stage.nats.wait_subscriptions("dead.>", 1, SOON).await;
    let begin = SystemTime::now();
    let headers = [("Nats-Msg-Id", "order-7"), ("X-Tenant", "a"), ("X-Tenant", "b"), ("Nats-TTL", "1s")];
    stage.publish_with(&headers, "0 \u{1f41f}").await;

    let letter = next(&mut dead, SOON).await;
    assert_eq!((letter.subject.as_str(), &letter.payload[..]), ("dead.todos", "0 \u{1f41f}".as_bytes()));
    let headers = letter.headers.unwrap();
    let value = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    for (name, expected) in [
        ("Broadcaster-Id", Some("order-7")),
        ("Broadcaster-Reason", Some("attempts_exhausted")),
        ("Broadcaster-Last-Failure", Some("500")),
        ("Broadcaster-Last-Status", Some("500")),
        ("Broadcaster-Attempts", Some("3")),
        ("Broadcaster-Route", Some("default")),
        ("Broadcaster-Subject", Some("todos.events")),
        ("Nats-TTL", None),
    ] {
        assert_eq!(value(name), expected, "{name} of {headers:?}");
    }
    // Each death has its own: a message may die twice.
    assert!(value("Nats-Msg-Id").is_some_and(|id| id.starts_with("default:order-7:")), "{headers:?}");
    let tenants: Vec<_> = headers.get_all("X-Tenant").map(async_nats::HeaderValue::as_str).collect();
    assert_eq!(tenants, ["a", "b"]);
    let time = |name: &str| humantime::parse_rfc3339(value(name).unwrap()).unwrap();
    let (received, died) = (time("Broadcaster-Received"), time("Broadcaster-Died"));
    // The times are cut to milliseconds.
    let begin = begin - Duration::from_millis(2);
    assert!(begin <= received && received <= died && died <= SystemTime::now());

    let account = stage.close().await;
    assert_eq!((account.received, account.dead_lettered), (1, 1));
    assert_eq!(hook.received(), 3);
}

#[tokio::test]
async fn a_dead_letter_without_an_answer_has_no_last_status() {
    let hook = Webhook::start();
    hook.down().await;
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.without_breaker().route("retry.attempts", "1").route("dead_letter.subject", "dead")
    })
    .await;
    let mut dead = stage.client.subscribe("dead").await.unwrap();
    stage.nats.wait_subscriptions("dead", 1, SOON).await;
    stage.publish("0").await;
    let headers = next(&mut dead, SOON).await.headers.unwrap();
    let value = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    assert_eq!(value("Broadcaster-Last-Failure"), Some("connect"));
    assert_eq!(value("Broadcaster-Last-Status"), None);
    assert_eq!(value("Broadcaster-Attempts"), Some("1"));
    assert!(value("Broadcaster-Id").is_some_and(|id| id.len() == 36), "{headers:?}");
    assert_eq!(stage.close().await.dead_lettered, 1);
}

#[tokio::test]
async fn without_a_place_for_dead_letters_the_message_is_dropped_and_named() {
    let hook = Webhook::answering([503]);
    let mut stage =
        Stage::set(&hook.url(), |daemon| daemon.impatient().without_breaker().route("retry.attempts", "2"))
            .await;
    stage.publish_with(&[("Nats-Msg-Id", "order-7")], "0").await;
    stage.wait_processed(1).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.dropped, hook.received()), (1, 1, 2));
    let drops = stage.daemon.events("message dropped");
    assert_eq!(drops.len(), 1, "{drops:?}");
    let expected =
        [("id", "order-7"), ("route", "default"), ("reason", "attempts_exhausted"), ("last_failure", "503")];
    for (field, value) in expected {
        assert_eq!(drops[0][field], value, "{field} of {}", drops[0]);
    }
    assert_eq!(drops[0]["attempts"], 2);
}

/// A webhook that answers the first request 429 with what `retry_after` says, and all others 200. After the first
/// answer, 20 more messages are published; gives all requests.
async fn requests_around(
    retry_after: impl FnMut() -> String + Send + 'static,
    describe: impl FnOnce(Daemon) -> Daemon,
) -> Vec<Received> {
    let hook = Webhook::start();
    let mut first = Some(retry_after);
    hook.answer(Behaviour::by(move |_| match first.take() {
        Some(mut retry_after) => Reply::status(429).header("retry-after", &retry_after()),
        None => Reply::status(200),
    }));
    // Two lanes: the pause is for both.
    let two = |daemon: Daemon| daemon.env("BROADCASTER__RUNTIME__THREADS", "2");
    let mut stage =
        Stage::set(&hook.url(), |daemon| describe(two(daemon).route("retry.initial", "5ms"))).await;
    stage.publish("0").await;
    let asked = |metrics: &testkit::metrics::Metrics| {
        metrics.value("broadcaster_webhook_requests_total", &[("code", "429")]) >= 1.0
    };
    stage.daemon.wait_metrics(asked, SOON).await;
    for number in 1..=20 {
        stage.publish(number.to_string()).await;
    }
    hook.wait_delivered(21, SOON).await;
    hook.assert_exactly_once(0..21);
    stage.close().await;
    hook.requests()
}

#[tokio::test]
async fn retry_after_in_seconds_pauses_the_whole_route() {
    let requests = requests_around(|| "1".to_owned(), |daemon| daemon).await;
    let pause = requests[1].at - requests[0].at;
    assert!(pause >= Duration::from_secs(1), "a request came after {pause:?}");
}

#[tokio::test]
async fn retry_after_as_a_date_pauses_the_whole_route() {
    let until = Arc::new(Mutex::new(None));
    let shared = Arc::clone(&until);
    let date = move || {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
        *shared.lock().unwrap() = Some(httpdate::parse_http_date(&date).unwrap());
        date
    };
    let requests = requests_around(date, |daemon| daemon).await;
    let came = SystemTime::now() - requests[1].at.elapsed();
    let until = until.lock().unwrap().unwrap();
    // Two clocks are compared: a little tolerance.
    assert!(
        came + Duration::from_millis(20) >= until,
        "a request came {:?} too early",
        until.duration_since(came)
    );
}

#[tokio::test]
async fn retry_after_is_clamped_to_the_longest_wait() {
    let requests = requests_around(|| "86400".to_owned(), |daemon| daemon.route("retry.max", "400ms")).await;
    let pause = requests[1].at - requests[0].at;
    assert!(pause >= Duration::from_millis(400), "a request came after {pause:?}");
}
