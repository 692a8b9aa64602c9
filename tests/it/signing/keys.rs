//! Keys that are made, rotated and end.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use testkit::daemon::{binary, run};
use testkit::stage::Stage;
use testkit::webhook::Webhook;

use super::{ASYMMETRIC, OTHER_SYMMETRIC, PUBLIC, SOON, SYMMETRIC, Verifier, request_signed_by, signing};

/// What `broadcaster keys` prints, and what it says of that.
fn keys(arguments: &[&str]) -> (String, String) {
    let output = run(&[&["keys"], arguments].concat(), &[]);
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (text(output.stdout), text(output.stderr))
}

/// What `broadcaster keys public` answers to `secret`: its output, or what it says is wrong.
fn public(secret: &str) -> Result<String, String> {
    let mut command = Command::new(binary());
    command.args(["keys", "public"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program is there");
    child.stdin.take().expect("it is piped").write_all(secret.as_bytes()).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[tokio::test]
async fn a_new_key_can_be_sent_into_a_file_and_signs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let (key, said) = keys(&["new"]);
    assert_ne!(key, keys(&["new"]).0);
    assert!(!said.contains("whsec_") && key.lines().count() == 1, "{said}");
    fs::write(&file, &key).unwrap();
    let request = request_signed_by(&[("keys.a.secret_file", file.to_str().unwrap())], &[], "{}").await;
    Verifier::StandardPython.insist(&request, key.trim());

    let (pair, said) = keys(&["new", "--asymmetric"]);
    let public_key = said.lines().find(|line| line.starts_with("whpk_")).expect("the public key is told");
    assert!(!said.contains("whsk_") && pair.starts_with("whsk_"), "{said}");
    assert_eq!(public(&pair).as_deref(), Ok(&*format!("{public_key}\n")));
    fs::write(&file, &pair).unwrap();
    let request = request_signed_by(&[("keys.a.secret_file", file.to_str().unwrap())], &[], "{}").await;
    Verifier::Asymmetric.insist(&request, public_key);
}

#[test]
fn only_a_secret_key_of_a_pair_has_a_public_one() {
    assert_eq!(public(ASYMMETRIC).as_deref(), Ok(&*format!("{PUBLIC}\n")));
    for (secret, expected) in
        [(SYMMETRIC, "has no public part"), ("hunter2", "begins with whsec_"), (PUBLIC, "not the public one")]
    {
        let error = public(secret).unwrap_err();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_key_in_a_file_is_rotated_while_the_daemon_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let swap = |text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
    };
    swap(SYMMETRIC);
    let hook = Webhook::start();
    let settings = [("keys.a.secret_file", file.to_str().unwrap())];
    let mut stage = Stage::set(&hook.url(), |daemon| signing(daemon, &settings)).await;
    stage.publish("0").await;
    hook.wait_delivered(1, SOON).await;
    Verifier::StandardRust.insist(&hook.requests()[0], SYMMETRIC);
    // What is no key is said, and not used.
    swap("no key");
    stage.daemon.wait_log("a file can't be read again", SOON).await;
    stage.publish("1").await;
    hook.wait_delivered(2, SOON).await;
    Verifier::StandardRust.insist(&hook.requests()[1], SYMMETRIC);
    swap(OTHER_SYMMETRIC);
    stage.daemon.wait_log("file read again", SOON).await;
    stage.publish("2").await;
    hook.wait_delivered(3, SOON).await;
    Verifier::StandardRust.insist(&hook.requests()[2], OTHER_SYMMETRIC);
    for secret in [SYMMETRIC, OTHER_SYMMETRIC] {
        let log = stage.daemon.logs_containing(secret.trim_start_matches("whsec_"));
        assert!(log.is_empty(), "the log has a secret: {log:?}");
    }
    stage.close().await;
}

#[tokio::test]
async fn when_all_keys_have_ended_messages_wait_and_none_goes_out_unsigned() {
    let hook = Webhook::start();
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let until = humantime::format_rfc3339_millis(end).to_string();
    let settings = [("keys.a.secret", SYMMETRIC), ("keys.a.until", &until)];
    let mut stage = Stage::set(&hook.url(), |daemon| {
        signing(daemon, &settings)
            .impatient()
            .route("retry.attempts", "1")
            .env("BROADCASTER__SHUTDOWN__GRACE", "0s")
    })
    .await;
    assert!(
        !stage.daemon.logs_containing("nothing is sent any more after").is_empty(),
        "the end is not announced"
    );
    let is_over = || (std::time::SystemTime::now() > end).then_some(());
    testkit::poll(SOON, is_over).await.expect("time passes");
    let before = hook.received();
    stage.publish("0").await;
    let failed = |metrics: &testkit::metrics::Metrics| {
        metrics.sum("broadcaster_webhook_requests_total", &[("code", "local")]) >= 3.0
    };
    stage.daemon.wait_metrics(failed, SOON).await;
    let account = stage.close().await;
    assert_eq!((hook.received(), account.delivered, account.dead_lettered), (before, 0, 0));
    assert!(!stage.daemon.logs_containing("all keys of webhook.signing have ended").is_empty());
}
