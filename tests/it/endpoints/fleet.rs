//! A bucket that many replicas follow.

use std::time::Instant;

use hyper::Request;
use testkit::{daemon::run, http, metrics::Metrics};

use super::*;

const REPLICAS: usize = 3;
pub(super) const TOKEN: &str = "actor-token-0123456789";

/// A follower whose API takes [`TOKEN`] for everything.
pub(super) fn acting(nats: &NatsServer) -> Daemon {
    let daemon = follower(nats).env("BROADCASTER__SERVER__TOKENS__OPS__TOKEN", TOKEN);
    daemon.env("BROADCASTER__SERVER__TOKENS__OPS__ROLE", "act")
}

#[tokio::test]
async fn a_route_that_is_held_in_the_bucket_waits_everywhere_and_after_a_restart() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    bucket.route("todos", &hook).await;
    let mut daemons = Vec::new();
    for _ in 0..2 {
        daemons.push(follower(&nats).start_ready().await);
    }
    let hold = json!({ "held": { "by": "ada", "why": "moving", "since": "2026-11-28T12:04:00Z" } });
    let revision = bucket.put("state.todos", &hold).await;
    for daemon in &daemons {
        wait_applied(daemon, revision).await;
    }
    daemons.push(follower(&nats).start_ready().await);
    publisher(&nats, "todos").await.burst(30).await;
    let held = [("route", "todos"), ("trouble", "held")];
    for daemon in &daemons {
        daemon.wait_metrics(|metrics| metrics.value("broadcaster_webhook_trouble", &held) == 1.0, SOON).await;
        let (status, health) = daemon.health().await;
        assert_eq!(status, 200, "{health}");
        assert!(health.contains("(by ada since 2026-11-28T12:04:00.000Z: moving)"), "{health}");
    }
    assert_eq!(hook.received(), 0, "nothing is attempted");
    bucket.remove("state.todos").await;
    wait_taken(&hook, 30).await;
    hook.assert_exactly_once(0..30);
}

#[tokio::test]
async fn what_one_replica_is_told_to_hold_all_hold() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    bucket.route("todos", &hook).await;
    let mut daemons = Vec::new();
    for _ in 0..2 {
        daemons.push(acting(&nats).start_ready().await);
    }
    let is_held = |wanted: f64| {
        move |metrics: &Metrics| {
            metrics.value("broadcaster_webhook_trouble", &[("route", "todos"), ("trouble", "held")]) == wanted
        }
    };
    for (act, by, held) in [("pause", 0, 1.0), ("resume", 1, 0.0)] {
        let request = Request::post(format!("/api/v1/routes/todos/{act}"));
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let answer = http::send(request, "".into(), daemons[by].api()).await.expect("it is answered");
        assert!(answer.status == 200 && answer.body.contains("\"reach\":\"fleet\""), "{}", answer.body);
        for daemon in &daemons {
            daemon.wait_metrics(is_held(held), SOON).await;
        }
    }
    publisher(&nats, "todos").await.burst(20).await;
    wait_taken(&hook, 20).await;
    hook.assert_exactly_once(0..20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_drained_takes_nothing_on_any_replica_and_after_a_restart() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    let replica = || acting(&nats).env("WEBHOOK_URL", hook.url());
    let mut daemons = vec![replica().start_ready().await, replica().start_ready().await];
    let drain = json!({ "held": { "act": "drain", "by": "ada", "since": "2026-11-28T12:04:00Z" } });
    bucket.put("state.default", &drain).await;
    let is_drained = |metrics: &Metrics| {
        metrics.value("broadcaster_webhook_trouble", &[("route", "default"), ("trouble", "drained")]) == 1.0
    };
    for daemon in &daemons {
        daemon.wait_metrics(is_drained, SOON).await;
    }
    nats.wait_subscriptions("todos.events", 0, SOON).await;
    // Nobody gets these: also not a replica that starts, before it has heard of that.
    let load = Publisher::new(nats.client().await, "todos.events").steadily(500);
    daemons.push(replica().start_ready().await);
    daemons[2].wait_metrics(is_drained, SOON).await;
    let mut load = load.stop().await;
    let lost = load.count();
    for daemon in &daemons {
        assert_eq!(daemon.metrics().await.sum("broadcaster_messages_received_total", &[]), 0.0);
    }

    let request = Request::post("/api/v1/routes/default/resume");
    let request = request.header("authorization", format!("Bearer {TOKEN}"));
    let answer = http::send(request, "".into(), daemons[2].api()).await.expect("it is answered");
    assert!(answer.status == 200 && answer.body.contains("\"reach\":\"fleet\""), "{}", answer.body);
    for daemon in &daemons {
        daemon.wait_metrics(|metrics| metrics.sum("broadcaster_source_live", &[]) == 1.0, SOON).await;
    }
    load.burst(50).await;
    wait_taken(&hook, 50).await;
    hook.assert_exactly_once(lost..lost + 50);
}

