//! What the fleet knows of a route beside its settings, and what it tells of values.

use std::time::{Duration, SystemTime};

use hyper::Request;
use testkit::{
    http,
    metrics::Metrics,
    webhook::{Received, Reply},
};

use super::fleet::{TOKEN, acting};
use super::*;

fn is_gone(metrics: &Metrics) -> bool {
    metrics.value("broadcaster_webhook_trouble", &[("route", "todos"), ("trouble", "gone")]) == 1.0
}

#[tokio::test]
async fn a_webhook_that_is_gone_for_one_replica_is_gone_for_all_and_after_a_restart() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::answering([410]);
    let mut value = route("todos", &hook);
    value["retry"] = json!({ "initial": "20ms" });
    bucket.put("routes.todos", &value).await;
    let mut daemons = vec![acting(&nats).start_ready().await, acting(&nats).start_ready().await];
    // Said twice of one message, it is the webhook; only one replica has heard it.
    let mut publisher = publisher(&nats, "todos").await;
    publisher.burst(1).await;
    for daemon in &daemons {
        daemon.wait_metrics(is_gone, SOON).await;
    }
    let asked = hook.received();
    assert_eq!(asked, 2);
    daemons.push(acting(&nats).start_ready().await);
    daemons[2].wait_metrics(is_gone, SOON).await;
    publisher.burst(30).await;
    let all_waits = |sum: f64| sum == 31.0;
    let waiting = async || {
        let mut waiting = 0.0;
        for daemon in &daemons {
            let metrics = daemon.metrics().await;
            waiting += metrics.sum("broadcaster_queue_messages", &[]);
            waiting += metrics.sum("broadcaster_retry_queue_messages", &[]);
        }
        waiting
    };
    testkit::wait_for(SOON, waiting, |sum| all_waits(*sum)).await;
    assert_eq!(hook.received(), asked, "a webhook is tried that has said that it is gone");
    let mut told = Vec::new();
    for daemon in &daemons {
        told.push(daemon.health().await.1);
    }
    let by_another = told.iter().filter(|health| health.contains("as replica ")).count();
    assert_eq!(by_another, 2, "{told:?}");

    hook.answer(200);
    let request = Request::post("/api/v1/routes/todos/resume");
    let request = request.header("authorization", format!("Bearer {TOKEN}"));
    let answer = http::send(request, "".into(), daemons[2].api()).await.expect("it is answered");
    assert_eq!(answer.status, 200, "{}", answer.body);
    hook.wait_for(|hook| hook.delivered() == 31, SOON).await;
    for daemon in &daemons {
        daemon.wait_metrics(|metrics| !is_gone(metrics), SOON).await;
    }
}

#[tokio::test]
async fn another_address_is_not_gone() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let (hook, other) = (Webhook::answering([410]), Webhook::start());
    let mut value = route("todos", &hook);
    value["retry"] = json!({ "initial": "20ms" });
    bucket.put("routes.todos", &value).await;
    let daemon = follower(&nats).start_ready().await;
    let mut publisher = publisher(&nats, "todos").await;
    publisher.burst(1).await;
    daemon.wait_metrics(is_gone, SOON).await;
    value["webhook"]["url"] = json!(other.url());
    wait_applied(&daemon, bucket.put("routes.todos", &value).await).await;
    wait_taken(&other, 1).await;
    let late = follower(&nats).start_ready().await;
    publisher.burst(20).await;
    wait_taken(&other, 21).await;
    assert!(!is_gone(&late.metrics().await) && !is_gone(&daemon.metrics().await));
}

/// A webhook that says that it is gone: at once, and to the same message again after a moment, in which something else can be
/// done.
fn slowly_gone() -> Webhook {
    let hook = Webhook::start();
    hook.answer([Reply::status(410), Reply::status(410).after(Duration::from_secs(3))]);
    hook
}

/// As that of a route which its webhook may be gone from.
fn impatient(hook: &Webhook) -> Value {
    let mut value = route("todos", hook);
    value["retry"] = json!({ "initial": "20ms" });
    value
}

#[tokio::test]
async fn an_operators_hold_outlives_what_the_last_attempt_says_of_the_webhook() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = slowly_gone();
    bucket.put("routes.todos", &impatient(&hook)).await;
    let daemon = follower(&nats).start_ready().await;
    publisher(&nats, "todos").await.burst(1).await;
    hook.wait_for(|hook| hook.received() == 2, SOON).await;
    let hold = json!({ "act": "drain", "by": "ada", "since": "2026-11-28T12:04:00.000Z" });
    wait_applied(&daemon, bucket.put("state.todos", &json!({ "held": hold })).await).await;
    let known = async || value(&bucket, "state.todos").await.unwrap_or_default();
    let known = testkit::wait_for(SOON, known, |known| known["gone"].is_object()).await;
    assert_eq!(known["held"], hold);
}

#[tokio::test]
async fn what_a_former_address_says_tells_nothing_of_the_one_that_the_route_has() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let (hook, other) = (slowly_gone(), Webhook::start());
    bucket.put("routes.todos", &impatient(&hook)).await;
    let daemon = follower(&nats).start_ready().await;
    let mut publisher = publisher(&nats, "todos").await;
    publisher.burst(1).await;
    hook.wait_for(|hook| hook.received() == 2, SOON).await;
    wait_applied(&daemon, bucket.put("routes.todos", &impatient(&other)).await).await;
    // The message comes there when the former address has answered.
    wait_taken(&other, 1).await;
    publisher.burst(20).await;
    wait_taken(&other, 21).await;
    assert_eq!(value(&bucket, "state.todos").await, None);
}

/// How many signatures a request has.
fn signatures(request: &Received) -> usize {
    request.header("webhook-signature").split(' ').count()
}

