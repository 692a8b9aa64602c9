//! `/metrics`: its formats, what is there from the start, and whether the figures agree with what the webhook saw.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::metrics::Metrics;
use testkit::stage::Stage;
use testkit::webhook::Webhook;
use testkit::{http, process};

const SOON: Duration = Duration::from_secs(60);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What Prometheus sends by default.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

/// A scrape in the format that is asked for, and its content type.
async fn scrape(stage: &Stage, accept: &str) -> (String, String) {
    let answer = http::get_accepting(stage.daemon.metrics_address(), "/metrics", accept).await;
    let answer = answer.expect("the daemon answers");
    assert_eq!(answer.status, 200);
    let content_type = answer.headers["content-type"].to_str().expect("it is ASCII");
    (content_type.to_owned(), answer.body)
}

/// A panic unless `promtool` finds nothing to say about this scrape.
pub(super) fn assert_promtool_accepts(text: &str) {
    let mut promtool = Command::new(process::tool("promtool", "PROMTOOL"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = promtool.stdin.take().expect("stdin is piped");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "promtool says: {said}\n{text}");
}

#[tokio::test]
async fn the_format_is_what_the_scraper_accepts() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    for accept in [PROMETHEUS, "application/openmetrics-text"] {
        let (content_type, body) = scrape(&stage, accept).await;
        assert_eq!(content_type, OPEN_METRICS, "accepting {accept}");
        assert!(body.ends_with("\n# EOF\n"), "the end is missing: {body}");
        assert!(body.contains("\n# TYPE broadcaster_messages_received counter\n"), "{body}");
    }
    for accept in ["text/plain", "*/*", "text/html,application/xhtml+xml"] {
        let (content_type, body) = scrape(&stage, accept).await;
        assert_eq!(content_type, CLASSIC, "accepting {accept}");
        assert!(!body.contains("# EOF"), "{body}");
        assert!(body.contains("\n# TYPE broadcaster_messages_received_total counter\n"), "{body}");
    }
    let answer = http::get(stage.daemon.metrics_address(), "/metrics").await.unwrap();
    assert_eq!(answer.headers["content-type"], CLASSIC);
    stage.close().await;
}

/// What a route counts, or shows the state of, without another label.
const COUNTED: [&str; 15] = [
    "broadcaster_messages_received_total",
    "broadcaster_filter_errors_total",
    "broadcaster_in_flight",
    "broadcaster_queue_messages",
    "broadcaster_queue_bytes",
    "broadcaster_retry_queue_messages",
    "broadcaster_retry_queue_bytes",
    "broadcaster_dead_letter_queue_messages",
    "broadcaster_dead_letter_queue_bytes",
    "broadcaster_dead_letter_queue_max_messages",
    "broadcaster_dead_letter_queue_max_bytes",
    "broadcaster_request_duration_seconds_count",
    "broadcaster_request_duration_seconds_sum",
    "broadcaster_delivery_latency_seconds_count",
    "broadcaster_delivery_latency_seconds_sum",
];

/// What attempts come to, some of it.
const CODES: [&str; 24] = [
    "200",
    "202",
    "204",
    "400",
    "401",
    "403",
    "404",
    "410",
    "429",
    "500",
    "502",
    "503",
    "504",
    "other",
    "timeout",
    "dns",
    "connect",
    "tls",
    "reset",
    "protocol",
    "local",
    "unsendable",
    "proxy",
    "login",
];

