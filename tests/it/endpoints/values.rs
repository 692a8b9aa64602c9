//! What a value of the bucket makes of a daemon.

use std::fs;

use super::*;

#[tokio::test]
async fn routes_come_change_and_go_with_their_values() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let (first, second) = (Webhook::start(), Webhook::start());
    bucket.route("there", &first).await;
    let daemon = follower(&nats).start_ready().await;
    publisher(&nats, "there").await.burst(10).await;
    wait_taken(&first, 10).await;

    let revision = bucket.route("new", &first).await;
    wait_applied(&daemon, revision).await;
    publisher(&nats, "new").await.burst(10).await;
    wait_taken(&first, 20).await;

    let mut other = route("new", &second);
    other["rate_limit"] = json!({ "per_second": 1000 });
    wait_applied(&daemon, bucket.put("routes.new", &other).await).await;
    publisher(&nats, "new").await.burst(10).await;
    wait_taken(&second, 10).await;
    assert_eq!(first.delivered(), 20);

    bucket.remove("routes.new").await;
    daemon
        .wait_metrics(|metrics| metrics.value("broadcaster_endpoints", &[("state", "active")]) == 1.0, SOON)
        .await;
}

#[tokio::test]
async fn a_value_with_mistakes_changes_nothing_and_is_told() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    bucket.route("good", &hook).await;
    let daemon = follower(&nats).start_ready().await;
    let mut bad = route("good", &hook);
    bad["webhook"]["timeot"] = json!("5s");
    bad["webhook"]["headers"] = json!({ "authorization": "Bearer s3cret", "bad header": "s3cret" });
    let good = bucket.put("routes.good", &bad).await;
    let broken = bucket.put_text("routes.broken", "{\"webhook\": {\"url\": \"http://u:s3cret@h\"").await;
    bucket.put_text("routes.LOUD", "{}").await;
    bucket.put_text("routes.twice", r#"{"webhook": {"url": "http://s3cret/", "url": "http://h/"}}"#).await;
    let revision = bucket.put("routes.empty", &json!({})).await;
    wait_applied(&daemon, revision).await;
    assert_eq!([endpoints(&daemon, "active").await, endpoints(&daemon, "refused").await], [0.0, 4.0]);
    let said = complaints(&daemon).await;
    assert_eq!(
        said[..2],
        [
            format!(
                "route broken: it does not run: expected JSON, at line 1, column 39 (in routes.broken@{broken} of \
                 bucket broadcaster)"
            ),
            format!(
                "route empty: it does not run: routes.empty.webhook.url: is missing (in routes.empty@{revision} of \
                 bucket broadcaster)"
            ),
        ]
    );
    let refused = &said[2];
    assert!(refused.starts_with("route good: the value before it runs on: "), "{refused}");
    assert!(
        said[3].starts_with("route twice: it does not run: expected each key once, \"webhook.url\""),
        "{said:?}"
    );
    let timeout = "routes.good.webhook.timeot: unknown key, expected timeout";
    assert!(refused.contains(&format!("{timeout} (in routes.good@{good} of")), "{refused}");
    let log = daemon.logs().concat();
    assert!(!log.contains("s3cret") && !said.concat().contains("s3cret"), "{said:?}");
    assert!(log.contains("routes.LOUD"), "the key is named");
    publisher(&nats, "good").await.burst(10).await;
    wait_taken(&hook, 10).await;

    wait_applied(&daemon, bucket.route("good", &hook).await).await;
    assert_eq!([endpoints(&daemon, "active").await, endpoints(&daemon, "refused").await], [1.0, 3.0]);
}

#[tokio::test]
async fn the_file_comes_first_and_then_whoever_was_there() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let (hook, other) = (Webhook::start(), Webhook::start());
    bucket.route("mine", &other).await;
    let daemon = follower(&nats)
        .config(&format!("[routes.mine]\nsubject = \"endpoints.mine\"\nwebhook.url = \"{}\"\n", hook.url()));
    let daemon = daemon.start_ready().await;
    bucket.route("first", &hook).await;
    let mut late = route("first", &other);
    late["subject"] = json!("endpoints.*");
    wait_applied(&daemon, bucket.put("routes.late", &late).await).await;
    let states = ["active", "refused", "overridden"];
    let metrics = daemon.metrics().await;
    assert_eq!(states.map(|state| metrics.value("broadcaster_endpoints", &[("state", state)])), [1.0; 3]);
    publisher(&nats, "mine").await.burst(10).await;
    publisher(&nats, "first").await.burst(10).await;
    wait_taken(&hook, 20).await;
    assert_eq!(other.received(), 0);
}

#[tokio::test]
async fn a_value_names_files_of_one_folder_only() {
    let nats = NatsServer::start().await;
    let bucket = Bucket::make(&nats).await;
    let hook = Webhook::start();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).expect("it is writable");
    fs::write(secrets.join("token"), "t0ken\n").expect("it is writable");
    fs::write(folder.path().join("other"), "0ther\n").expect("it is writable");
    std::os::unix::fs::symlink("../other", secrets.join("link")).expect("it is writable");
    let daemon = follower(&nats).arg("--set").arg(format!("endpoints.secrets_dir={}", secrets.display()));
    let daemon = daemon.start_ready().await;
    let outside = folder.path().join("other");
    let outside = outside.to_str().expect("it is UTF-8");
    for (name, file) in [("up", "../other"), ("absolute", outside), ("link", "link"), ("good", "token")] {
        let mut value = route(name, &hook);
        value["webhook"]["auth"] = json!({ "bearer": { "token_file": file } });
        value["webhook"]["headers_file"] = json!({ "x-token": file });
        let revision = bucket.put(&format!("routes.{name}"), &value).await;
        wait_applied(&daemon, revision).await;
    }
    let said = complaints(&daemon).await;
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(
        said.iter()
            .all(|said| said.matches("expected the name of a file in endpoints.secrets_dir").count() == 2),
        "{said:#?}"
    );
    publisher(&nats, "good").await.burst(1).await;
    wait_taken(&hook, 1).await;
    assert_eq!(hook.requests()[0].header("authorization"), "Bearer t0ken");
}
