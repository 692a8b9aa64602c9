//! A connection to NATS: how it is made, what is known of it, and whether what was sent over it has arrived.

mod replies;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerError, SubscribeError, Subscriber, connection::State};
use futures_core::Stream as _;
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tracing::{error, info, warn};

pub use self::replies::Replies;

use crate::{
    base::backoff::Backoff,
    config::{Jitter, Nats, NatsAuth, NatsUrl},
    stats::Counter,
};

/// How many messages the client holds for a subscription until they are taken. One turn of its read loop can bring
/// about four megabytes, and what does not fit is lost. It takes no memory while it is empty.
const CLIENT_QUEUE: usize = 64 * 1024;
/// A dead server is noticed within three of these.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of a connection, for whoever asks: health, metrics, logs.
#[derive(Debug)]
pub struct LinkState {
    name: String,
    connected: AtomicBool,
    connects: Counter,
    connection: Notify,
    lame_duck: Notify,
    /// What the server or the network said last, where it was not good.
    trouble: Mutex<Option<String>>,
    /// What the server refused for want of permission.
    refusals: Mutex<Vec<String>>,
}

impl LinkState {
    fn new(name: String) -> Self {
        Self {
            name,
            connected: AtomicBool::new(false),
            connects: Counter::default(),
            connection: Notify::new(),
            lame_duck: Notify::new(),
            trouble: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// How often the connection was made again after it was lost.
    pub fn reconnects(&self) -> u64 {
        self.connects.get().saturating_sub(1)
    }

    /// Why there is no connection, as far as is known.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server refused the subscription to `subject`.
    pub fn refused_subscription(&self, subject: &str) -> bool {
        self.refused("subscription to", subject)
    }

    /// Whether the server refused what was published to `subject`.
    pub fn refused_publication(&self, subject: &str) -> bool {
        self.refused("publish to", subject)
    }

    fn refused(&self, what: &str, subject: &str) -> bool {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.is_empty() {
            return false;
        }
        let wanted = format!("{what} \"{subject}\"").to_lowercase();
        refusals.iter().any(|refusal| refusal.to_lowercase().contains(&wanted))
    }

    /// Returns when the connection was made anew.
    pub async fn connection(&self) {
        self.connection.notified().await;
    }

    /// Returns when the server has announced that it is about to stop.
    pub async fn lame_duck(&self) {
        self.lame_duck.notified().await;
    }

    fn note(&self, event: Event) {
        let link = self.name.as_str();
        match event {
            Event::Connected => {
                self.connected.store(true, Relaxed);
                self.connects.add(1);
                self.connection.notify_one();
                *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clear();
                info!(link, "connected to NATS");
            }
            Event::Disconnected => {
                self.connected.store(false, Relaxed);
                warn!(link, "connection to NATS lost, connecting again");
            }
            Event::LameDuckMode => {
                info!(link, "NATS server is about to stop, moving to another one");
                self.lame_duck.notify_one();
            }
            Event::ServerError(ServerError::Other(text)) if text.to_lowercase().contains("permissions") => {
                error!(link, error = text, "NATS refuses it: the user needs this permission");
                self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
            Event::ServerError(error) => self.trouble_with(&error),
            Event::ClientError(error) => {
                // It leaves out the cause: better than nothing.
                if self.trouble().is_none() {
                    self.trouble_with(&error);
                }
            }
            // Drops are counted where messages are taken from the client; the rest is our own doing.
            Event::SlowConsumer(_) | Event::Draining | Event::Closed => {}
        }
    }

    /// Takes note of what the client knows about its servers whenever it tries again.
    fn note_failures(&self, servers: &[async_nats::Server]) {
        let failures: Vec<_> = servers
            .iter()
            .filter_map(|server| {
                let error = server.last_error.as_ref()?;
                Some(format!("{}:{}: {error}", server.addr.host(), server.addr.port()))
            })
            .collect();
        if !failures.is_empty() {
            self.trouble_with(&failures.join(", "));
        }
    }

    /// Says what is wrong once, and again when it changes: the client tries several times a second.
    fn trouble_with(&self, error: &dyn fmt::Display) {
        let text = error.to_string();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&text) {
            warn!(link = self.name, error = text, "NATS connection in trouble");
            *trouble = Some(text);
        }
    }
}

/// The client can't be set up. A server that is away is no error: the client goes on trying.
#[derive(Debug, Error)]
#[error("cannot set up the NATS client")]
pub struct LinkError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl From<SubscribeError> for LinkError {
    fn from(error: SubscribeError) -> Self {
        Self(Box::new(error))
    }
}

/// The server did not answer.
#[derive(Debug, Error)]
#[error("no answer from the NATS server")]
pub struct NoEcho;

/// A connection to NATS, which heals itself.
#[derive(Debug)]
pub struct Link {
    client: Client,
    state: Arc<LinkState>,
    echoes: Arc<Echoes>,
}

/// How many echoes were sent, and how many messages were taken for them.
#[derive(Debug, Default)]
struct Echoes {
    sent: Counter,
    taken: Counter,
}

impl Link {
    /// Sets the client up and leaves it to connect in the background, for as long as that takes.
    /// A `predecessor` passes on the servers that it was told of.
    pub async fn open(config: &Nats, name: &str, predecessor: Option<&Self>) -> Result<Self, LinkError> {
        let state = Arc::new(LinkState::new(name.to_owned()));
        let (events, failures) = (Arc::clone(&state), Arc::clone(&state));
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
                // The client chooses.
                std::future::ready(None)
            })
            .ping_interval(PING_INTERVAL)
            .subscription_capacity(CLIENT_QUEUE)
            .event_callback(move |event| {
                events.note(event);
                std::future::ready(())
            });
        let configured = config.servers.iter().map(NatsUrl::address);
        let told = predecessor.map(|link| link.client.server_info().connect_urls);
        let servers: Vec<_> = configured.chain(told.unwrap_or_default()).collect();
        let client = options.connect(servers).await.map_err(|error| LinkError(Box::new(error)))?;
        Ok(Self { client, state, echoes: Arc::default() })
    }

