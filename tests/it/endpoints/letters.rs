//! Dead letters of routes of the bucket, for commands that go by the configuration.

use testkit::daemon;

use super::*;

/// How many letters the stream has.
async fn count(nats: &NatsServer) -> u64 {
    let stream = jetstream::new(nats.client().await).get_stream("DEAD").await;
    stream.expect("the stream is there").cached_info().state.messages
}

/// A route of the file and two of the bucket have their letters in one stream, three each.
async fn graveyard(nats: &NatsServer, config: &str, hook: &Webhook) {
    let bucket = Bucket::make(nats).await;
    nats.stream("DEAD", &["dead"]).await;
    let mut daemon = follower(nats).config(config).start_ready().await;
    let mut value = route("theirs", hook);
    value["dead_letter"] = json!({ "subject": "dead" });
    bucket.put("routes.theirs", &value).await;
    value["subject"] = json!("endpoints.torn");
    wait_applied(&daemon, bucket.put("routes.torn", &value).await).await;
    for route in ["mine", "theirs", "torn"] {
        publisher(nats, route).await.burst(3).await;
    }
    let dead = [("outcome", "dead_lettered")];
    daemon
        .wait_metrics(|metrics| metrics.sum("broadcaster_messages_processed_total", &dead) == 9.0, SOON)
        .await;
    // What runs of it nobody can tell from the value that is there now.
    bucket.put_text("routes.torn", "{").await;
    daemon.stop().await;
}

#[tokio::test]
async fn letters_of_a_bucket_are_found_by_their_route_and_by_no_other() {
    let nats = NatsServer::start().await;
    let hook = Webhook::answering([400]);
    let config = format!(
        "[routes.mine]\nsubject = \"endpoints.mine\"\nwebhook.url = \"{}\"\ndead_letter.subject = \"dead\"\n",
        hook.url()
    );
    graveyard(&nats, &config, &hook).await;
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let file = folder.path().join("broadcaster.toml");
    std::fs::write(&file, &config).expect("the directory is writable");
    let (file, url) = (file.to_str().expect("it is text"), nats.url());
    let command = |arguments: &[&str]| {
        let settings = ["dead-letters", "--config", file, "--set", "endpoints.bucket=broadcaster"];
        let output = daemon::run(&[&settings, arguments].concat(), &[("NATS_URL", &url)]);
        let (said, wrong) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}{wrong}");
        said.into_owned()
    };
    let listed = command(&["list", "--route", "theirs", "--json"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let letter: Value = serde_json::from_str(listed.lines().next().expect("the first")).expect("JSON");
    let id = letter["id"].as_str().expect("it has one");
    let env = [("NATS_URL", url.as_str()), ("BROADCASTER__ENDPOINTS__BUCKET", "broadcaster")];
    let told = daemon::run(&["history", id], &env);
    assert!(String::from_utf8_lossy(&told.stdout).contains("  dead letter "), "{told:?}");
    command(&["purge", "--all", "--route", "mine"]);
    assert_eq!(count(&nats).await, 6, "letters of others are gone");
    hook.answer(200);
    command(&["replay", "--all", "--route", "theirs"]);
    assert_eq!(count(&nats).await, 3);
}
