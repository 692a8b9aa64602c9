//! Batches: many messages in one request, counted one by one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::{
    daemon::Daemon,
    nats,
    stage::Stage,
    webhook::{Behaviour, Received, Reply, Webhook},
};

mod halving;
mod shapes;
mod sources;
mod stops;
mod verdicts;

const SOON: Duration = Duration::from_secs(20);

/// A daemon with one lane that puts so many messages together, and waits for so long for them.
fn batched(daemon: Daemon, max_messages: usize, max_wait: &str) -> Daemon {
    daemon
        .env("BROADCASTER__RUNTIME__THREADS", "1")
        .route("batch.max_messages", &max_messages.to_string())
        .route("batch.max_wait", max_wait)
}

/// The numbers of the messages in a request whose body is an array of them.
fn numbers(request: &Received) -> Vec<u64> {
    serde_json::from_slice(&request.body).expect("a body is an array of numbers")
}

/// How often each message was in a request that was answered like this.
fn answered(hook: &Webhook, is_it: impl Fn(u16) -> bool) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for request in hook.requests().iter().filter(|request| request.status.is_some_and(&is_it)) {
        numbers(request).into_iter().for_each(|number| *counts.entry(number).or_default() += 1);
    }
    counts
}

/// Each of `0..count` but `others` was taken once, and nothing else was.
fn assert_taken_once(hook: &Webhook, count: u64, others: &[u64]) {
    let taken = answered(hook, |status| status < 300);
    let expected: BTreeMap<_, _> =
        (0..count).filter(|number| !others.contains(number)).map(|number| (number, 1)).collect();
    assert_eq!(taken, expected, "messages, and how often they were taken: {}", hook.summary());
}

async fn publish(stage: &Stage, count: u64) {
    for number in 0..count {
        stage.publish(number.to_string()).await;
    }
}
