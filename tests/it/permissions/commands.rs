//! The commands for dead letters with exactly what the document lists for them.

use std::process::Output;

use async_nats::jetstream;
use testkit::daemon::{Daemon, run};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::Webhook;

use super::{
    PASSWORD, USER, assert_all_used, assert_nothing_refused, modes::SOON, server_with, table::permissions,
};

const LETTERS: u64 = 3;

/// A server with some letters, and a user with what these parts of the document list.
async fn graveyard(titles: &[&str]) -> NatsServer {
    let nats = server_with(&permissions(titles)).await;
    let hook = Webhook::answering([400]);
    let daemon = Daemon::between(&nats, &hook.url())
        .route("dead_letter.stream", "DEAD")
        .route("dead_letter.create", "true");
    let mut daemon = daemon.start_ready().await;
    Publisher::new(nats.client().await, "todos.events").burst(LETTERS).await;
    daemon
        .wait_metrics(
            |metrics| metrics.sum("broadcaster_messages_processed_total", &[]) == LETTERS as f64,
            SOON,
        )
        .await;
    assert_eq!(daemon.stop().await.dead_lettered, LETTERS);
    nats
}

/// Runs `broadcaster dead-letters` as that user.
fn command(nats: &NatsServer, hook: &Webhook, arguments: &[&str]) -> Output {
    let url = nats.url().replace("nats://", &format!("nats://{USER}:{PASSWORD}@"));
    let letters = ["dead-letters", "--set", "routes.default.dead_letter.stream=DEAD"];
    let output = run(&[&letters, arguments].concat(), &[("WEBHOOK_URL", &hook.url()), ("NATS_URL", &url)]);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// How many letters the stream has.
async fn count(nats: &NatsServer) -> u64 {
    let stream = jetstream::new(nats.client().await).get_stream("DEAD").await;
    stream.expect("the stream is there").cached_info().state.messages
}

const LOOK: &str = "The command dead-letters";
const REPLAY: &str = "The command dead-letters replay";
const PURGE: &str = "The command dead-letters purge";

#[tokio::test]
async fn letters_are_listed_and_shown_with_what_is_listed() {
    let nats = graveyard(&[LOOK]).await;
    let hook = Webhook::start();
    let listed = command(&nats, &hook, &["list", "--json"]).stdout;
    let first: serde_json::Value =
        serde_json::from_slice(listed.split(|b| *b == b'\n').next().unwrap()).unwrap();
    let shown = command(&nats, &hook, &["show", first["id"].as_str().unwrap()]).stdout;
    assert!(String::from_utf8_lossy(&shown).contains("Broadcaster-Reason: rejected"));
    assert_all_used(&nats, &permissions(&[LOOK]));
    assert_nothing_refused(&nats);
}

#[tokio::test]
async fn letters_are_replayed_with_what_is_listed() {
    let nats = graveyard(&[LOOK, REPLAY]).await;
    let hook = Webhook::start();
    command(&nats, &hook, &["replay", "--all"]);
    hook.assert_exactly_once(0..LETTERS);
    assert_eq!(count(&nats).await, 0);
    assert_all_used(&nats, &permissions(&[REPLAY]));
    assert_nothing_refused(&nats);
}

#[tokio::test]
async fn letters_are_purged_with_what_is_listed() {
    let nats = graveyard(&[LOOK, PURGE]).await;
    let hook = Webhook::start();
    command(&nats, &hook, &["purge", "--reason", "rejected", "--since", "1h"]);
    assert_eq!(count(&nats).await, 0);
    command(&nats, &hook, &["purge", "--all"]);
    assert_all_used(&nats, &permissions(&[PURGE]));
    assert_nothing_refused(&nats);
}
