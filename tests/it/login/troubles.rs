//! What a token server can do wrong: messages wait, none is charged, and it is said once.

use testkit::{
    metrics::Metrics,
    stage::Stage,
    tls::Authority,
    token_server::TokenServer,
    webhook::{Reply, Webhook},
};

use super::{SOON, as_client, publisher};

const LACKING: &str = "there is no token to log in to the webhook with, its messages wait";

fn lacks_login(metrics: &Metrics) -> bool {
    metrics.value("broadcaster_webhook_trouble", &[("trouble", "login")]) > 0.0
}

#[tokio::test]
async fn while_the_token_server_is_down_messages_wait_and_none_is_charged() {
    let mut server = TokenServer::start(600);
    server.stop();
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        as_client(daemon, &server, "by header")
            .route("retry.attempts", "1")
            .route("dead_letter.subject", "dead")
    })
    .await;
    publisher(&stage.nats).await.burst(50).await;
    stage.daemon.wait_log(LACKING, SOON).await;
    stage.daemon.wait_metrics(lacks_login, SOON).await;
    let (status, health) = stage.daemon.health().await;
    // It takes messages: they wait here.
    assert_eq!(status, 200, "{health}");
    assert!(health.contains(LACKING) && health.contains("connection refused"), "{health}");
    let all_wait = |metrics: &Metrics| metrics.value("broadcaster_queue_messages", &[]) >= 50.0;
    stage.daemon.wait_metrics(all_wait, SOON).await;
    assert!(stage.codes().await.is_empty(), "something counts as an attempt");
    server.restart();
    hook.wait_delivered(50, SOON).await;
    stage.wait_processed(50).await;
    stage.assert_codes([("200", 50)]).await;
    assert!(hook.requests().iter().all(|request| request.header("broadcaster-attempt") == "1"));
    assert_eq!(stage.daemon.events(LACKING).len(), 1);
    assert_eq!(stage.daemon.events("there is a token for the webhook again").len(), 1);
    assert!(!lacks_login(&stage.daemon.metrics().await));
    assert_eq!(stage.close().await.delivered, 50);
    hook.assert_exactly_once(0..50);
}

#[tokio::test]
async fn a_token_is_used_to_its_end_while_it_cannot_be_renewed() {
    // Renewed after eight seconds or so, and used for ten.
    let mut server = TokenServer::start(12);
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| as_client(daemon, &server, "by header")).await;
    let mut publisher = publisher(&stage.nats).await;
    publisher.burst(1).await;
    hook.wait_delivered(1, SOON).await;
    server.stop();
    let unrenewed = "the token for the webhook can't be renewed, it is used while it is valid";
    stage.daemon.wait_log(unrenewed, SOON).await;
    publisher.burst(1).await;
    hook.wait_delivered(2, SOON).await;
    stage.daemon.wait_metrics(lacks_login, SOON).await;
    publisher.burst(5).await;
    server.restart();
    hook.wait_delivered(7, SOON).await;
    stage.wait_processed(7).await;
    stage.assert_codes([("200", 7)]).await;
    assert_eq!(stage.close().await.delivered, 7);
}

