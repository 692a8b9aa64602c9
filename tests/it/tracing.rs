//! Spans, at a real collector: what it gets is read with OpenTelemetry's own types.

use std::{collections::BTreeSet, time::Duration};

use testkit::{
    collector::{Collector, Span},
    daemon::Daemon,
    metrics::Metrics,
    stage::Stage,
    webhook::{Received, Webhook},
};

const SOON: Duration = Duration::from_secs(30);

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PUBLISHER: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PUBLISHER}-{flags}")
}

/// With spans for `collector`.
fn traced(daemon: Daemon, collector: &Collector) -> Daemon {
    daemon.impatient().env("BROADCASTER__TRACING__ENDPOINT", collector.url())
}

/// The span of a message's way among those of one message, and those of its attempts in their order.
fn way_and_attempts(spans: Vec<Span>) -> (Span, Vec<Span>) {
    let (mut attempts, mut ways): (Vec<_>, Vec<_>) = spans.into_iter().partition(Span::is_attempt);
    attempts.sort_by_key(|span| span.begin);
    assert_eq!(ways.len(), 1, "{ways:#?}");
    (ways.remove(0), attempts)
}

/// Trace, span and flags of a request's `traceparent`.
fn parent(request: &Received) -> (String, String, String) {
    let parts: Vec<_> = request.header("traceparent").split('-').map(str::to_owned).collect();
    let [version, trace, span, flags] = <[String; 4]>::try_from(parts).expect("four fields");
    assert_eq!((version.as_str(), trace.len(), span.len()), ("00", 32, 16));
    (trace, span, flags)
}

fn spans(metrics: &Metrics, result: &str) -> f64 {
    metrics.value("broadcaster_spans_total", &[("result", result)])
}

fn assert_texts(span: &Span, texts: &[(&str, &str)]) {
    for (name, value) in texts {
        assert_eq!(span.text(name), *value, "{name} of {span:#?}");
    }
}

