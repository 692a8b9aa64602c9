//! The log: what gets a line, and how a line looks in each format and at each level.

use std::time::Duration;

use serde_json::Value;

use testkit::daemon::Daemon;
use testkit::metrics::Metrics;
use testkit::nats::NatsServer;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

const SOON: Duration = Duration::from_secs(60);

const FAILING: &str = "webhook is failing, its messages are retried";
const RECOVERED: &str = "webhook has recovered";
/// How many attempts are under way at the same time, by default.
const CONCURRENCY: u64 = 64;

#[tokio::test]
async fn a_failing_route_gets_a_line_and_a_recovered_one_another() {
    let hook = Webhook::answering([503]);
    let mut stage = Stage::set(&hook.url(), |daemon| {
        daemon.impatient().without_breaker().route("retry.attempts", "1000000")
    })
    .await;
    for number in 0..50 {
        stage.publish(number.to_string()).await;
    }
    stage.daemon.wait_log(FAILING, SOON).await;
    let many =
        |metrics: &Metrics| metrics.value("broadcaster_webhook_requests_total", &[("code", "503")]) >= 500.0;
    stage.daemon.wait_metrics(many, SOON).await;
    hook.answer(200);
    stage.daemon.wait_log(RECOVERED, SOON).await;
    let recovered = stage.daemon.events(RECOVERED);
    let told = recovered[0]["failed_attempts"].as_u64().expect("a number");
    // A page of the metrics is served again for a moment: this may be one of before.
    let all_told =
        |metrics: &Metrics| metrics.counted("broadcaster_webhook_requests_total", "code")["503"] >= told;
    stage.daemon.wait_metrics(all_told, SOON).await;
    let failed = stage.codes().await["503"];
    stage.close().await;

    let failing = stage.daemon.events(FAILING);
    assert_eq!(failing.len(), 1, "{failing:?}");
    for (field, value) in [("level", "WARN"), ("route", "default"), ("reason", "503")] {
        assert_eq!(failing[0][field], value, "{field} of {}", failing[0]);
    }
    assert_eq!(stage.daemon.events(RECOVERED), recovered, "said more than once");
    assert_eq!((&recovered[0]["level"], &recovered[0]["route"]), (&"INFO".into(), &"default".into()));
    // An attempt that was answered 503 may be heard of after another one that was answered 200.
    assert!((failed - CONCURRENCY..=failed).contains(&told), "{failed} failed, and it says {}", recovered[0]);
    let after = recovered[0]["after"].as_str().unwrap();
    let after = humantime::parse_duration(after).unwrap();
    assert!(after < SOON, "{after:?}");
    let lines = stage.daemon.logs();
    assert!(lines.len() < 20, "a line for each message: {lines:#?}");
}