#[tokio::test]
async fn everything_is_there_at_0_from_the_start() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    let metrics = stage.daemon.metrics().await;
    let assert_zero = |name: &str, labels: &[(&str, &str)]| {
        let labels = [&[("route", "default")], labels].concat();
        assert_eq!(metrics.value(name, &labels).to_string(), "0", "{name}{labels:?}");
    };
    for name in COUNTED {
        assert_zero(name, &[]);
    }
    for outcome in ["delivered", "dead_lettered", "dropped", "handed_over", "returned", "filtered"] {
        assert_zero("broadcaster_messages_processed_total", &[("outcome", outcome)]);
    }
    for result in ["sent", "too_large", "disconnected", "full"] {
        assert_zero("broadcaster_answers_total", &[("result", result)]);
    }
    for result in ["fetched", "failed"] {
        assert_zero("broadcaster_token_fetches_total", &[("result", result)]);
    }
    for result in ["exported", "dropped"] {
        assert_eq!(metrics.value("broadcaster_spans_total", &[("result", result)]).to_string(), "0");
    }
    for result in ["published", "dropped"] {
        assert_eq!(metrics.value("broadcaster_history_total", &[("result", result)]).to_string(), "0");
    }
    for code in CODES {
        assert_zero("broadcaster_webhook_requests_total", &[("code", code)]);
    }
    for histogram in ["broadcaster_request_duration_seconds", "broadcaster_delivery_latency_seconds"] {
        assert_zero(&format!("{histogram}_bucket"), &[("le", "+Inf")]);
    }
    for name in ["broadcaster_nats_reconnects_total", "broadcaster_nats_slow_consumer_total"] {
        assert_eq!(metrics.value(name, &[]).to_string(), "0", "{name}");
    }
    for result in ["applied", "refused"] {
        let reloads = metrics.value("broadcaster_config_reloads_total", &[("result", result)]);
        assert_eq!(reloads.to_string(), "0");
    }
    for name in [
        "broadcaster_nats_connected",
        "broadcaster_config_last_reload_successful",
        "broadcaster_config_generation",
    ] {
        assert_eq!(metrics.value(name, &[]).to_string(), "1", "{name}");
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(metrics.value("broadcaster_build_info", &version).to_string(), "1");
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
        "tokio_alive_tasks",
    ] {
        assert!(metrics.has(name), "{name} is missing:\n{}", metrics.text());
    }
    stage.close().await;
}

#[tokio::test]
async fn the_bounds_of_the_queues_are_shown() {
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| {
        daemon
            .env("BROADCASTER__RUNTIME__THREADS", "3")
            .route("queue.messages", "1000")
            .route("queue.bytes", "128KiB")
            .route("retry.messages", "70")
            .route("retry.bytes", "256KiB")
    })
    .await;
    let metrics = stage.daemon.metrics().await;
    for (name, bound) in [
        ("broadcaster_queue_max_messages", "1000"),
        ("broadcaster_queue_max_bytes", "131072"),
        ("broadcaster_retry_queue_max_messages", "70"),
        ("broadcaster_retry_queue_max_bytes", "262144"),
    ] {
        assert_eq!(metrics.value(name, &[("route", "default")]).to_string(), bound, "{name}");
    }
    stage.close().await;
}

#[tokio::test]
async fn promtool_accepts_the_metrics_before_and_after_work() {
    let hook = Webhook::answering([503, 404, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.impatient()).await;
    assert_promtool_accepts(&scrape(&stage, "text/plain").await.1);
    for number in 0..20 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(20).await;
    assert_promtool_accepts(&scrape(&stage, "text/plain").await.1);
    stage.close().await;
}

#[tokio::test]
async fn the_metrics_agree_with_what_the_webhook_saw() {
    let hook = Webhook::answering([503, 500, 400, 200]);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.impatient()).await;
    for number in 0..30 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(30).await;
    let metrics = stage.daemon.metrics().await;
    let outcomes = metrics.counted("broadcaster_messages_processed_total", "outcome");
    assert_eq!((outcomes["delivered"], outcomes["dropped"]), (29, 1), "{outcomes:?}");
    stage.assert_codes([("200", 29), ("400", 1), ("500", 1), ("503", 1)]).await;
    assert_eq!(hook.received(), 32);
    let whole = |name: &str| metrics.value(name, &[]).to_string();
    assert_eq!(whole("broadcaster_request_duration_seconds_count"), "32");
    assert_eq!(whole("broadcaster_delivery_latency_seconds_count"), "29");
    for name in [
        "broadcaster_in_flight",
        "broadcaster_queue_messages",
        "broadcaster_queue_bytes",
        "broadcaster_retry_queue_messages",
        "broadcaster_retry_queue_bytes",
    ] {
        assert_eq!(whole(name), "0", "{name} after all work is done");
    }
    stage.close().await;
}

