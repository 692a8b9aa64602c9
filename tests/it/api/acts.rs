//! What can be done by the API, and what comes of it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{ACTOR, Client, SOON, nothing, problem, with_tokens};
use testkit::daemon::Daemon;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::stage::Stage;
use testkit::webhook::{Behaviour, Reply, Webhook};

#[tokio::test]
async fn a_reload_says_what_has_changed_or_what_is_wrong() {
    let nats = NatsServer::start().await;
    let folder = tempfile::tempdir().expect("a directory can be made");
    let file = folder.path().join("broadcaster.toml");
    let route = |name: &str| {
        format!("[routes.{name}]\nsubject = \"{name}\"\nwebhook.url = \"http://127.0.0.1:1/\"\n")
    };
    fs::write(&file, route("a")).expect("it can be written");
    let daemon =
        with_tokens(Daemon::new().env("NATS_URL", nats.url())).config_file(&file).start_ready().await;
    let client = Client::of(&daemon, ACTOR).await;
    fs::write(&file, route("b")).expect("it can be written");
    let (status, done) = client.post("/api/v1/reload", nothing()).await;
    let wanted =
        json!({"generation": 2, "added": ["b"], "changed": [], "removed": ["a"], "need_restart": []});
    assert_eq!((status, done), (200, wanted));

    fs::write(&file, route("c") + "surprise = 1\n").expect("it can be written");
    let (status, refused) = client.post("/api/v1/reload", nothing()).await;
    assert_eq!((status, problem(&refused)), (422, "refused"));
    assert!(refused["mistakes"][0].as_str().is_some_and(|first| first.contains("surprise")), "{refused}");
    let (_, state) = client.get("/api/v1/reload").await;
    assert_eq!(
        (&state["generation"], &state["succeeded"], &state["failed"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(state["failure"]["mistakes"], refused["mistakes"]);
}

const ROUTE: &str = "/api/v1/routes/default";

#[tokio::test]
async fn a_route_is_held_and_goes_on() {
    let hook = Webhook::counting();
    let mut stage = Stage::set(&hook.url(), with_tokens).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    let (status, done) = client.post(&format!("{ROUTE}/pause"), json!({"why": "a test"})).await;
    assert_eq!((status, &done["held"]["by"], &done["held"]["why"]), (200, &json!("ops"), &json!("a test")));
    assert_eq!((&done["applied"], &done["reach"]), (&json!(true), &json!("process")));
    stage.publish("0").await;
    let waits = |metrics: &testkit::metrics::Metrics| metrics.sum("broadcaster_queue_messages", &[]) == 1.0;
    stage.daemon.wait_metrics(waits, SOON).await;
    assert_eq!(hook.received(), 0, "a held route attempts");
    let (_, route) = client.get(ROUTE).await;
    assert_eq!((&route["trouble"]["word"], &route["in_hand"]), (&json!("held"), &json!(1)));
    let (status, done) = client.post(&format!("{ROUTE}/resume"), nothing()).await;
    assert_eq!((status, &done["held"], &done["applied"]), (200, &json!(null), &json!(true)));
    hook.wait_delivered(1, SOON).await;
    assert_eq!(client.post(&format!("{ROUTE}/resume"), nothing()).await.0, 200, "it may be repeated");

    for (path, body, wanted) in [
        ("/api/v1/routes/other/pause", json!({}), (404, "no-such-route")),
        (&*format!("{ROUTE}/pause"), json!({"why": "two\nlines"}), (422, "bad-value")),
        (&*format!("{ROUTE}/pause"), json!({"why": "x".repeat(501)}), (422, "bad-value")),
        (&*format!("{ROUTE}/pause"), json!({"what": ""}), (422, "bad-value")),
        (&*format!("{ROUTE}/pause"), json!(["why"]), (422, "bad-value")),
    ] {
        let (status, refused) = client.post(path, body).await;
        assert_eq!((status, problem(&refused)), wanted, "{path}: {refused}");
    }
    stage.close().await;
}

#[tokio::test]
async fn routes_come_by_the_page() {
    let nats = NatsServer::start().await;
    let route = |n: u32| {
        format!("[routes.r{n:03}]\nsubject = \"r.{n}\"\nwebhook.url = \"http://127.0.0.1:1/s3cret\"\n")
    };
    let config: String = (0..25).map(route).collect();
    let daemon = with_tokens(Daemon::new().env("NATS_URL", nats.url())).config(&config).start_ready().await;
    let client = Client::of(&daemon, ACTOR).await;
    let (mut names, mut path) = (Vec::new(), "/api/v1/routes?limit=10".to_owned());
    loop {
        let (status, page) = client.get(&path).await;
        assert_eq!(status, 200, "{page}");
        assert!(!page.to_string().contains("s3cret"), "a secret is shown: {page}");
        let routes = page["routes"].as_array().expect("there is a list").clone();
        names.extend(routes.iter().map(|route| route["name"].as_str().expect("it has a name").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/routes?limit=10&after={next}");
    }
    assert_eq!(names, (0..25).map(|n| format!("r{n:03}")).collect::<Vec<_>>());
    for wrong in ["limit=0", "limit=1001", "limit=x", "x=1", "limit=1&limit=2"] {
        let (status, refused) = client.get(&format!("/api/v1/routes?{wrong}")).await;
        assert_eq!((status, problem(&refused)), (400, "bad-query"), "{wrong}");
    }
}

/// Whoever acts all the time costs no message anything but a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_somebody_acts_all_the_time() {
    let hook = Webhook::counting();
    let mut stage = Stage::set(&hook.url(), with_tokens).await;
    let load = Publisher::new(stage.nats.client().await, "todos.events").steadily(500);
    let client = Client::of(&stage.daemon, ACTOR).await;
    let (mut acts, end) = (0, Instant::now() + Duration::from_secs(4));
    while Instant::now() < end {
        for what in ["pause", "resume"] {
            let (status, done) = client.post(&format!("{ROUTE}/{what}"), nothing()).await;
            assert!(status == 200 || status == 429, "{done}");
            acts += u32::from(status == 200);
        }
        client.raw(hyper::Method::POST, "/api/v1/reload", &[], None).await;
    }
    client.resume().await;
    let published = load.stop().await.count();
    println!("{acts} acts while {published} messages were published");
    hook.wait_delivered(usize::try_from(published).expect("a number of messages"), SOON).await;
    stage.close().await;
    hook.assert_exactly_once(0..published);
}

#[tokio::test]
async fn a_test_goes_out_as_messages_do_and_counts_nowhere() {
    let hook = Webhook::start();
    let described = |daemon: Daemon| {
        with_tokens(daemon).route("webhook.headers.x-key", "s3cret").route("rate_limit.per_second", "1")
    };
    let mut stage = Stage::set(&hook.url(), described).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    let test = format!("{ROUTE}/test");
    // Past the limit, and past a hold.
    client.post(&format!("{ROUTE}/pause"), nothing()).await;
    for payload in [json!("as it is"), json!({"as": "JSON"})] {
        let (status, tried) = client.post(&test, json!({ "payload": payload })).await;
        assert_eq!(
            (status, &tried["delivered"], &tried["status"]),
            (200, &json!(true), &json!(200)),
            "{tried}"
        );
        assert!(!tried.to_string().contains("s3cret"), "{tried}");
    }
    let requests = hook.requests();
    let bodies: Vec<_> = requests.iter().map(|request| String::from_utf8_lossy(&request.body)).collect();
    assert_eq!(bodies, ["as it is", r#"{"as":"JSON"}"#]);
    for request in &requests {
        assert_eq!((request.header("broadcaster-test"), request.header("x-key")), ("true", "s3cret"));
    }
    let (status, refused) = client.post(&test, json!({"subject": "a.>"})).await;
    assert_eq!((status, problem(&refused)), (422, "bad-value"));
    let account = stage.close().await;
    assert_eq!(account.received, 0, "a test counts");

    let mut stage = Stage::set("http://127.0.0.1:1/", with_tokens).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    let (_, tried) = client.post(&test, nothing()).await;
    assert_eq!((&tried["delivered"], &tried["failure"]), (&json!(false), &json!("connect")), "{tried}");
    assert!(tried["cause"].as_str().is_some_and(|cause| cause.contains("127.0.0.1")), "{tried}");
    let metrics = stage.daemon.metrics().await;
    assert_eq!(metrics.sum("broadcaster_webhook_requests_total", &[]), 0.0, "a test counts");
    stage.close().await;
}

#[tokio::test]
async fn the_level_of_the_log_is_another_one_for_a_while() {
    let mut stage = Stage::set("http://127.0.0.1:1/", with_tokens).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    let path = "/api/v1/log-level";
    let debug = |daemon: &testkit::daemon::Running| daemon.logs_containing("\"DEBUG\"").len();
    assert_eq!(client.get(path).await.1, json!({"level": "info", "configured": "info", "until": null}));
    stage.publish("0").await;
    let failed = |metrics: &testkit::metrics::Metrics| {
        metrics.sum("broadcaster_webhook_requests_total", &[("code", "connect")]) >= 1.0
    };
    stage.daemon.wait_metrics(failed, SOON).await;
    assert_eq!(debug(&stage.daemon), 0);
    let put = |body| client.ask(hyper::Method::PUT, path, Some(body));
    let (status, set) = put(json!({"level": "debug", "for": "1s"})).await;
    assert_eq!((status, &set["level"]), (200, &json!("debug")));
    stage.daemon.wait_log("attempt failed", SOON).await;
    stage.daemon.wait_log("the level of the log is that of the configuration again", SOON).await;
    assert_eq!(client.get(path).await.1["until"], json!(null));
    // What is done is in the log whatever its level.
    put(json!({"level": "error"})).await;
    client.post(&format!("{ROUTE}/pause"), nothing()).await;
    stage.daemon.wait_log("/pause", SOON).await;
    put(json!({"level": "info"})).await;
    assert_eq!(client.get(path).await.1["until"], json!(null));
    for wrong in [
        json!({}),
        json!({"level": "loud"}),
        json!({"level": "debug", "for": "25h"}),
        json!({"level": "debug", "for": 5}),
    ] {
        let (status, refused) = put(wrong.clone()).await;
        assert_eq!((status, problem(&refused)), (422, "bad-value"), "{wrong}");
    }
    client.post(&format!("{ROUTE}/resume"), nothing()).await;
    stage.daemon.kill();
}

#[tokio::test]
async fn what_is_in_hand_is_shown_message_by_message() {
    let hook = Webhook::start();
    let described = |daemon: Daemon| {
        let retry =
            with_tokens(daemon).route("retry.initial", "1h").route("retry.max", "1h").without_breaker();
        retry.route("retry.jitter", "none").route("webhook.concurrency", "1")
    };
    let mut stage = Stage::set(&hook.url(), described).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    let messages = format!("{ROUTE}/messages");
    assert_eq!(client.get(&messages).await.1, json!({"messages": [], "silent_lanes": []}));
    hook.answer(500);
    stage.publish_with(&[("Nats-Msg-Id", "failed")], "0").await;
    let retries =
        |metrics: &testkit::metrics::Metrics| metrics.sum("broadcaster_retry_queue_messages", &[]) == 1.0;
    stage.daemon.wait_metrics(retries, SOON).await;
    hook.answer(Behaviour::Always(Reply::status(200).after(SOON)));
    stage.publish_with(&[("Nats-Msg-Id", "tried")], "1").await;
    hook.wait_for(|hook| hook.received() >= 2, SOON).await;
    stage.publish_with(&[("Nats-Msg-Id", "new")], "2").await;
    let queued = |metrics: &testkit::metrics::Metrics| metrics.sum("broadcaster_queue_messages", &[]) == 1.0;
    stage.daemon.wait_metrics(queued, SOON).await;

    let (status, shown) = client.get(&messages).await;
    assert_eq!(status, 200);
    let list = shown["messages"].as_array().expect("there is a list");
    let brief: Vec<_> =
        list.iter().map(|m| (m["id"].as_str(), m["where"].as_str(), m["attempts"].as_u64())).collect();
    let wanted = [("failed", "retry", 1), ("tried", "in_flight", 1), ("new", "queue", 0)];
    assert_eq!(brief, wanted.map(|(id, place, attempts)| (Some(id), Some(place), Some(attempts))));
    assert_eq!(list[0]["last_failure"], "500");
    assert!(list[0]["due"].as_f64().is_some_and(|due| (3_500.0..3_601.0).contains(&due)), "{shown}");
    let (_, one) = client.get(&format!("{messages}?limit=1")).await;
    assert_eq!(
        (one["messages"].as_array().map(Vec::len), &one["messages"][0]["id"]),
        (Some(1), &json!("failed"))
    );
    let (status, refused) = client.get(&format!("{messages}?limit=0")).await;
    assert_eq!((status, problem(&refused)), (400, "bad-query"));
    stage.daemon.kill();
}