/// The span of the way of order-7, which came with a `traceparent` and was delivered at the third attempt.
fn assert_way(way: &Span) {
    assert_eq!((&*way.trace, &*way.parent, &*way.state), (TRACE, PUBLISHER, "rojo=1,congo=t61"));
    assert_eq!((&*way.kind, &*way.name, way.status), ("SPAN_KIND_CONSUMER", "process todos.events", 0));
    assert_eq!(way.flags, 0x301, "sampled, and the parent is of another process");
    let texts = [
        ("messaging.system", "nats"),
        ("messaging.destination.name", "todos.events"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.consumer.group.name", "broadcaster-workers"),
        ("messaging.message.id", "order-7"),
        ("broadcaster.route", "default"),
        ("broadcaster.outcome", "delivered"),
    ];
    assert_texts(way, &texts);
    let numbers = ["messaging.message.body.size", "broadcaster.attempts"].map(|name| way.number(name));
    // The two that failed were the webhook's fault, and are not charged to the message.
    assert_eq!(numbers, [Some(5), Some(1)]);
    for (name, value) in [("service.name", "broadcaster"), ("service.version", env!("CARGO_PKG_VERSION"))] {
        assert_eq!(way.resource[name], value, "{name}");
    }
}

/// The span of one of its attempts at `hook`, which answers 503, 502 and 204.
fn assert_attempt(attempt: &Span, hook: &Webhook, number: usize) {
    assert_eq!(attempt.number("http.response.status_code"), Some([503, 502, 204][number]));
    assert_eq!(attempt.number("http.request.resend_count"), [None, Some(1), Some(2)][number]);
    assert_eq!(attempt.status, [2, 2, 0][number]);
    let redacted = format!("http://{}/REDACTED", hook.address());
    let texts = [
        ("error.type", ["503", "502", ""][number]),
        ("http.request.method", "POST"),
        ("url.full", &*redacted),
        ("server.address", "127.0.0.1"),
        ("messaging.system", "nats"),
        ("messaging.destination.name", "todos.events"),
        ("messaging.message.id", "order-7"),
        ("broadcaster.route", "default"),
    ];
    assert_texts(attempt, &texts);
    assert_eq!(attempt.number("server.port"), Some(hook.address().port().into()));
}

#[tokio::test]
async fn each_attempt_is_a_span_in_that_of_the_message_in_that_of_the_publisher() {
    let collector = Collector::start();
    let hook = Webhook::answering([503, 502, 204]);
    let secret = hook.url().replace("/hook", "/hook/s3cret?key=s3cret");
    let mut stage = Stage::set(&secret, |daemon| {
        let headers = "BROADCASTER__TRACING__HEADERS__X-API-KEY";
        traced(daemon, &collector).env(headers, "k3y").env("LOG_LEVEL", "debug")
    })
    .await;
    let headers = [
        ("traceparent", &*traceparent("01")),
        ("tracestate", "rojo=1,congo=t61"),
        ("Nats-Msg-Id", "order-7"),
    ];
    stage.publish_with(&headers, "12345").await;
    let state = collector.wait(|state| state.spans.len() == 4, SOON).await;
    assert!(state.requests.iter().all(|request| request.unknown.is_empty()), "{:#?}", state.requests);
    let request = &state.requests[0];
    assert_eq!(request.path, "/v1/traces");
    for (name, value) in [("content-type", "application/x-protobuf"), ("x-api-key", "k3y")] {
        assert_eq!(request.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    let (way, attempts) = way_and_attempts(state.spans);
    assert_way(&way);
    let requests = hook.requests();
    assert_eq!(requests.len(), 3);
    for (number, (attempt, request)) in attempts.iter().zip(&requests).enumerate() {
        assert!(
            way.begin <= attempt.begin && attempt.begin <= attempt.end && attempt.end <= way.end,
            "{way:?}"
        );
        assert_eq!(
            (&attempt.trace, &attempt.parent, attempt.flags),
            (&way.trace, &way.id, 0x101),
            "{attempt:#?}"
        );
        assert_eq!(parent(request), (attempt.trace.clone(), attempt.id.clone(), "01".to_owned()));
        assert_eq!(request.header("tracestate"), "rojo=1,congo=t61");
        assert_attempt(attempt, &hook, number);
    }
    let ids: BTreeSet<_> = attempts.iter().map(|attempt| &attempt.id).collect();
    assert_eq!(ids.len(), 3, "each has an id of its own");

    stage.daemon.wait_metrics(|metrics| spans(metrics, "exported") == 4.0, SOON).await;
    stage.close().await;
    let failed = stage.daemon.events("attempt failed");
    assert!(failed.len() == 2 && failed.iter().all(|event| event["trace_id"] == TRACE), "{failed:#?}");
    assert!(stage.daemon.logs_containing("k3y").is_empty(), "a secret is in the log");
}

#[tokio::test]
async fn a_dead_message_says_why_and_an_attempt_without_an_answer_too() {
    let collector = Collector::start();
    let mut stage = Stage::set("http://127.0.0.1:1/", |daemon| {
        traced(daemon, &collector)
            .route("retry.attempts", "1")
            .route("dead_letter.subject", "dead")
            .without_breaker()
    })
    .await;
    stage.publish("1").await;
    let (way, attempts) = way_and_attempts(collector.spans(2, SOON).await);
    assert_eq!((&*way.parent, way.flags, way.status), ("", 0x101, 2), "{way:#?}");
    assert_eq!(
        (way.text("broadcaster.outcome"), way.text("error.type")),
        ("dead_lettered", "attempts_exhausted")
    );
    let attempt = &attempts[0];
    assert_eq!((attempt.text("error.type"), attempt.number("http.response.status_code")), ("connect", None));
    assert_eq!(attempt.text("url.full"), "http://127.0.0.1:1/");
    assert!(attempt.message.contains("127.0.0.1"), "{attempt:#?}");
    stage.close().await;
}

/// A request of several messages is in a trace of its own, from which one finds those of the messages, and back.
#[tokio::test]
async fn a_request_of_several_messages_is_a_span_that_they_point_to() {
    let collector = Collector::start();
    let hook = Webhook::answering([503, 204]);
    let mut stage = Stage::set(&hook.url(), |daemon| {
        let daemon = traced(daemon, &collector).env("BROADCASTER__RUNTIME__THREADS", "1");
        daemon.route("batch.max_messages", "3").route("batch.max_wait", "10s")
    })
    .await;
    let publishers = ["01", "01", "00"].map(|flags| [("traceparent", traceparent(flags))]);
    for publisher in &publishers {
        stage.publish_with(&[(publisher[0].0, publisher[0].1.as_str())], "1").await;
    }
    // Of two sampled messages the way and two attempts, and the two requests.
    let spans = collector.wait(|state| state.spans.len() == 8, SOON).await.spans;
    let count = |span: &&Span| span.attributes.contains_key("messaging.batch.message_count");
    let mut requests: Vec<_> = spans.iter().filter(count).collect();
    requests.sort_by_key(|span| span.begin);
    assert_eq!(requests.len(), 2, "{spans:#?}");
    for (span, (request, status)) in requests.iter().zip(hook.requests().iter().zip([503, 204])) {
        assert_eq!(parent(request), (span.trace.clone(), span.id.clone(), "01".to_owned()));
        assert_eq!((&*span.kind, &*span.name, &*span.parent), ("SPAN_KIND_CLIENT", "POST", ""));
        assert_eq!(span.attributes["messaging.batch.message_count"], 3, "{span:#?}");
        assert_eq!(span.attributes["http.response.status_code"], status, "{span:#?}");
        assert_eq!(span.links.len(), 2, "one of the three is not sampled: {span:#?}");
        for (trace, id) in &span.links {
            let attempt = spans.iter().find(|other| other.id == *id).expect("it points to an attempt");
            assert_eq!((trace.as_str(), &attempt.trace), (TRACE, trace), "{attempt:#?}");
            assert_eq!(attempt.links, [(span.trace.clone(), span.id.clone())], "{attempt:#?}");
        }
    }
    assert_ne!(requests[0].trace, requests[1].trace, "each request is one of its own");
    stage.close().await;
}

/// One message is no batch: its attempt is the request.
#[tokio::test]
async fn a_message_that_goes_alone_in_a_batch_is_the_parent_of_its_request() {
    let collector = Collector::start();
    let hook = Webhook::start();
    let mut stage =
        Stage::set(&hook.url(), |daemon| traced(daemon, &collector).route("batch.max_messages", "3")).await;
    stage.publish_with(&[("traceparent", &traceparent("01"))], "1").await;
    let (_, attempts) = way_and_attempts(collector.wait(|state| state.spans.len() == 2, SOON).await.spans);
    let expected = (TRACE.to_owned(), attempts[0].id.clone(), "01".to_owned());
    assert_eq!(parent(&hook.requests()[0]), expected);
    assert!(attempts[0].links.is_empty(), "{attempts:#?}");
    stage.close().await;
}

#[tokio::test]
async fn a_part_is_sampled_and_a_parent_decides_for_its_message() {
    let collector = Collector::start();
    let hook = Webhook::start();
    for (sample, expected) in [("0", 1_usize), ("1", 2)] {
        let before = collector.state().await.spans.len();
        let mut stage = Stage::set(&hook.url(), |daemon| {
            traced(daemon, &collector).env("BROADCASTER__TRACING__SAMPLE", sample)
        })
        .await;
        let received = hook.received();
        stage.publish("without a parent").await;
        for flags in ["00", "01"] {
            stage.publish_with(&[("traceparent", &traceparent(flags)), ("tracestate", "a=1")], flags).await;
        }
        stage.wait_processed(3).await;
        // Its last spans go out before it ends.
        stage.close().await;
        let spans = collector.state().await.spans.split_off(before);
        assert_eq!(spans.len(), 2 * expected, "{sample}: {spans:#?}");
        let of_a_parent = spans.iter().filter(|span| span.trace == TRACE).count();
        assert_eq!(of_a_parent, 2, "{sample}: {spans:#?}");
        // All hear of their trace, and whether there are spans of it.
        for request in &hook.requests()[received..] {
            let (trace, span, flags) = parent(request);
            let body = request.text();
            let is_sampled = body == "01" || body != "00" && sample == "1";
            assert_eq!((flags == "01", trace == TRACE), (is_sampled, body.len() == 2), "{sample}, {body}");
            assert_ne!(span, PUBLISHER, "{body}");
            assert_eq!(request.header("tracestate"), if body.len() == 2 { "a=1" } else { "" });
        }
    }
}

#[tokio::test]
async fn a_hostile_traceparent_begins_a_new_trace() {
    let collector = Collector::start();
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| traced(daemon, &collector)).await;
    let good = traceparent("01");
    let hostile = [
        "",
        "x",
        &good.to_uppercase(),
        &good.replacen("00", "ff", 1),
        &good.replace(TRACE, &"0".repeat(32)),
        &good.replace(PUBLISHER, &"0".repeat(16)),
        &format!("{good}-00"),
        &good.repeat(100),
        "00-\u{e9}\u{e9}\u{e9}",
    ];
    for value in hostile {
        stage.publish_with(&[("traceparent", value), ("tracestate", "a=1")], "hostile").await;
    }
    // Two are none.
    stage.publish_with(&[("traceparent", &good), ("Traceparent", &good)], "hostile").await;
    let spans = collector.spans(2 * (hostile.len() + 1), SOON).await;
    stage.close().await;
    let traces: BTreeSet<_> = spans.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), hostile.len() + 1, "a trace for each");
    assert!(!traces.contains(&TRACE.to_owned()));
    for span in spans.iter().filter(|span| !span.is_attempt()) {
        assert_eq!((&*span.parent, &*span.state), ("", ""), "{span:#?}");
    }
    for request in hook.requests() {
        let (trace, ..) = parent(&request);
        assert!(traces.contains(&trace), "{trace}");
        assert_eq!(request.header("tracestate"), "", "it is of another trace");
    }
}

