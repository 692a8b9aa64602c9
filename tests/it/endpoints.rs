//! Routes in a key-value bucket of NATS, followed by daemons that run.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context, stream};
use serde_json::{Value, json};

use testkit::daemon::{Daemon, Running};
use testkit::nats::NatsServer;
use testkit::publisher::Publisher;
use testkit::webhook::Webhook;

mod files;
mod fleet;
mod known;
mod letters;
mod sealed;
mod store;
mod tenants;
mod troubles;
mod values;

const SOON: Duration = Duration::from_secs(60);

/// A bucket, written as the clients of NATS do.
struct Bucket {
    context: Context,
}

impl Bucket {
    /// Makes it, or takes the one that is there.
    async fn make(nats: &NatsServer) -> Self {
        let bucket = Self::of(nats).await;
        let config = stream::Config {
            name: "KV_broadcaster".to_owned(),
            subjects: vec!["$KV.broadcaster.>".to_owned()],
            max_messages_per_subject: 1,
            discard: stream::DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..stream::Config::default()
        };
        bucket.context.get_or_create_stream(config).await.expect("the bucket can be made");
        bucket
    }

    async fn of(nats: &NatsServer) -> Self {
        Self { context: jetstream::new(nats.client().await) }
    }

    async fn delete(self) {
        self.context.delete_stream("KV_broadcaster").await.expect("the bucket can be deleted");
    }

    /// Puts a route that takes its own subject to `hook`. Returns the revision of the bucket.
    async fn route(&self, name: &str, hook: &Webhook) -> u64 {
        self.put(&format!("routes.{name}"), &route(name, hook)).await
    }

    async fn put(&self, key: &str, value: &Value) -> u64 {
        self.put_text(key, &value.to_string()).await
    }

    async fn put_text(&self, key: &str, text: &str) -> u64 {
        self.write(key, HeaderMap::new(), text.to_owned()).await
    }

    async fn remove(&self, key: &str) -> u64 {
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        self.write(key, headers, String::new()).await
    }

    async fn write(&self, key: &str, headers: HeaderMap, value: String) -> u64 {
        let subject = format!("$KV.broadcaster.{key}");
        let sent = self.context.publish_with_headers(subject, headers, value.into()).await;
        let stored = sent.expect("the client takes a value").await;
        stored.expect("the bucket takes a value").sequence
    }
}

/// A value: a route that takes its own subject to `hook`.
fn route(name: &str, hook: &Webhook) -> Value {
    json!({ "subject": format!("endpoints.{name}"), "webhook": { "url": hook.url() } })
}

/// A daemon without a route of its own, that follows the bucket.
fn follower(nats: &NatsServer) -> Daemon {
    Daemon::new().env("NATS_URL", nats.url()).arg("--set").arg("endpoints.bucket=broadcaster")
}

/// Waits until `daemon` runs all of the bucket up to `revision`.
async fn wait_applied(daemon: &Running, revision: u64) {
    let wanted = revision as f64;
    daemon.wait_metrics(|metrics| metrics.value("broadcaster_endpoints_revision", &[]) >= wanted, SOON).await;
}

async fn publisher(nats: &NatsServer, route: &str) -> Publisher {
    Publisher::new(nats.client().await, &format!("endpoints.{route}"))
}

/// Waits until `hook` has taken so many messages.
async fn wait_taken(hook: &Webhook, count: usize) {
    hook.wait_for(|hook| hook.delivered() >= count, SOON).await;
}

/// A figure of the bucket.
async fn endpoints(daemon: &Running, state: &str) -> f64 {
    daemon.metrics().await.value("broadcaster_endpoints", &[("state", state)])
}

/// What `/health` says of the bucket.
async fn complaints(daemon: &Running) -> Vec<String> {
    let (_, body) = daemon.health().await;
    let body: Value = serde_json::from_str(&body).expect("it is JSON");
    let complaints = body["endpoints"].as_array().cloned().unwrap_or_default();
    complaints.iter().map(|complaint| complaint.as_str().unwrap_or_default().to_owned()).collect()
}
