//! A connection to NATS that heals itself, over the client library: how it is set up, what is counted of it, and how a
//! subscription over it ends without loss.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_nats::{Client, SubscribeError, Subscriber, connection::State};
use futures_core::Stream as _;
use thiserror::Error;
use tracing::debug;

use super::{auth::authenticated, barrier::BarrierCounts, state::ConnectionState};
use crate::{
    base::backoff::{Backoff, Jitter},
    config::{Nats, NatsUrl},
};

/// How many commands the client holds while it is not connected. A lane subscribes for each of its routes, and must not be
/// held up by that; it takes no memory while it is empty.
const CLIENT_COMMANDS: usize = 64 * 1024;
/// How many messages the client holds for a subscription until they are taken. One turn of its read loop can bring
/// about four megabytes, and what does not fit is lost. It takes no memory while it is empty.
const CLIENT_QUEUE: usize = 64 * 1024;
/// A dead server is noticed within three of these; the client's default of 60 s would make that three minutes.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The client can't be set up. A server that is away is no error: the client goes on trying.
#[derive(Debug, Error)]
#[error("cannot set up the NATS client")]
pub struct SetUpError(#[source] pub(super) Box<dyn std::error::Error + Send + Sync>);

impl From<SubscribeError> for SetUpError {
    fn from(error: SubscribeError) -> Self {
        Self(Box::new(error))
    }
}

/// A connection to NATS, which heals itself.
#[derive(Debug)]
pub struct NatsConnection {
    client: Client,
    state: Arc<ConnectionState>,
    pub(super) barriers: Arc<BarrierCounts>,
}

impl NatsConnection {
    /// Sets the client up and leaves it to connect in the background, for as long as that takes. A `predecessor` passes
    /// on the servers that it was told of: where only one is configured, that may be the one to get away from.
    pub async fn open(config: &Nats, name: &str, predecessor: Option<&Self>) -> Result<Self, SetUpError> {
        let state = Arc::new(ConnectionState::new(name.to_owned()));
        let (events, failures) = (Arc::clone(&state), Arc::clone(&state));
        // With jitter, as all lanes and replicas lose a server at the same moment.
        let reconnects = Backoff::new(Duration::from_millis(100), Duration::from_secs(2), 2.0, Jitter::Full);
        let options = authenticated(config)?
            .name(&config.name)
            .retry_on_initial_connect()
            .reconnect_delay_callback(move |attempt| {
                // The first try after a loss goes out at once.
                let failures = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
                if failures == 0 { Duration::ZERO } else { reconnects.delay(failures) }
            })
            .reconnect_to_server_callback(move |servers, _info| {
                failures.note_failures(&servers);
                // The client chooses the server. All that is wanted here are the errors that it has had with each.
                std::future::ready(None)
            })
            .ping_interval(PING_INTERVAL)
            .client_capacity(CLIENT_COMMANDS)
            .subscription_capacity(CLIENT_QUEUE)
            .event_callback(move |event| {
                events.note(event);
                std::future::ready(())
            });
        let configured = config.servers.iter().map(NatsUrl::address);
        let told = predecessor.map(|predecessor| predecessor.client.server_info().connect_urls);
        let servers: Vec<_> = configured.chain(told.unwrap_or_default()).collect();
        let client = options.connect(servers).await.map_err(|error| SetUpError(Box::new(error)))?;
        Ok(Self { client, state, barriers: Arc::default() })
    }

    /// The client, to subscribe and publish with.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// What is known of the connection.
    pub const fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }

    /// Whether there is a connection, by the client's own word.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Brings the state up to date. It follows the client's events, and those may get lost under load.
    pub fn refresh(&self) {
        self.state.set_connected(self.is_connected());
    }

    /// How many connections there were, the present one included.
    pub fn connections(&self) -> u64 {
        self.client.statistics().connects.load(Relaxed)
    }

    /// How many messages the client has read from the connection that were not those of a barrier; nothing while one of
    /// those is on its way. One that never came back is taken off all the same: rather one too few than a loss that was none.
    pub fn messages_read(&self) -> Option<u64> {
        let barriers = &self.barriers;
        let read = self.client.statistics().in_messages.load(Relaxed);
        (!barriers.is_out.load(Relaxed)).then(|| read.saturating_sub(barriers.sent.get()))
    }
}

/// The next message of a subscription; None when it has ended.
pub async fn next(subscriber: &mut Subscriber) -> Option<async_nats::Message> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *subscriber).poll_next(cx)).await
}

/// Tells the server to send nothing more for a subscription, and leaves it open for what the server has sent before. That
/// has arrived when a [barrier](super::Barrier) was passed afterwards; then the subscription can be dropped.
///
/// The client's own ways to unsubscribe forget the subscription at once, or as soon as the client wakes up, and drop what
/// arrives later (nats-io/nats.rs#1332). But it keeps one that is to end after a number of messages until those have come;
/// and the server ends a subscription at once where it can't read that number, or has sent more already. `parseSize` of
/// nats-server reads nine digits; without that limit, this number is -1 to it.
pub async fn end_subscription(subscriber: &mut Subscriber) {
    const UNREADABLE: u64 = u64::MAX;
    if subscriber.unsubscribe_after(UNREADABLE).await.is_err() {
        debug!("the NATS client has ended before its subscriptions");
    }
}
