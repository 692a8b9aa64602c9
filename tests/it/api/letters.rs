//! Dead letters by the API: listed, shown, delivered after all and removed, while the daemon goes on.

mod acting;
mod looking;

use std::time::{Duration, Instant};

use async_nats::jetstream;
use serde_json::{Value, json};

use crate::dead_letters::{count, wait_count};

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
    graveyard_of(hook, letters, kept).await
}

/// The same of a daemon that is `described` further than by [`kept`].
pub(super) async fn graveyard_of(
    hook: &Webhook,
    letters: u64,
    described: impl FnOnce(Daemon) -> Daemon,
) -> Stage {
    hook.answer(422);
    let stage = Stage::set(&hook.url(), |daemon| described(kept(daemon))).await;
    Publisher::new(stage.client.clone(), "todos.events").burst(letters).await;
    wait_count(&stage.nats, letters).await;
    stage
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
    let ask = async || {
        let (status, latest) = client.get(JOB).await;
        assert_eq!(status, 200, "{latest}");
        latest["job"].clone()
    };
    testkit::wait_for(SOON, ask, |job| job["state"] != "running").await
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
