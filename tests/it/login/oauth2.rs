//! Tokens: fetched once, renewed ahead of their end, exchanged once where they are refused.

use std::collections::BTreeSet;

use testkit::{
    nats::NatsServer,
    stage::Stage,
    token_server::{State, TokenServer},
};

use super::{Daemon, SOON, as_client, publisher};

/// Waits until the webhook beside `server` has let `count` messages in.
async fn delivered(server: &TokenServer, count: usize) {
    let are_all = |state: &State| state.delivered.iter().collect::<BTreeSet<_>>().len() == count;
    server.wait(are_all, SOON).await;
}

async fn stage(server: &TokenServer, client: &str) -> Stage {
    let describe = |daemon: Daemon| {
        as_client(daemon, server, client)
            .env("BROADCASTER__RUNTIME__THREADS", "2")
            // A message that had to pay for anything would be dead.
            .route("retry.attempts", "1")
            .route("dead_letter.subject", "dead")
    };
    Stage::set(&server.hook_url(), describe).await
}

#[tokio::test]
async fn one_token_is_fetched_for_two_lanes() {
    for client in ["by header", "by body"] {
        let server = TokenServer::start(600);
        let mut stage = stage(&server, client).await;
        publisher(&stage.nats).await.burst(400).await;
        delivered(&server, 400).await;
        let state = server.state().await;
        assert_eq!((state.fetches, state.unauthorized, state.tokens.len()), (1, 0, 1), "{client}: {state:?}");
        assert_eq!(state.scopes, ["hooks:write"], "{client}");
        assert_eq!(stage.close().await.delivered, 400);
        let told = [
            stage.daemon.logs_containing(TokenServer::SECRET),
            stage.daemon.logs_containing(&state.tokens[0]),
        ];
        assert!(told.iter().all(Vec::is_empty), "a secret is in the log: {told:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_is_exchanged_once_and_no_message_pays() {
    let server = TokenServer::start(600);
    let mut stage = stage(&server, "by header").await;
    let mut publisher = publisher(&stage.nats).await;
    publisher.burst(100).await;
    delivered(&server, 100).await;
    server.revoke().await;
    // Slow enough that a storm would show.
    server.delay(300).await;
    publisher.burst(1000).await;
    delivered(&server, 1100).await;
    let state = server.state().await;
    assert_eq!(
        (state.fetches, state.most_at_once, state.tokens.len()),
        (2, 1, 2),
        "{} refused",
        state.unauthorized
    );
    // No more than what was under way when the first was refused.
    assert!((1..=64).contains(&state.unauthorized), "{} refused", state.unauthorized);
    let codes = stage.codes().await;
    assert_eq!(
        (codes.get("login"), codes.get("401")),
        (Some(&(state.unauthorized as u64)), None),
        "{codes:?}"
    );
    assert_eq!(
        stage
            .daemon
            .events("the webhook does not take the token any more (401), another one is fetched")
            .len(),
        1
    );
    assert_eq!(stage.close().await.delivered, 1100);
}

#[tokio::test]
async fn a_webhook_that_takes_no_token_is_one_that_refuses_us() {
    let server = TokenServer::start(600);
    let mut stage = stage(&server, "by header").await;
    server.refuse().await;
    publisher(&stage.nats).await.burst(20).await;
    let refused = |metrics: &testkit::metrics::Metrics| {
        metrics.value("broadcaster_webhook_trouble", &[("trouble", "refused")]) > 0.0
    };
    stage.daemon.wait_metrics(refused, SOON).await;
    let state = server.state().await;
    assert_eq!((state.fetches, state.delivered.len()), (2, 0), "{state:?}");
    let (_, health) = stage.daemon.health().await;
    assert!(health.contains("the webhook refuses what it gets") && health.contains("(401)"), "{health}");
    let codes = stage.codes().await;
    assert!(codes["401"] >= 3 && codes["login"] >= 1, "{codes:?}");
    let metrics = stage.daemon.metrics().await;
    assert_eq!(metrics.sum("broadcaster_messages_processed_total", &[]), 0.0, "somebody paid");
    stage.daemon.kill();
}

#[tokio::test]
async fn tokens_that_end_under_load_are_renewed_ahead() {
    let server = TokenServer::start(3);
    let mut stage = stage(&server, "by header").await;
    let steady = publisher(&stage.nats).await.steadily(300);
    server.wait(|state| state.delivered.len() >= 1800, SOON).await;
    let count = steady.stop().await.count();
    delivered(&server, usize::try_from(count).unwrap()).await;
    let state = server.state().await;
    assert!(state.tokens.len() >= 3, "{} tokens", state.tokens.len());
    assert_eq!((state.unauthorized, state.most_at_once), (0, 1), "{} fetches", state.fetches);
    // Six seconds, and one and a half for each.
    assert!(state.fetches <= 10, "{} fetches", state.fetches);
    assert_eq!(stage.close().await.delivered, count);
}

#[tokio::test]
async fn a_secret_that_is_renewed_is_used_for_the_next_token() {
    let server = TokenServer::start(600);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "wrong").unwrap();
    let nats = NatsServer::start().await;
    let auth = "webhook.auth.oauth2";
    let mut daemon = Daemon::between(&nats, &server.hook_url())
        .route(&format!("{auth}.token_url"), &server.token_url())
        .route(&format!("{auth}.client_id"), "by header")
        .route(&format!("{auth}.client_secret_file"), secret.to_str().unwrap())
        .start_ready()
        .await;
    publisher(&nats).await.burst(3).await;
    daemon.wait_log("there is no token to log in to the webhook with, its messages wait", SOON).await;
    let (_, health) = daemon.health().await;
    assert!(health.contains("127.0.0.1 answers 401 invalid_client"), "{health}");
    super::swap(&secret, TokenServer::SECRET);
    delivered(&server, 3).await;
    assert_eq!(daemon.stop().await.delivered, 3);
}