#[tokio::test]
async fn what_waits_is_shown() {
    let hook = Webhook::answering([503]);
    let mut stage = Stage::set(&hook.url(), |daemon| {
        let daemon = daemon.env("BROADCASTER__SHUTDOWN__GRACE", "0s");
        daemon.route("retry.initial", "1h").route("retry.max", "1h").route("retry.jitter", "none")
    })
    .await;
    for number in 0..10 {
        stage.publish(format!("{number} {}", "x".repeat(1_000))).await;
    }
    let waiting = |metrics: &Metrics| {
        metrics.value("broadcaster_retry_queue_messages", &[]) >= 10.0
            && metrics.value("broadcaster_retry_queue_bytes", &[]) >= 10_000.0
            && metrics.value("broadcaster_in_flight", &[]) < 1.0
    };
    stage.daemon.wait_metrics(waiting, SOON).await;
    let account = stage.close().await;
    assert_eq!((account.received, account.dropped), (10, 10));
}

#[tokio::test]
async fn no_label_comes_from_a_message() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.env("NATS_SUBJECT", "todos.>")).await;
    let before = scrape(&stage, "text/plain").await.1.lines().count();
    for number in 0..50 {
        let headers = async_nats::HeaderMap::from_iter([(
            async_nats::HeaderName::from_static("Nats-Msg-Id"),
            async_nats::HeaderValue::from(format!("strange-{number}").as_str()),
        )]);
        let subject = format!("todos.strange-{number}");
        let published = stage.client.publish_with_headers(subject, headers, "strange".into());
        published.await.unwrap();
    }
    stage.wait_processed(50).await;
    let text = scrape(&stage, "text/plain").await.1;
    assert!(!text.contains("strange"), "{text}");
    assert!(!text.contains(&hook.address().to_string()), "the webhook's address is a label: {text}");
    assert_eq!(text.lines().count(), before, "messages made new series: {text}");
    stage.close().await;
}

#[tokio::test]
async fn every_label_is_there_from_the_start_and_documented() {
    let hook = Webhook::answering([226, 305, 408, 413, 418, 422, 451, 507, 599]);
    let mut stage =
        Stage::set(&hook.url(), |daemon| daemon.without_breaker().route("retry.attempts", "1")).await;
    let names = |metrics: &Metrics| {
        let samples = metrics.text().lines().filter(|line| line.contains("route=\"default\""));
        let names = samples.filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name.to_owned()));
        names.collect::<BTreeSet<_>>()
    };
    let before = names(&stage.daemon.metrics().await);
    for number in 0..9 {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(9).await;
    let metrics = stage.daemon.metrics().await;
    let after = names(&metrics);
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new(), "new series");
    let expected = [("2xx", 1), ("3xx", 1), ("408", 1), ("413", 1), ("422", 1), ("4xx", 2), ("5xx", 2)];
    stage.assert_codes(expected).await;
    stage.close().await;

    let page = include_str!("../../../docs/metrics.md");
    for (code, _) in metrics.by("broadcaster_webhook_requests_total", "code") {
        let is_documented = [format!(" {code},"), format!(" {code};"), format!("`{code}`")];
        assert!(is_documented.iter().any(|word| page.contains(word)), "{code} is in no document");
    }
    assert!(
        page.contains(&format!("{} series for a route", before.len())),
        "a route has {} series",
        before.len()
    );
}