#[tokio::test]
async fn what_is_no_token_is_told_and_bounded() {
    let json =
        |body: &str| Reply::status(200).header("content-type", "application/json").body(body.to_owned());
    for (reply, words) in [
        (
            Reply::status(307).header("location", "http://127.0.0.1:1/"),
            "answers 307 (a redirect, which is not followed)",
        ),
        (Reply::status(503).body("busy"), "answers 503 and no error in JSON"),
        (json("{}"), "answers 200 and no access_token"),
        (json(r#"{"access_token":"a\nb"}"#), "answers 200 and a token that can't stand in a header"),
        (json(&format!("{{\"access_token\":\"{}\"}}", "a".repeat(100_000))), "length limit exceeded"),
        (
            json(r#"{"error":"invalid_client","error_description":"not s3cret: of & client"}"#),
            "answers 200 with an error that shows the secret",
        ),
    ] {
        let (server, hook) = (Webhook::start(), Webhook::start());
        server.answer(reply);
        let auth = "BROADCASTER__ROUTES__DEFAULT__WEBHOOK__AUTH__OAUTH2__";
        let stage = Stage::set(&hook.url(), |daemon| {
            daemon
                .env(format!("{auth}TOKEN_URL"), server.url())
                .env(format!("{auth}CLIENT_ID"), "c")
                .env(format!("{auth}CLIENT_SECRET"), TokenServer::SECRET)
        })
        .await;
        stage.publish("1").await;
        let line = stage.daemon.wait_log(LACKING, SOON).await;
        assert!(line.contains(words) && !line.contains("s3cret"), "{words}: {line}");
        assert_eq!(hook.received(), 0, "{words}");
        // Then it is well.
        server.answer(json(r#"{"access_token":"t","token_type":"Bearer"}"#));
        hook.wait_delivered(1, SOON).await;
        assert_eq!(hook.requests()[0].header("authorization"), "Bearer t");
    }
}

#[tokio::test]
async fn a_token_server_that_demands_a_certificate_is_shown_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write_to(folder.path());
    let (cert, key) = authority.issue(&["broadcaster"]).write_to(folder.path(), "client");
    let demanding = authority.demanding(&authority.issue_loopback());
    let (server, hook) = (Webhook::start_tls_as(demanding), Webhook::start());
    server.answer(Reply::status(200).body(r#"{"access_token":"t","expires_in":600}"#));
    let auth = |daemon: testkit::daemon::Daemon| {
        let set = |daemon: testkit::daemon::Daemon, key: &str, value: &str| {
            daemon.route(&format!("webhook.auth.oauth2.{key}"), value)
        };
        let daemon = set(daemon, "token_url", &server.url());
        set(set(daemon, "client_id", "c"), "tls.ca_file", ca.to_str().unwrap())
    };
    let mut unknown = Stage::set(&hook.url(), auth).await;
    let line = unknown.daemon.wait_log(LACKING, SOON).await;
    assert!(line.contains("CertificateRequired"), "{line}");
    let failed =
        |metrics: &Metrics| metrics.value("broadcaster_token_fetches_total", &[("result", "failed")]) >= 1.0;
    unknown.daemon.wait_metrics(failed, SOON).await;
    assert_eq!(server.received(), 0, "it was asked by nobody that it knows");
    unknown.daemon.kill();
    let mut known = Stage::set(&hook.url(), |daemon| {
        let tls = "webhook.auth.oauth2.tls";
        auth(daemon)
            .route(&format!("{tls}.cert_file"), cert.to_str().unwrap())
            .route(&format!("{tls}.key_file"), key.to_str().unwrap())
    })
    .await;
    known.publish("1").await;
    hook.wait_delivered(1, SOON).await;
    assert_eq!(hook.requests()[0].header("authorization"), "Bearer t");
    let metrics = known.daemon.metrics().await;
    let fetches = ["fetched", "failed"]
        .map(|result| metrics.value("broadcaster_token_fetches_total", &[("result", result)]).to_string());
    assert_eq!(fetches, ["1", "0"]);
    assert_eq!(known.close().await.delivered, 1);
}

#[tokio::test]
async fn a_token_server_is_trusted_by_its_own_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let file = authority.write_to(folder.path());
    let (server, hook) = (Webhook::start_tls(&authority.issue_loopback()), Webhook::start());
    server.answer(Reply::status(200).body(r#"{"access_token":"t","expires_in":600}"#));
    let auth = |daemon: testkit::daemon::Daemon| {
        let key = "webhook.auth.oauth2";
        daemon.route(&format!("{key}.token_url"), &server.url()).route(&format!("{key}.client_id"), "c")
    };
    let strange = Stage::set(&hook.url(), auth).await;
    let line = strange.daemon.wait_log(LACKING, SOON).await;
    assert!(line.contains("name it by webhook.auth.oauth2.tls.ca_file"), "{line}");
    assert_eq!(server.received(), 0, "a stranger was told the client");
    let ca = file.to_str().unwrap().to_owned();
    let mut known =
        Stage::set(&hook.url(), |daemon| auth(daemon).route("webhook.auth.oauth2.tls.ca_file", &ca)).await;
    known.publish("1").await;
    hook.wait_delivered(1, SOON).await;
    assert_eq!(hook.requests()[0].header("authorization"), "Bearer t");
    assert_eq!(server.requests()[0].text(), "grant_type=client_credentials&client_id=c");
    assert_eq!(known.close().await.delivered, 1);
}
