//! Files that values name: what is in them changes without the values.

use std::fs;

use super::*;

#[tokio::test]
async fn a_file_that_a_value_names_may_come_later_and_change() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let (hook, other) = (Webhook::start(), Webhook::start());
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let swap = |url: &str| {
        fs::write(folder.path().join("new"), url).expect("the directory is writable");
        fs::rename(folder.path().join("new"), folder.path().join("url")).expect("the directory is writable");
    };
    let secrets = format!("endpoints.secrets_dir={}", folder.path().display());
    let daemon = follower(&nats).arg("--set").arg(secrets).start_ready().await;
    let value = json!({ "subject": "endpoints.todos", "webhook": { "url_file": "url" } });
    wait_applied(&daemon, bucket.put("routes.todos", &value).await).await;
    assert_eq!(endpoints(&daemon, "refused").await, 1.0);

    swap(&hook.url());
    let is_live = |daemon: &testkit::metrics::Metrics| {
        daemon.value("broadcaster_endpoints", &[("state", "active")]) == 1.0
            && daemon.value("broadcaster_source_live", &[("route", "todos")]) == 1.0
    };
    daemon.wait_metrics(|metrics| metrics.has("broadcaster_source_live") && is_live(metrics), SOON).await;
    let mut publisher = publisher(&nats, "todos").await;
    publisher.burst(10).await;
    wait_taken(&hook, 10).await;

    swap(&other.url());
    let taken = async || {
        publisher.burst(1).await;
        other.delivered()
    };
    testkit::wait_for(SOON, taken, |taken| *taken > 0).await;
    let all = publisher.count();
    hook.wait_for(|hook| (hook.delivered() + other.delivered()) as u64 == all, SOON).await;
    let mut numbers: Vec<_> = [hook.requests(), other.requests()].concat();
    numbers.sort_by_key(testkit::webhook::Received::number);
    assert!(numbers.iter().map(|request| request.number()).eq((0..all).map(Some)), "some are lost or twice");
}

/// Files are looked at every two seconds. That the server says nothing more of the bucket for eleven is noticed all the same.
#[tokio::test]
async fn a_bucket_whose_values_name_files_is_followed_when_it_is_made_anew() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    fs::write(folder.path().join("url"), hook.url()).expect("the directory is writable");
    let secrets = format!("endpoints.secrets_dir={}", folder.path().display());
    let daemon = follower(&nats).arg("--set").arg(secrets).start_ready().await;
    let value =
        |name: &str| json!({ "subject": format!("endpoints.{name}"), "webhook": { "url_file": "url" } });
    wait_applied(&daemon, bucket.put("routes.todos", &value("todos")).await).await;
    bucket.delete().await;
    let bucket = Bucket::make(&nats).await;
    bucket.put("routes.todos", &value("todos")).await;
    wait_applied(&daemon, bucket.put("routes.other", &value("other")).await).await;
    daemon
        .wait_metrics(|metrics| metrics.sum("broadcaster_source_live", &[("route", "other")]) == 1.0, SOON)
        .await;
    publisher(&nats, "other").await.burst(10).await;
    wait_taken(&hook, 10).await;
}
