//! The API against a program that asks for all that its description allows, and for much that it does not.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{ACTOR, with_tokens};
use testkit::process::tool;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

/// For how many seconds it goes on making up requests, after those that the description has examples for.
const SECONDS: &str = "12";

/// Every answer is one that is described, nothing is answered 5xx, what is allowed is taken and what is not is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let hook = Webhook::counting();
    let mut stage = Stage::set(&hook.url(), with_tokens).await;
    let folder = tempfile::tempdir().expect("a directory can be made");
    let settings = folder.path().join("schemathesis.toml");
    std::fs::write(&settings, "[parameters]\n\"path.name\" = \"default\"\n").expect("it can be written");
    let mut command = std::process::Command::new(tool("schemathesis", "SCHEMATHESIS"));
    command
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(&settings)
        .args(["run", &format!("http://{}/api/v1/openapi.json", stage.daemon.api())])
        .args(["--header", &format!("Authorization: Bearer {ACTOR}")])
        // It would wait for the end of the stream.
        .args(["--exclude-path", "/api/v1/status/events"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-time", SECONDS, "--rate-limit", "40/s"])
        .args(["--continue-on-failure", "--seed", "1", "--request-timeout", "30"]);
    let output = spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(ACTOR), "it shows the token");

    // The daemon is as well as before, and has the level of the log that it began with, or will have.
    stage.daemon.ready(Duration::from_secs(60)).await;
    let client = super::Client::of(&stage.daemon, ACTOR).await;
    client.resume().await;
    stage.publish("0").await;
    stage.wait_processed(1).await;
    stage.close().await;
}