#[tokio::test]
async fn a_key_ends_on_all_replicas_at_the_same_time_and_for_those_that_start_later() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    let until = SystemTime::now() + Duration::from_secs(8);
    let mut value = route("todos", &hook);
    value["webhook"]["signing"] = json!({ "keys": {
        "old": {
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "until": humantime::format_rfc3339_millis(until).to_string(),
        },
        "new": { "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" },
    } });
    bucket.put("routes.todos", &value).await;
    let mut daemons = vec![follower(&nats).start_ready().await, follower(&nats).start_ready().await];
    let mut publisher = publisher(&nats, "todos").await;
    publisher.burst(20).await;
    wait_taken(&hook, 20).await;
    if SystemTime::now() < until {
        assert!(hook.requests().iter().all(|request| signatures(request) == 2), "both keys sign");
    }
    let is_over = || (SystemTime::now() > until).then_some(());
    testkit::poll(SOON, is_over).await.expect("time passes");
    daemons.push(follower(&nats).start_ready().await);
    let before = hook.received();
    publisher.burst(60).await;
    wait_taken(&hook, before + 60).await;
    let after = &hook.requests()[before..];
    assert!(after.iter().all(|request| signatures(request) == 1), "a key signs that has ended");
    for daemon in &daemons {
        let received = daemon.metrics().await.sum("broadcaster_messages_received_total", &[]);
        assert!(received > 0.0, "each replica has had some");
    }
}

/// The value of a key; none where it has none.
async fn value(bucket: &Bucket, key: &str) -> Option<Value> {
    let stream = bucket.context.get_stream("KV_broadcaster").await.expect("there is a bucket");
    let message = stream.get_last_raw_message_by_subject(&format!("$KV.broadcaster.{key}")).await.ok()?;
    serde_json::from_slice(&message.payload).ok()
}

async fn wait_value(bucket: &Bucket, key: &str, wanted: Option<Value>) {
    testkit::wait_for(SOON, async || value(bucket, key).await, |found| *found == wanted).await;
}

#[tokio::test]
async fn what_came_of_a_value_stands_beside_it_and_is_written_once() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    let mut daemons = Vec::new();
    for _ in 0..3 {
        daemons.push(follower(&nats).start_ready().await);
    }
    let good = bucket.route("todos", &hook).await;
    wait_value(&bucket, "status.todos", Some(json!({ "revision": good, "state": "active" }))).await;
    let bad = bucket.put("routes.todos", &json!({ "webhook": { "urll": "s3cret" } })).await;
    let place = format!("(in routes.todos@{bad} of bucket broadcaster)");
    let problems = json!([
        format!("routes.todos.webhook.urll: unknown key, expected url {place}"),
        format!("routes.todos.webhook.url: is missing {place}"),
    ]);
    let told = async || value(&bucket, "status.todos").await.unwrap_or_default();
    let refused = testkit::wait_for(SOON, told, |found| found["revision"] == bad).await;
    assert_eq!((&refused["state"], &refused["former_runs"]), (&json!("refused"), &json!(true)));
    let said: Vec<_> = refused["problems"].as_array().expect("there are problems").clone();
    assert!(problems.as_array().expect("a list").iter().all(|problem| said.contains(problem)), "{refused}");
    assert!(!refused.to_string().contains("s3cret"), "{refused}");

    bucket.remove("routes.todos").await;
    wait_value(&bucket, "status.todos", None).await;
    // Three replicas have told of three changes: once each, and none has told of what another one has written.
    let last = bucket.route("other", &hook).await;
    wait_value(&bucket, "status.other", Some(json!({ "revision": last, "state": "active" }))).await;
    daemons.push(follower(&nats).start_ready().await);
    for daemon in &daemons {
        wait_applied(daemon, last).await;
    }
    let stream = bucket.context.get_stream("KV_broadcaster").await.expect("there is a bucket");
    let written = stream.get_info().await.expect("it tells").state.last_sequence;
    assert_eq!(written, 8, "four values, and what came of each");
}

#[tokio::test]
async fn in_a_bucket_that_is_made_anew_it_is_told_again_what_came_of_values() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let told = json!({ "revision": 1, "state": "active" });
    let bucket = Bucket::make(&nats).await;
    let daemon = follower(&nats).start_ready().await;
    bucket.route("todos", &hook).await;
    wait_value(&bucket, "status.todos", Some(told.clone())).await;
    bucket.delete().await;
    daemon.wait_metrics(|metrics| metrics.value("broadcaster_endpoints_live", &[]) == 0.0, SOON).await;
    let bucket = Bucket::make(&nats).await;
    bucket.route("todos", &hook).await;
    wait_value(&bucket, "status.todos", Some(told)).await;
}

#[tokio::test]
async fn one_status_that_the_bucket_refuses_keeps_no_other_one_from_being_written() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let bucket = Bucket::make(&nats).await;
    let mut stream = bucket.context.get_stream("KV_broadcaster").await.expect("there is a bucket");
    let mut config = stream.info().await.expect("it tells").config.clone();
    config.max_message_size = 600;
    bucket.context.update_stream(config).await.expect("it can be changed");
    let _daemon = follower(&nats).start_ready().await;
    // Of each unknown key it is told which ones there are.
    let unknown: serde_json::Map<_, _> = (0..20).map(|number| (format!("x{number}"), json!(1))).collect();
    bucket.put("routes.aaa", &Value::Object(unknown)).await;
    let revision = bucket.route("todos", &hook).await;
    wait_value(&bucket, "status.todos", Some(json!({ "revision": revision, "state": "active" }))).await;
    assert_eq!(value(&bucket, "status.aaa").await, None);
}
