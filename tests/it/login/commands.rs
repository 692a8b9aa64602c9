//! The commands log in as the daemon does.

use serde_json::Value;
use testkit::{
    daemon::run,
    nats::{NatsServer, next},
    token_server::TokenServer,
    webhook::Webhook,
};

use super::{Daemon, SOON, publisher};

const PREFIX: &str = "BROADCASTER__ROUTES__DEFAULT__WEBHOOK__AUTH__OAUTH2__";

#[tokio::test]
async fn a_check_fetches_a_token_and_says_what_came() {
    let server = TokenServer::start(600);
    let lines = |secret: &str| {
        let auth = |key: &str| format!("{PREFIX}{key}");
        let (url, token_url) = (server.hook_url(), server.token_url());
        let env = [
            ("WEBHOOK_URL".to_owned(), url.as_str()),
            ("NATS_URL".to_owned(), "nats://127.0.0.1:1"),
            (auth("TOKEN_URL"), &token_url),
            (auth("CLIENT_ID"), "by header"),
            (auth("CLIENT_SECRET"), secret),
        ];
        let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let output = run(&["check", "--connect"], &env);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let good = lines(TokenServer::SECRET);
    assert!(good.contains("a token from 127.0.0.1, good for 10m"), "{good}");
    let wrong = lines("wrong");
    assert!(wrong.contains("127.0.0.1 answers 401 invalid_client"), "{wrong}");
    assert!(!good.contains("s3cret") && !wrong.contains("s3cret"), "{good}{wrong}");
    assert_eq!(server.state().await.delivered.len(), 0);
}

#[tokio::test]
async fn a_replay_logs_in_and_says_why_it_cannot() {
    let mut server = TokenServer::start(600);
    let nats = NatsServer::builder().jetstream("").start().await;
    let client = nats.client().await;
    let jetstream = async_nats::jetstream::new(client.clone());
    let stream = async_nats::jetstream::stream::Config {
        name: "DEAD".to_owned(),
        subjects: vec!["dead".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(stream).await.expect("there is room for a stream");
    let mut letters = client.subscribe("dead").await.expect("the client takes a subscription");
    let refusing = Webhook::answering([422]);
    let mut daemon =
        Daemon::between(&nats, &refusing.url()).route("dead_letter.subject", "dead").start_ready().await;
    publisher(&nats).await.burst(2).await;
    for _ in 0..2 {
        drop(next(&mut letters, SOON).await);
    }
    daemon.stop().await;
    let (url, nats_url, token_url) = (server.hook_url(), nats.url(), server.token_url());
    let auth = |key: &str| format!("{PREFIX}{key}");
    let env = [
        ("WEBHOOK_URL".to_owned(), url.as_str()),
        ("NATS_URL".to_owned(), &nats_url),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__SUBJECT".to_owned(), "dead"),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__STREAM".to_owned(), "DEAD"),
        (auth("TOKEN_URL"), &token_url),
        (auth("CLIENT_ID"), "by header"),
        (auth("CLIENT_SECRET"), TokenServer::SECRET),
    ];
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let replay = || run(&["dead-letters", "--json", "replay", "--all"], &env);
    server.stop();
    let failed = replay();
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(
        !failed.status.success() && said.contains("there is no token to log in to the webhook with"),
        "{said}"
    );
    server.restart();
    let output = replay();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_eq!((&summary["delivered"], &summary["left"]), (&2.into(), &0.into()), "{output:?}");
    assert_eq!(server.state().await.delivered.len(), 2);
}
