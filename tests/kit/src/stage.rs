//! What most tests need: a nats-server, the daemon behind it, and a client that publishes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::daemon::{Account, Daemon, Running};
use super::nats::NatsServer;

/// How long the daemon may take for a handful of messages.
const SOON: Duration = Duration::from_secs(60);

/// A daemon with the route `default`, which takes `todos.events` to a webhook.
pub struct Stage {
    /// The server.
    pub nats: NatsServer,
    /// A client of it.
    pub client: async_nats::Client,
    /// The daemon.
    pub daemon: Running,
}

impl Stage {
    /// Delivers to `webhook_url` by a daemon that is `described` further; it is ready for messages.
    pub async fn set(webhook_url: &str, described: impl FnOnce(Daemon) -> Daemon) -> Self {
        let nats = NatsServer::start().await;
        let daemon = described(Daemon::between(&nats, webhook_url)).start_ready().await;
        let client = nats.client().await;
        Self { nats, client, daemon }
    }

    /// What one attempt comes to, by status or reason, at `webhook_url` and by a daemon that is `described` further.
    pub async fn one_attempt(webhook_url: &str, described: impl FnOnce(Daemon) -> Daemon) -> String {
        let once = |daemon: Daemon| described(daemon).without_breaker().route("retry.attempts", "1");
        let mut stage = Self::set(webhook_url, once).await;
        stage.publish("0").await;
        stage.wait_processed(1).await;
        let codes = stage.codes().await;
        stage.close().await;
        codes.into_keys().collect::<Vec<_>>().join(",")
    }

    /// Publishes one message without headers.
    pub async fn publish(&self, payload: impl Into<bytes::Bytes>) {
        let published = self.client.publish("todos.events", payload.into()).await;
        published.expect("the client takes a message");
    }

    /// Publishes one message with these headers.
    pub async fn publish_with(&self, headers: &[(&str, &str)], payload: impl Into<bytes::Bytes>) {
        let mut map = async_nats::HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, *value);
        }
        let published = self.client.publish_with_headers("todos.events", map, payload.into());
        published.await.expect("the client takes a message");
    }

    /// Waits until this many messages are done with, whatever became of them.
    pub async fn wait_processed(&self, count: u32) {
        let done = |metrics: &super::metrics::Metrics| {
            metrics.sum("broadcaster_messages_processed_total", &[]) >= f64::from(count)
        };
        self.daemon.wait_metrics(done, SOON).await;
    }

    /// What came of the attempts so far, by status or reason: those that are not 0.
    pub async fn codes(&self) -> BTreeMap<String, u64> {
        let metrics = self.daemon.metrics().await;
        metrics.counted("broadcaster_webhook_requests_total", "code")
    }

    /// A panic unless the attempts so far came to exactly this.
    pub async fn assert_codes<const N: usize>(&self, expected: [(&str, u64); N]) {
        let expected = expected.map(|(code, count)| (code.to_owned(), count));
        assert_eq!(self.codes().await, BTreeMap::from(expected), "attempts by their code");
    }

    /// Stops the daemon; a panic unless it ends well with nothing in hand. Gives its account.
    pub async fn close(&mut self) -> Account {
        let account = self.daemon.stop().await;
        assert!(account.adds_up() && account.in_hand == 0, "the account does not add up: {account:?}");
        let panics = self.daemon.logs_containing("panicked");
        assert!(panics.is_empty(), "the daemon panicked: {panics:?}");
        account
    }
}
