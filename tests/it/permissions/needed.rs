//! Each permission that the document lists is needed: taken away, something is said that names it.

use std::time::Duration;

use testkit::daemon::{Running, run};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::{Reply, Webhook};

use super::{
    modes::{MODES, Mode, SOON},
    server_with,
    table::{Permission, permissions},
};

/// The part of a subject that is said when it is refused: without the queue group, and without what stands for many.
fn spoken(permission: &Permission) -> &str {
    let subject = permission.subject.split(' ').next().unwrap_or_default();
    // Acknowledgements have another subject each; they are refused as a kind.
    if subject.starts_with("$JS.ACK.") { "$JS.ACK." } else { subject.trim_end_matches(".>") }
}

/// What `mode` needs beside `missing`.
fn others(mode: &Mode, missing: &Permission) -> Vec<Permission> {
    permissions(mode.titles).into_iter().filter(|permission| permission != missing).collect()
}

/// Whether `word` is said, in the log or by `/health`.
async fn is_said(daemon: &Running, word: &str) -> bool {
    // What is put into the log at the start tells no trouble.
    let is_trouble = |line: &String| !line.contains("\"INFO\"");
    daemon.logs_containing(word).iter().any(is_trouble) || daemon.health().await.1.contains(word)
}

/// A panic unless a daemon in `mode` without `missing` names it: while it runs, or when it stops.
async fn assert_missed(mode: &Mode, missing: &Permission) {
    let nats = server_with(&others(mode, missing)).await;
    mode.prepare(&nats).await;
    let hook = Webhook::start();
    hook.answer(if mode.hands_over {
        Reply::status(200).after(Duration::from_secs(600))
    } else {
        Reply::status(400)
    });
    let mut daemon = mode.daemon(&nats, &hook).env("BROADCASTER__SHUTDOWN__GRACE", "0s").start().await;
    let word = spoken(missing);
    let end = std::time::Instant::now() + SOON;
    let mut publisher = Publisher::new(nats.client().await, "todos.events");
    let mut number = 0;
    while !is_said(&daemon, word).await {
        number += 1;
        if mode.hands_over && number == 40 {
            // There may be nobody to take anything over; that is tried all the same.
            daemon.term();
            daemon.wait(SOON).await;
            let said = daemon.logs_containing(word);
            assert!(!said.is_empty(), "{mode:?} without {missing:?}: nothing is said");
            return;
        }
        assert!(std::time::Instant::now() < end, "{mode:?} without {missing:?}: nothing is said");
        if mode.is_durable {
            publisher.store(1).await;
        } else {
            publisher.burst(1).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A panic unless `check --connect` names `missing` in `mode`.
fn assert_checked(mode: &Mode, nats: &NatsServer, missing: &Permission) {
    let arguments = [vec!["check".to_owned(), "--connect".to_owned()], mode.arguments(nats)].concat();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = run(&arguments, &[("WEBHOOK_URL", "http://127.0.0.1:1/")]);
    let said = String::from_utf8_lossy(&output.stdout);
    let is_named = |line: &str| !line.contains('✓') && line.contains(spoken(missing));
    assert!(said.lines().any(is_named), "{mode:?} without {missing:?}: {said}");
}

/// Takes away what the last part of each mode adds.
async fn assert_all_missed(modes: &[Mode]) {
    for mode in modes {
        let own = mode.titles.last().expect("each mode has a part");
        for missing in permissions(&[*own]) {
            assert_missed(mode, &missing).await;
        }
    }
}

#[tokio::test]
async fn core_says_what_is_missing() {
    assert_all_missed(&MODES[..2]).await;
}

#[tokio::test]
async fn durable_says_what_is_missing() {
    assert_all_missed(&MODES[2..4]).await;
}

#[tokio::test]
async fn dead_letters_say_what_is_missing() {
    assert_all_missed(&MODES[4..7]).await;
}

#[tokio::test]
async fn answers_say_what_is_missing() {
    assert_all_missed(&MODES[8..9]).await;
}

#[tokio::test]
async fn endpoints_say_what_is_missing() {
    assert_all_missed(&MODES[9..]).await;
}

#[tokio::test]
async fn the_check_says_what_is_missing() {
    let check = permissions(&["Check"]);
    for mode in &MODES {
        let mut nats = server_with(&[]).await;
        mode.prepare(&nats).await;
        for missing in permissions(mode.titles) {
            let mut granted = others(mode, &missing);
            granted.extend(check.iter().filter(|permission| **permission != missing).cloned());
            nats.reload(&super::users(&granted)).await;
            assert_checked(mode, &nats, &missing);
        }
    }
}

#[tokio::test]
async fn a_route_that_may_not_ask_for_messages_is_not_ready_until_it_may() {
    let mode = &MODES[2];
    let is_missing = |permission: &Permission| permission.subject.contains("MSG.NEXT");
    let (missing, granted): (Vec<_>, Vec<_>) = permissions(mode.titles).into_iter().partition(is_missing);
    let mut nats = server_with(&granted).await;
    mode.prepare(&nats).await;
    let hook = Webhook::start();
    let daemon = mode.daemon(&nats, &hook).start().await;
    let says_why = |(status, body): &(u16, String)| *status == 503 && body.contains("MSG.NEXT");
    testkit::wait_for(SOON, || daemon.health(), says_why).await;
    nats.reload(&super::users(&[granted, missing].concat())).await;
    Publisher::new(nats.client().await, "todos.events").store(1).await;
    hook.wait_delivered(1, SOON).await;
    daemon.ready(SOON).await;
}