#[tokio::test]
async fn what_forward_leaves_out_is_left_out_and_without_tracing_all_is_as_the_publisher_has_it() {
    let collector = Collector::start();
    let hook = Webhook::start();
    let headers = [("traceparent", &*traceparent("01")), ("tracestate", "a=1")];
    let mut stage =
        Stage::set(&hook.url(), |daemon| traced(daemon, &collector).route("webhook.forward", "[]")).await;
    stage.publish_with(&headers, "1").await;
    stage.wait_processed(1).await;
    stage.close().await;
    assert_eq!(collector.state().await.spans.len(), 2);
    let mut stage = Stage::set(&hook.url(), |daemon| daemon).await;
    stage.publish_with(&headers, "2").await;
    stage.wait_processed(1).await;
    let metrics = stage.daemon.metrics().await;
    assert_eq!((spans(&metrics, "exported"), spans(&metrics, "dropped")), (0.0, 0.0));
    stage.close().await;
    let requests = hook.requests();
    assert_eq!((requests[0].header("traceparent"), requests[0].header("tracestate")), ("", ""));
    assert_eq!((requests[1].header("traceparent"), requests[1].header("tracestate")), (headers[0].1, "a=1"));
    assert_eq!(collector.state().await.spans.len(), 2);
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_when_it_wants_to_be() {
    let collector = Collector::start();
    let hook = Webhook::start();
    for status in [429, 502, 503, 504] {
        let before = collector.state().await;
        collector.answer(status, 2).await;
        let mut stage = Stage::set(&hook.url(), |daemon| traced(daemon, &collector)).await;
        stage.publish("1").await;
        let asked = std::time::Instant::now();
        collector.wait(|state| state.refused == before.refused + 1, SOON).await;
        collector.answer(200, 0).await;
        collector.spans(before.spans.len() + 2, SOON).await;
        assert!(asked.elapsed() >= Duration::from_secs(2), "{status}: {:?}", asked.elapsed());
        stage.daemon.wait_log("spans are exported again", SOON).await;
        let metrics = stage.daemon.metrics().await;
        assert_eq!((spans(&metrics, "exported"), spans(&metrics, "dropped")), (2.0, 0.0), "{status}");
        stage.close().await;
        let told = stage.daemon.events("spans can't be exported, those that find no room are dropped");
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(told[0]["cause"], format!("the collector answers {status}"));
    }
}

#[tokio::test]
async fn what_a_collector_refuses_is_dropped_and_counted() {
    let collector = Collector::start();
    collector.answer(400, 0).await;
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| traced(daemon, &collector)).await;
    stage.publish("1").await;
    stage.daemon.wait_metrics(|metrics| spans(metrics, "dropped") == 2.0, SOON).await;
    assert_eq!(collector.state().await.refused, 1, "it is not asked again");
    stage.close().await;
}