    /// The client, to subscribe and publish with.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// What is known of the connection.
    pub const fn state(&self) -> &Arc<LinkState> {
        &self.state
    }

    /// Whether there is a connection, by the client's own word.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Brings the state up to date. It follows the client's events, and those may get lost under load.
    pub fn refresh(&self) {
        self.state.connected.store(self.is_connected(), Relaxed);
    }

    /// How many connections there were, the present one included.
    pub fn connections(&self) -> u64 {
        self.client.statistics().connects.load(Relaxed)
    }

    /// How many bytes the client has read from the connection.
    pub fn bytes_read(&self) -> u64 {
        self.client.statistics().in_bytes.load(Relaxed)
    }

    /// How many messages the client has read from the connection that were not echoes; nothing while an echo is out.
    pub fn messages_read(&self) -> Option<u64> {
        let taken = self.echoes.taken.get();
        let read = self.client.statistics().in_messages.load(Relaxed);
        (self.echoes.sent.get() == taken).then(|| read.saturating_sub(taken))
    }
}

/// Asks the server over a connection whether it has handled what was sent over it before.
#[derive(Debug)]
pub struct Echo {
    client: Client,
    inbox: String,
    subscriber: Subscriber,
    counts: Arc<Echoes>,
}

impl Echo {
    /// An echo over `link`, which may not be connected yet.
    pub async fn over(link: &Link) -> Result<Self, LinkError> {
        let client = link.client.clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await?;
        Ok(Self { client, inbox, subscriber, counts: Arc::clone(&link.echoes) })
    }

    /// Sends a message to itself and waits for it. The server handles what comes over one connection in order: when the
    /// message is back, it has handled everything before it. Returns how long that took.
    pub async fn call(&mut self, patience: Duration) -> Result<Duration, NoEcho> {
        let began = Instant::now();
        match timeout(patience, self.round_trip()).await {
            Ok(true) => Ok(began.elapsed()),
            Ok(false) | Err(_) => Err(NoEcho),
        }
    }

    async fn round_trip(&mut self) -> bool {
        self.counts.sent.add(1);
        let token = self.counts.sent.get().to_string();
        if self.client.publish(self.inbox.clone(), token.clone().into()).await.is_err() {
            return false;
        }
        // An echo that was waited for in vain may come late: it is not the one we want.
        while let Some(message) = next(&mut self.subscriber).await {
            self.counts.taken.add(1);
            if message.payload == token {
                return true;
            }
        }
        false
    }
}

/// The next message of a subscription; None when it has ended.
pub async fn next(subscriber: &mut Subscriber) -> Option<async_nats::Message> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *subscriber).poll_next(cx)).await
}

/// Options that say who we are.
fn authenticated(config: &Nats) -> Result<ConnectOptions, LinkError> {
    let options = ConnectOptions::new();
    // The client takes no notice of a login in a URL. It has one for all servers.
    let in_url = config.servers.iter().find_map(NatsUrl::login);
    let options = match in_url.as_ref().unwrap_or(&config.auth) {
        NatsAuth::Anonymous => options,
        NatsAuth::Credentials(file) => {
            options.credentials(file.contents.expose_secret()).map_err(|error| LinkError(Box::new(error)))?
        }
        NatsAuth::NkeySeed(file) => options.nkey(file.contents.expose_secret().to_owned()),
        NatsAuth::Password { user, password } => {
            options.user_and_password(user.clone(), password.expose_secret().to_owned())
        }
        NatsAuth::Token(token) => options.token(token.expose_secret().to_owned()),
    };
    let tls = &config.tls;
    let options = match &tls.ca_file {
        Some(ca) => options.add_root_certificates(ca.clone()).require_tls(true),
        None => options,
    };
    Ok(match &tls.client {
        Some(client) => options
            .add_client_certificate(client.cert_file.clone(), client.key_file.clone())
            .require_tls(true),
        None => options,
    })
}
