//! Dead letters by the API: listed, shown, delivered after all and removed, while the daemon goes on.

mod acting;
mod looking;

use std::time::{Duration, Instant};

use async_nats::jetstream;
use serde_json::{Value, json};

use super::{ACTOR, Client, LOOKER, SOON, problem, with_tokens};
use testkit::daemon::Daemon;
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::stage::Stage;
use testkit::webhook::Webhook;

const LETTERS: &str = "/api/v1/dead-letters";
const REPLAY: &str = "/api/v1/dead-letters/replay";
const DISCARD: &str = "/api/v1/dead-letters/discard";
const JOB: &str = "/api/v1/dead-letters/job";

/// With dead letters in a stream that the daemon makes.
fn kept(daemon: Daemon) -> Daemon {
    let daemon = with_tokens(daemon).route("dead_letter.stream", "DEAD");
    daemon.route("dead_letter.create", "true").without_breaker().route("retry.initial", "5ms")
}

/// A daemon at work, whose webhook refuses everything so far, with so many dead letters in the stream.
async fn graveyard(hook: &Webhook, letters: u64) -> Stage {
    hook.answer(422);
    let stage = Stage::set(&hook.url(), kept).await;
    Publisher::new(stage.client.clone(), "todos.events").burst(letters).await;
    wait_count(&stage.nats, letters).await;
    stage
}

/// How many messages the stream of the dead letters has.
async fn count(nats: &NatsServer) -> u64 {
    match jetstream::new(nats.client().await).get_stream("DEAD").await {
        Ok(stream) => stream.cached_info().state.messages,
        // The daemon has not made it yet, or the server has just come back.
        Err(_) => 0,
    }
}

async fn wait_count(nats: &NatsServer, expected: u64) {
    let end = Instant::now() + SOON;
    loop {
        let found = count(nats).await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < end, "{found} dead letters after {SOON:?}, not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The letters that are listed with this query, page by page.
async fn list(client: &Client, query: &str) -> Vec<Value> {
    let (mut letters, mut after) = (Vec::new(), json!(0));
    loop {
        let (status, page) = client.get(&format!("{LETTERS}?after={after}&{query}")).await;
        assert_eq!(status, 200, "{query}: {page}");
        letters.extend(page["letters"].as_array().expect("there is a list").clone());
        after = page["next"].clone();
        if after.is_null() {
            return letters;
        }
    }
}

/// Begins a job, and returns what has come of it at its end.
async fn done(client: &Client, path: &str, body: Value) -> Value {
    let (status, begun) = client.post(path, body).await;
    assert_eq!(status, 202, "{begun}");
    ended(client).await
}

/// What has come of the job that is under way.
async fn ended(client: &Client) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let (status, latest) = client.get(JOB).await;
        assert_eq!(status, 200, "{latest}");
        let job = &latest["job"];
        if job["state"] != "running" {
            return job.clone();
        }
        assert!(Instant::now() < end, "the job has not ended: {job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// These figures of a job.
fn figures<const N: usize>(job: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| job[name].as_u64().unwrap_or_else(|| unreachable!("{name} is no figure of {job}")))
}

/// A letter as somebody may publish it to the subject, with these header lines.
async fn put(nats: &NatsServer, lines: &[u8], payload: &[u8]) {
    let head = [b"NATS/1.0\r\n", lines, b"\r\n"].concat();
    let (length, all) = (head.len(), head.len() + payload.len());
    let command = format!("HPUB broadcaster.dead.default {length} {all}\r\n");
    nats.say(&[command.as_bytes(), &head, payload, b"\r\n"].concat()).await;
}
