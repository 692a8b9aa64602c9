//! Secrets in values that only the key of the fleet opens, from the command that makes it to the request.

use std::io::Write as _;
use std::process::{Command, Stdio};

use testkit::daemon::{binary, run};

use super::*;

const SECRET: &str = "s3cret-token";

/// What `broadcaster keys seal` makes of [`SECRET`].
fn sealed(route: &str, public: &str) -> Value {
    let mut command = Command::new(binary());
    command.args(["keys", "seal", "--route", route, "--to", public]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program is there");
    child.stdin.take().expect("it is piped").write_all(SECRET.as_bytes()).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[tokio::test]
async fn a_secret_is_sealed_by_the_command_and_sent_by_the_fleet() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let file = folder.path().join("identity");
    let made = run(&["keys", "new", "--sealing"], &[]);
    std::fs::write(&file, &made.stdout).expect("it is writable");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    let public = said.lines().last().expect("the public key is told");

    let nats = NatsServer::start().await;
    let (bucket, hook) = (Bucket::make(&nats).await, Webhook::start());
    let identity = format!("endpoints.identity_file={}", file.display());
    let daemon = follower(&nats).arg("--set").arg(identity).start_ready().await;
    let mut value = route("todos", &hook);
    value["webhook"]["auth"] = json!({ "bearer": { "token": sealed("todos", public) } });
    assert!(!value.to_string().contains(SECRET));
    wait_applied(&daemon, bucket.put("routes.todos", &value).await).await;
    publisher(&nats, "todos").await.burst(1).await;
    wait_taken(&hook, 1).await;
    assert_eq!(hook.requests()[0].header("authorization"), format!("Bearer {SECRET}"));

    // In another route it is of no use.
    let mut stolen = route("other", &hook);
    stolen["webhook"]["auth"] = value["webhook"]["auth"].clone();
    wait_applied(&daemon, bucket.put("routes.other", &stolen).await).await;
    let said = complaints(&daemon).await.concat();
    assert!(said.contains("expected what broadcaster keys seal makes for the route other"), "{said}");
    let log = daemon.logs().concat();
    assert!(!log.contains(SECRET) && !said.contains(SECRET), "the secret is shown");
}