#[tokio::test]
async fn routes_are_written_by_a_command_and_looked_through_before() {
    let nats = NatsServer::start().await;
    let _bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    let daemon = acting(&nats).start_ready().await;
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let in_file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it is writable");
        path.display().to_string()
    };
    let token = in_file("token", TOKEN);
    let url = format!("http://{}", daemon.api());
    let command = |arguments: &[&str]| {
        let output = run(&[arguments, &["--url", &url, "--token-file", &token]].concat(), &[]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let good = in_file("good.json", &route("todos", &hook).to_string());
    let bad = in_file("bad.json", r#"{"subject": "todos", "webhook": {"urll": "http://a/"}}"#);
    let no_json = in_file("no.json", "{");

    assert_eq!(
        command(&["routes", "put", "todos", &good]),
        (Some(0), "todos is written, revision 1\n".to_owned())
    );
    wait_applied(&daemon, 1).await;
    publisher(&nats, "todos").await.burst(10).await;
    wait_taken(&hook, 10).await;
    for (arguments, expected) in [
        (&["routes", "put", "todos", &bad][..], "routes.todos.webhook.urll: unknown key, expected url"),
        (&["routes", "put", "todos", &no_json], "no.json: EOF while parsing"),
        (&["routes", "put", "todos", "/dev/zero"], "/dev/zero: expected 256 KiB at the most"),
        (&["routes", "put", "todos", &good, "--revision", "0"], "was changed meanwhile"),
        (&["routes", "put", "to dos", &good], "no route can have this name"),
    ] {
        let (status, said) = command(arguments);
        assert!(status == Some(1) && said.contains(expected), "{arguments:?}: {status:?} {said}");
    }
    assert_eq!(command(&["routes", "put", "todos", &good, "--revision", "1"]).0, Some(0));
    let (status, said) = command(&["routes", "rm", "todos"]);
    let revision = said.strip_prefix("todos is removed, revision ").and_then(|end| end.trim().parse().ok());
    assert!(status == Some(0) && revision.is_some(), "{said}");
    wait_applied(&daemon, revision.unwrap_or_default()).await;
    let (status, said) = command(&["routes", "rm", "todos"]);
    assert!(status == Some(1) && said.contains("the bucket has no route of this name"), "{status:?} {said}");
    assert!(!command(&["routes", "ls"]).1.contains("todos "), "it is gone");
    hook.assert_exactly_once(0..10);
}

#[tokio::test]
async fn a_thousand_changes_under_load_lose_nothing_and_all_replicas_agree_within_a_second() {
    const CHANGES: u64 = 1_000;
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::counting();
    bucket.route("todos", &hook).await;
    let mut daemons = Vec::new();
    for _ in 0..REPLICAS {
        daemons.push(follower(&nats).start_ready().await);
    }
    let load = publisher(&nats, "todos").await.steadily(500);
    for change in 0..CHANGES {
        // The route under load changes, and others come and go.
        match change % 4 {
            0 => {
                let mut value = route("todos", &hook);
                value["webhook"]["timeout"] = json!(format!("{}s", 20 + change % 7));
                bucket.put("routes.todos", &value).await
            }
            1 => bucket.route(&format!("other-{}", change % 50), &hook).await,
            2 => bucket.put_text(&format!("routes.bad-{}", change % 10), "{").await,
            _ => bucket.remove(&format!("routes.other-{}", (change + 20) % 50)).await,
        };
    }
    let last = bucket.route("last", &hook).await;
    let put = Instant::now();
    for daemon in &daemons {
        wait_applied(daemon, last).await;
    }
    let agreed = put.elapsed();
    let mut load = load.stop().await;
    load.burst(100).await;
    let count = load.count();
    hook.wait_for(|hook| hook.distinct() as u64 == count, SOON).await;
    hook.assert_exactly_once(0..count);
    for daemon in &mut daemons {
        daemon.stop().await;
    }
    hook.assert_exactly_once(0..count);
    eprintln!("{CHANGES} changes over {REPLICAS} replicas: agreed {agreed:?} after the last");
    assert!(agreed < Duration::from_secs(1), "they agreed after {agreed:?}");
}
