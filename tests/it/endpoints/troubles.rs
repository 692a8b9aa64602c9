//! What becomes of the routes of a bucket when it, or NATS, is in trouble.

use hyper::Request;
use testkit::http;

use super::fleet::{TOKEN, acting};
use super::*;

/// Has the route `todos` held or resumed.
async fn act(daemon: &Running, act: &str) -> http::Answer {
    let request = Request::post(format!("/api/v1/routes/todos/{act}"));
    let request = request.header("authorization", format!("Bearer {TOKEN}"));
    http::send(request, "".into(), daemon.api()).await.expect("it is answered")
}

#[tokio::test]
async fn a_replica_that_has_not_read_the_bucket_is_not_ready_and_runs_what_the_file_says() {
    let nats = NatsServer::start().await;
    let hook = Webhook::start();
    let config = format!("[routes.mine]\nsubject = \"endpoints.mine\"\nwebhook.url = \"{}\"\n", hook.url());
    let daemon = follower(&nats).config(&config).start().await;
    let missing =
        "there is no bucket broadcaster: make it (nats kv add broadcaster), or set endpoints.create";
    daemon.wait_log("there is no bucket broadcaster", SOON).await;
    let (status, health) = daemon.health().await;
    assert!(status == 503 && health.contains(missing), "{status} {health}");
    daemon
        .wait_metrics(|metrics| metrics.value("broadcaster_source_live", &[("route", "mine")]) == 1.0, SOON)
        .await;
    publisher(&nats, "mine").await.burst(10).await;
    wait_taken(&hook, 10).await;

    let bucket = Bucket::make(&nats).await;
    let revision = bucket.route("todos", &hook).await;
    daemon.ready(SOON).await;
    wait_applied(&daemon, revision).await;
    publisher(&nats, "todos").await.burst(10).await;
    wait_taken(&hook, 20).await;
}

#[tokio::test]
async fn a_bucket_is_made_where_that_is_wanted() {
    let nats = NatsServer::start().await;
    let daemon = follower(&nats).arg("--set").arg("endpoints.create=true").start_ready().await;
    let (bucket, hook) = (Bucket::of(&nats).await, Webhook::start());
    wait_applied(&daemon, bucket.route("todos", &hook).await).await;
    publisher(&nats, "todos").await.burst(10).await;
    wait_taken(&hook, 10).await;
}

#[tokio::test]
async fn routes_run_on_without_their_bucket_and_follow_one_that_is_made_anew() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    bucket.route("todos", &hook).await;
    let daemon = follower(&nats).start_ready().await;
    bucket.delete().await;
    daemon.wait_metrics(|metrics| metrics.value("broadcaster_endpoints_live", &[]) == 0.0, SOON).await;
    publisher(&nats, "todos").await.burst(10).await;
    wait_taken(&hook, 10).await;
    let (status, health) = daemon.health().await;
    assert_eq!(status, 200, "{health}");
    assert!(health.contains("the bucket is not followed, its routes run on"), "{health}");

    let bucket = Bucket::make(&nats).await;
    bucket.route("other", &hook).await;
    daemon
        .wait_metrics(
            |metrics| {
                metrics.value("broadcaster_endpoints_live", &[]) == 1.0
                    && metrics.value("broadcaster_endpoints", &[("state", "active")]) == 1.0
            },
            SOON,
        )
        .await;
    daemon
        .wait_metrics(|metrics| metrics.sum("broadcaster_source_live", &[("route", "other")]) == 1.0, SOON)
        .await;
    publisher(&nats, "other").await.burst(10).await;
    wait_taken(&hook, 20).await;
}

#[tokio::test]
async fn what_is_changed_while_nats_is_away_from_a_replica_is_made_up_for() {
    let mut nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    bucket.route("todos", &hook).await;
    let daemon = follower(&nats).start_ready().await;
    nats.restart().await;
    let bucket = Bucket::make(&nats).await;
    let revision = bucket.route("more", &hook).await;
    wait_applied(&daemon, revision).await;
    daemon.ready(SOON).await;
    publisher(&nats, "todos").await.burst(10).await;
    publisher(&nats, "more").await.burst(10).await;
    wait_taken(&hook, 20).await;
}

/// One that the server has lost, with what `endpoints.create` would make in its place.
#[tokio::test]
async fn an_empty_bucket_is_not_made_in_the_place_of_one_that_had_routes() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    bucket.route("todos", &hook).await;
    let daemon = follower(&nats).arg("--set").arg("endpoints.create=true").start_ready().await;
    bucket.delete().await;
    daemon.wait_log("the bucket broadcaster is gone", SOON).await;
    publisher(&nats, "todos").await.burst(10).await;
    wait_taken(&hook, 10).await;
    let (status, health) = daemon.health().await;
    assert!(
        status == 200 && health.contains("its routes run on: the bucket broadcaster is gone"),
        "{health}"
    );

    // Whoever makes one decides what runs, and is told of what ends.
    let bucket = Bucket::make(&nats).await;
    daemon.wait_log("the bucket was made anew, or emptied", SOON).await;
    let ended = daemon.wait_log("routes of the bucket applied", SOON).await;
    assert!(ended.contains("todos"), "{ended}");
    wait_applied(&daemon, bucket.route("todos", &hook).await).await;
    publisher(&nats, "todos").await.burst(10).await;
    wait_taken(&hook, 20).await;
}

/// It takes a while until it is noticed that another bucket has the name. Who holds a route meanwhile is not kept waiting.
#[tokio::test]
async fn a_route_is_held_at_once_though_its_bucket_was_just_made_anew() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    for _ in 0..5 {
        bucket.route("todos", &hook).await;
    }
    let daemon = acting(&nats).start_ready().await;
    bucket.delete().await;
    let bucket = Bucket::make(&nats).await;
    bucket.route("todos", &hook).await;
    let answer = act(&daemon, "pause").await;
    assert!(answer.status == 200 && !answer.body.contains("\"held\":null"), "{}", answer.body);
    publisher(&nats, "todos").await.burst(10).await;
    daemon.wait_log("the bucket of endpoints is followed", SOON).await;
    assert_eq!(hook.received(), 0, "it is held");
    assert_eq!(act(&daemon, "resume").await.status, 200);
    wait_taken(&hook, 10).await;
}

/// A server that stands still answers to what it was asked meanwhile when nobody waits for that any more. What it has made then is in
/// nobody's way.
#[tokio::test]
async fn a_bucket_is_followed_soon_after_a_server_has_stood_still() {
    const SOON_AFTER: Duration = Duration::from_secs(15);
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    let daemon = follower(&nats).start_ready().await;
    // That nothing is heard of the bucket, and that it is asked for in vain, takes 17 s at the most.
    nats.stand_still(Duration::from_secs(18)).await;
    let applied = bucket.route("todos", &hook).await as f64;
    daemon
        .wait_metrics(|metrics| metrics.value("broadcaster_endpoints_revision", &[]) >= applied, SOON_AFTER)
        .await;
    daemon.wait_log("JetStream does not answer", SOON).await;
}