#[tokio::test]
async fn a_collector_that_is_away_slows_no_delivery_and_gets_what_found_room_when_it_is_back() {
    const MESSAGES: u32 = 10_000;
    let mut collector = Collector::start();
    let url = collector.url();
    let hook = Webhook::counting();
    let mut stage = Stage::set(&hook.url(), |daemon| traced(daemon, &collector)).await;
    collector.stop();
    for number in 0..MESSAGES {
        stage.publish(number.to_string()).await;
    }
    stage.wait_processed(MESSAGES).await;
    let full = |metrics: &Metrics| spans(metrics, "dropped") > 0.0;
    stage.daemon.wait_metrics(full, SOON).await;
    collector.restart();
    assert_eq!(collector.url(), url);
    stage.daemon.wait_log("spans are exported again", SOON).await;
    let all = f64::from(2 * MESSAGES);
    let settled = |metrics: &Metrics| spans(metrics, "exported") + spans(metrics, "dropped") == all;
    stage.daemon.wait_metrics(settled, SOON).await;
    let metrics = stage.daemon.metrics().await;
    let exported = spans(&metrics, "exported");
    // What waits in the queue, and the batch that is tried.
    assert!((4096.0..=4096.0 + 1024.0).contains(&exported), "{exported} of {all} were exported");
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let taken = collector.state().await.spans.len() as f64;
    assert_eq!(taken, exported, "the collector has as many as were counted");
    stage.close().await;
    for line in ["spans can't be exported, those that find no room are dropped", "spans are exported again"] {
        assert_eq!(stage.daemon.events(line).len(), 1, "{line}: {:#?}", stage.daemon.logs());
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_collector_that_never_answers() {
    // It takes connections, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| daemon.env("BROADCASTER__TRACING__ENDPOINT", url)).await;
    stage.publish("1").await;
    stage.wait_processed(1).await;
    let begin = std::time::Instant::now();
    stage.close().await;
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert_eq!(stage.daemon.events("the collector has not taken the last spans in time").len(), 1);
}