#[tokio::test]
async fn debug_has_a_line_for_each_message() {
    let hook = Webhook::answering([503, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.impatient().env("LOG_LEVEL", "debug")).await;
    stage.publish_with(&[("Nats-Msg-Id", "order-7")], "0").await;
    stage.wait_processed(1).await;
    stage.close().await;
    for message in ["attempt failed", "delivered"] {
        let events = stage.daemon.events(message);
        assert_eq!(events.len(), 1, "{message}: {:?}", stage.daemon.logs());
        assert_eq!(events[0]["id"], "order-7", "{}", events[0]);
    }
}

#[tokio::test]
async fn json_is_one_object_a_line() {
    let hook = Webhook::answering([503, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.impatient().env("LOG_LEVEL", "debug")).await;
    stage.publish_with(&[("Nats-Msg-Id", "a\"\t{b")], "0").await;
    stage.wait_processed(1).await;
    stage.close().await;
    for line in stage.daemon.logs() {
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let time = event["timestamp"].as_str().unwrap_or_default();
        assert!(humantime::parse_rfc3339(time).is_ok(), "no time: {line}");
        for field in ["level", "message"] {
            assert!(event[field].as_str().is_some_and(|text| !text.is_empty()), "no {field}: {line}");
        }
    }
}

#[tokio::test]
async fn text_is_a_plain_line_for_people() {
    let nats = NatsServer::start().await;
    let daemon = Daemon::between(&nats, "http://127.0.0.1:1/").env("BROADCASTER__LOG__FORMAT", "text");
    let mut daemon = daemon.spawn();
    daemon.wait_log("route is live", SOON).await;
    daemon.term();
    assert!(daemon.wait(SOON).await.success());
    for line in daemon.logs() {
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default();
        assert!(humantime::parse_rfc3339(time).is_ok(), "no time: {line}");
        assert!(matches!(words.next(), Some("INFO" | "WARN" | "ERROR")), "no level: {line}");
        assert!(!line.contains('\u{1b}'), "colours in a file: {line:?}");
    }
    let stopped = daemon.logs_containing("stopped received=0 delivered=0");
    assert_eq!(stopped.len(), 1, "no account: {:?}", daemon.logs());
}

#[tokio::test]
async fn levels_hide_what_is_below() {
    let nats = NatsServer::start().await;
    let daemon = Daemon::between(&nats, "http://127.0.0.1:1/")
        .env("LOG_LEVEL", "warn")
        .env("BROADCASTER__RUNTIME__THREADS", "1");
    let mut daemon = daemon.spawn();
    nats.wait_subscriptions("todos.events", 1, SOON).await;
    daemon.term();
    assert!(daemon.wait(SOON).await.success());
    assert_eq!(daemon.logs(), Vec::<String>::new());
}

/// Whatever there is once for each lane is said once.
#[tokio::test]
async fn a_start_is_one_line_and_tells_what_becomes_of_messages() {
    let login = "authorization { user: daemon, password: \"correct-horse\" }";
    let nats = NatsServer::builder().config(login).start().await;
    let url = nats.url().replace("nats://", "nats://daemon:correct-horse@");
    let daemon = Daemon::new()
        .env("NATS_URL", url)
        .env("BROADCASTER__RUNTIME__THREADS", "3")
        .config(
            "[routes.a]\nwebhook.url = \"http://127.0.0.1:1/\"\n\
             [routes.b]\nsubject = \"b\"\nwebhook.url = \"http://127.0.0.1:1/\"\ndead_letter.subject = \"dead\"\n",
        );
    let mut daemon = daemon.start_ready().await;
    daemon.wait_log("connected to NATS", SOON).await;
    let start = &daemon.events("starting")[..];
    assert_eq!(start.len(), 1, "{start:?}");
    for (field, value) in [
        ("routes", "2".to_owned()),
        ("names", "\"a,b\"".to_owned()),
        ("lanes", "3".to_owned()),
        ("nats", format!("\"{}\"", nats.url())),
        ("api", format!("\"{}\"", daemon.api())),
        ("metrics", format!("\"{}\"", daemon.metrics_address())),
    ] {
        assert_eq!(start[0][field].to_string(), value, "{field} of {}", start[0]);
    }
    for field in ["version", "commit", "config"] {
        assert!(start[0][field].as_str().is_some_and(|text| !text.is_empty()), "no {field}: {}", start[0]);
    }
    let of_a = |text: &str| {
        daemon.logs_containing(text).iter().filter(|line| line.contains("\"route\":\"a\"")).count()
    };
    assert_eq!((of_a("given up are dropped"), of_a("todos.events, the default subject")), (1, 1));
    assert_eq!(daemon.logs_containing("given up are dropped").len(), 1, "the other route has dead letters");
    for (text, times) in [("connected to NATS", 1), ("route is live", 2), ("correct-horse", 0)] {
        let lines = daemon.logs_containing(text);
        assert_eq!(lines.len(), times, "{text}: {lines:?}");
    }
    daemon.term();
    assert!(daemon.wait(SOON).await.success());
}
