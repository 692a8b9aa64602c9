//! Dead letters over the API with exactly what the document lists for them, and without each of those.

use async_nats::jetstream::{self, stream::Config};
use hyper::{Method, Request};
use serde_json::Value;
use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::Webhook;

use super::{
    PASSWORD, USER, assert_all_used, assert_nothing_refused,
    modes::SOON,
    server_with,
    table::{Permission, permissions},
};

const TOKEN: &str = "actor-token-0123456789";
const OWN: &str = "Dead letters over the API";
const TITLES: [&str; 4] = ["Core", "Dead letters", "Dead letters in a stream", OWN];
const LETTERS: u64 = 4;

/// A daemon with some letters, which logs in as a user with these permissions.
async fn graveyard(granted: &[Permission], hook: &Webhook) -> (NatsServer, Running) {
    let nats = server_with(granted).await;
    let config = Config {
        name: "DEAD".to_owned(),
        subjects: vec!["broadcaster.dead.default".to_owned()],
        ..Config::default()
    };
    jetstream::new(nats.client().await).create_stream(config).await.expect("a stream can be made");
    hook.answer(400);
    let url = nats.url().replace("nats://", &format!("nats://{USER}:{PASSWORD}@"));
    let daemon = Daemon::new()
        .env("WEBHOOK_URL", hook.url())
        .env("NATS_URL", url)
        .env("BROADCASTER__SHUTDOWN__HAND_OVER", "false")
        .env("BROADCASTER__SERVER__TOKENS__OPS__TOKEN", TOKEN)
        .env("BROADCASTER__SERVER__TOKENS__OPS__ROLE", "act")
        .route("dead_letter.stream", "DEAD");
    let daemon = daemon.start_ready().await;
    Publisher::new(nats.client().await, "todos.events").burst(LETTERS).await;
    let dead = |metrics: &testkit::metrics::Metrics| {
        metrics.sum("broadcaster_messages_processed_total", &[]) == LETTERS as f64
    };
    daemon.wait_metrics(dead, SOON).await;
    hook.answer(200);
    (nats, daemon)
}

async fn ask(daemon: &Running, method: Method, path: &str, body: &'static str) -> Value {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1/dead-letters{path}"))
        .header("authorization", format!("Bearer {TOKEN}"));
    let answer = testkit::http::send(request, body.into(), daemon.api()).await.expect("it is answered");
    serde_json::from_str(&answer.body).expect("it is JSON")
}

/// Does all that can be done with letters, and returns what was said.
async fn see_to_all(daemon: &Running) -> Vec<Value> {
    let mut said = vec![ask(daemon, Method::GET, "", "").await, ask(daemon, Method::GET, "/1", "").await];
    for (path, body) in [("/replay", r#"{"sequences":[1,2]}"#), ("/discard", r#"{"all":true}"#)] {
        said.push(ask(daemon, Method::POST, path, body).await);
        let latest = async || ask(daemon, Method::GET, "/job", "").await;
        said.push(testkit::wait_for(SOON, latest, |latest| latest["job"]["state"] != "running").await);
    }
    said
}

#[tokio::test]
async fn letters_are_seen_to_over_the_api_with_what_is_listed() {
    let hook = Webhook::start();
    let (nats, daemon) = graveyard(&permissions(&TITLES), &hook).await;
    let said = see_to_all(&daemon).await;
    assert_eq!(said[0]["total"], LETTERS, "{said:?}");
    let job =
        |place: usize| (said[place]["job"]["delivered"].as_u64(), said[place]["job"]["removed"].as_u64());
    assert_eq!((job(3), job(5)), ((Some(2), Some(2)), (Some(0), Some(2))), "{said:?}");
    assert_all_used(&nats, &permissions(&[OWN]));
    assert_nothing_refused(&nats);
}

#[tokio::test]
async fn letters_over_the_api_say_what_is_missing() {
    for missing in permissions(&[OWN]) {
        let granted: Vec<_> =
            permissions(&TITLES).into_iter().filter(|permission| *permission != missing).collect();
        let hook = Webhook::start();
        let (_nats, daemon) = graveyard(&granted, &hook).await;
        let before = hook.delivered();
        let said = see_to_all(&daemon).await;
        let is_named = |answer: &Value| answer.to_string().contains(&missing.subject);
        assert!(said.iter().any(is_named), "{missing:?} is not named: {said:#?}");
        assert_eq!(hook.delivered(), before, "a letter was delivered that can't be removed: {said:#?}");
    }
}
