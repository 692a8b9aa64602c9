//! Signatures, held against those of botocore.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use testkit::{
    process::tool,
    webhook::{Received, Webhook},
};

use super::{SOON, Stage};
use crate::signing;

const ID: &str = "AKIDEXAMPLE";
const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// What botocore signs `request` with, which was sent to `url`.
fn signed(request: &Received, url: &str) -> String {
    let given = serde_json::json!({
        "url": url, "date": request.header("x-amz-date"), "body": request.text(),
        "token": request.header("x-amz-security-token"),
        "id": ID, "key": KEY, "service": "execute-api", "region": "eu-central-1",
    });
    let mut command = Command::new(tool("botocore-python", "BOTOCORE_PYTHON"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kit/src/sigv4.py"));
    let mut signer = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
    let mut input = signer.stdin.take().expect("stdin is piped");
    input.write_all(given.to_string().as_bytes()).expect("python reads");
    drop(input);
    let output = signer.wait_with_output().expect("python ends");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_request_is_signed_as_botocore_signs_it_and_again_for_each_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("session");
    let hook = Webhook::answering([503, 204]);
    let key = |key: &str| format!("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__AUTH__AWS__{key}");
    for session in [None, Some("a+session/token==")] {
        let url = format!("{}/a%20b/ä?b=2&a=1%2F&a=0", hook.url());
        std::fs::write(&token, session.unwrap_or_default()).unwrap();
        let before = hook.received();
        let mut stage = Stage::set(&url, |daemon| {
            let daemon = daemon
                .impatient()
                .env(key("REGION"), "eu-central-1")
                .env(key("SERVICE"), "execute-api")
                .env(key("ACCESS_KEY_ID"), ID)
                .env(key("SECRET_ACCESS_KEY"), KEY);
            if session.is_some() { daemon.env(key("SESSION_TOKEN_FILE"), &token) } else { daemon }
        })
        .await;
        stage.publish("{\"title\": \"läuft\"}").await;
        hook.wait_for(|hook| hook.delivered() > before / 2, SOON).await;
        for request in &hook.requests()[before..] {
            assert_eq!(request.header("x-amz-security-token"), session.unwrap_or_default());
            let sent = url.replace('ä', "%C3%A4");
            assert_eq!(request.header("authorization"), signed(request, &sent), "{session:?}");
        }
        let account = stage.close().await;
        assert_eq!(account.delivered, 1);
        assert!(stage.daemon.logs_containing(KEY).is_empty(), "the key is in the log");
        hook.answer([503, 204]);
    }
}

#[tokio::test]
async fn a_request_that_is_signed_for_the_receiver_too_has_two_signatures_that_both_hold() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let hook = Webhook::answering([503, 204]);
    let key = |key: &str| format!("BROADCASTER__ROUTES__DEFAULT__WEBHOOK__AUTH__AWS__{key}");
    let mut stage = Stage::set(&hook.url(), |daemon| {
        signing::signing(daemon.impatient(), &[("keys.k.secret", SECRET)])
            .env(key("REGION"), "eu-central-1")
            .env(key("SERVICE"), "execute-api")
            .env(key("ACCESS_KEY_ID"), ID)
            .env(key("SECRET_ACCESS_KEY"), KEY)
    })
    .await;
    stage.publish("{\"title\": \"läuft\"}").await;
    hook.wait_delivered(1, SOON).await;
    let requests = hook.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.header("authorization"), signed(request, &hook.url()));
        signing::Verifier::StandardRust.insist(request, SECRET);
    }
    assert_eq!(stage.close().await.delivered, 1);
}
