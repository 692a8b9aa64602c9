//! The API against a program that asks for all that its description allows, and for much that it does not.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::spawn_blocking;

use super::letters::graveyard_of;
use super::{ACTOR, is_one_of};
use testkit::daemon::Daemon;
use testkit::process::tool;
use testkit::publisher::Publisher;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

/// How many requests are made up for each operation, beside those that the description suggests.
const MADE_UP: &str = "10";
/// Streams that go on: it would wait for their end.
const ENDLESS: [&str; 2] = ["/api/v1/status/events", "/api/v1/attempts"];
/// What there is of the route, and of the letter, that are asked for. Of a route that is written no description says all
/// that may be wrong with it, so that one that looks right may be refused.
const SETTINGS: &str = r#"
[parameters]
"path.name" = "default"
"path.sequence" = 1
"query.route" = "default"

[[operations]]
include-operation-id = "putRoute"
checks.positive_data_acceptance.expected-statuses = ["2XX", "4XX"]
"#;

/// Every answer is one that is described, nothing is answered 5xx, what is allowed is taken and what is not is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let hook = Webhook::counting();
    let with_bucket = |daemon: Daemon| {
        daemon.env("BROADCASTER__ENDPOINTS__BUCKET", "fleet").env("BROADCASTER__ENDPOINTS__CREATE", "true")
    };
    let mut stage = graveyard_of(&hook, 20, with_bucket).await;
    // These would remove the letters that the others look at.
    let acts = ["replay", "discard"].map(|act| format!("/api/v1/dead-letters/{act}"));
    let left_out: Vec<_> = ENDLESS.into_iter().chain(acts.iter().map(String::as_str)).collect();
    let answered = fuzz(&stage, &left_out).await;
    // It has asked for the description by itself.
    let is_meant = |path: &str| !left_out.contains(&path) && path != "/api/v1/openapi.json";
    assert_taken(&stage, &answered, is_meant).await;

    // The daemon is as well as before, and has the level of the log that it began with, or will have.
    stage.daemon.ready(Duration::from_secs(60)).await;
    let client = super::Client::of(&stage.daemon, ACTOR).await;
    client.resume().await;
    stage.publish("20").await;
    stage.wait_processed(21).await;
    stage.close().await;
}

/// The same of dead letters, which are replayed and discarded while others come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing_while_letters_come_and_go() {
    let hook = Webhook::counting();
    let mut stage = graveyard_of(&hook, 20, |daemon| daemon).await;
    let coming = Publisher::new(stage.client.clone(), "todos.events").steadily(100);
    let is_meant =
        |path: &str| path.ends_with("/replay") || path.ends_with("/discard") || path.ends_with("/job");
    let paths = paths(&stage).await;
    let others: Vec<_> = paths.keys().map(String::as_str).filter(|path| !is_meant(path)).collect();
    let answered = fuzz(&stage, &others).await;
    assert_taken(&stage, &answered, is_meant).await;
    drop(coming.stop().await);
    stage.close().await;
}

/// The paths of the description, each with its operations by their methods.
async fn paths(stage: &Stage) -> Map<String, Value> {
    let document = stage.daemon.get("/api/v1/openapi.json").await.body;
    let document: Value = serde_json::from_str(&document).expect("it is JSON");
    document["paths"].as_object().expect("it has paths").clone()
}

/// A method, a path and the status of the answer.
type Answered = (String, String, u64);

/// Asks for all but `left_out`, and returns what was answered, where nothing of it was wrong.
async fn fuzz(stage: &Stage, left_out: &[&str]) -> BTreeSet<Answered> {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let settings = folder.path().join("schemathesis.toml");
    std::fs::write(&settings, SETTINGS).expect("it can be written");
    let mut command = std::process::Command::new(tool("schemathesis", "SCHEMATHESIS"));
    command
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(&settings)
        .args(["run", &format!("http://{}/api/v1/openapi.json", stage.daemon.api())])
        .args(["--header", &format!("Authorization: Bearer {ACTOR}")])
        .args(left_out.iter().flat_map(|path| ["--exclude-path", path]))
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", MADE_UP, "--rate-limit", "40/s"])
        .args(["--continue-on-failure", "--seed", "1", "--request-timeout", "30"])
        .args(["--report", "har", "--report-har-path", "answered.har"]);
    let output = spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(ACTOR), "it shows the token");
    answered(&folder.path().join("answered.har"))
}

/// What the report at `path` tells of.
fn answered(path: &Path) -> BTreeSet<Answered> {
    let report = std::fs::read_to_string(path).expect("there is a report");
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    let entries = report["log"]["entries"].as_array().expect("it has entries");
    let read = |entry: &Value| {
        let url = entry["request"]["url"].as_str()?.split_once("://")?.1;
        let path = url.split_once('/')?.1.split('?').next()?;
        let method = entry["request"]["method"].as_str()?;
        Some((method.to_owned(), format!("/{path}"), entry["response"]["status"].as_u64()?))
    };
    entries.iter().filter_map(read).collect()
}

/// A panic unless each operation at the paths that are `meant` has been done at least once: what is refused whatever it says
/// would show nothing.
async fn assert_taken(stage: &Stage, answered: &BTreeSet<Answered>, meant: impl Fn(&str) -> bool) {
    let paths = paths(stage).await;
    let operations = paths.iter().filter(|(path, _)| meant(path)).flat_map(|(path, operations)| {
        operations.as_object().expect("they have names").keys().map(move |method| (method, path))
    });
    let is_taken = |(method, template): &(&String, &String)| {
        answered.iter().any(|(asked, path, status)| {
            asked.eq_ignore_ascii_case(method) && is_one_of(template, path) && *status < 300
        })
    };
    let never: Vec<_> = operations.filter(|operation| !is_taken(operation)).collect();
    assert!(never.is_empty(), "never done: {never:?}");
}
