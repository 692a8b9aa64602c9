//! The configuration: what an operator can set, and what it means.
//!
//! Four layers, later wins: built-in defaults, a TOML file, the environment, flags. [`load`] merges them, reads the
//! result field by field into the types below and reports every mistake at once. After loading, no value is invalid:
//! nothing downstream checks a setting again.
//!
//! Secrets (URLs of webhooks, header values, passwords, tokens, seeds) are masked by `Debug`, by `Display`, by
//! [`Config::to_toml`] and in every error.

mod breaker;
mod checks;
mod errors;
mod files;
mod jetstream;
mod layers;
mod lines;
mod names;
mod nats;
mod nats_url;
mod parse;
mod print;
mod reader;
mod routes;
mod sections;
mod statuses;
#[cfg(test)]
mod tests;
mod tree;
mod webhook_url;

use std::{
    ffi::OsString,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use http::HeaderMap;
use secrecy::SecretString;
use tokio_rustls::rustls::pki_types::CertificateDer;

use self::reader::Reader;
pub use self::{
    breaker::Breaker,
    errors::{ConfigError, ConfigErrors, Place},
    jetstream::{DeliverPolicy, Jetstream},
    names::{NameError, PublishSubject, QueueGroup, RouteName, StreamName, Subject},
    nats_url::{NatsUrl, NatsUrlError},
    statuses::{Statuses, StatusesError},
    webhook_url::{WebhookUrl, WebhookUrlError},
};

/// Everything an operator decided, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[log]`: what is logged, and how it looks.
    pub log: Log,
    /// `[server]`: the addresses that broadcaster itself listens on.
    pub server: Server,
    /// `[nats]`: where the messages come from.
    pub nats: Nats,
    /// `[runtime]`: how many threads do the work.
    pub runtime: Runtime,
    /// `[shutdown]`: how long a stop may take.
    pub shutdown: Shutdown,
    /// `[routes.NAME]`: the pipelines, sorted by name; never empty.
    pub routes: Vec<Route>,
}

/// `[log]`: what is logged, and how it looks. Logs go to standard error.
#[derive(Debug, Clone)]
pub struct Log {
    /// `log.level`: the least severe level that is logged. Default `info`.
    pub level: LogLevel,
    /// `log.format`: `text` for people, `json` (one object a line) for machines. Default `text`.
    pub format: LogFormat,
}

/// How severe a line must be to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs an operator now.
    Error,
    /// Also what is wrong but is being dealt with.
    Warn,
    /// Also changes of state: connected, failing, recovered.
    Info,
    /// Also a line per message.
    Debug,
    /// Also what the libraries say. A release build logs no more than [`LogLevel::Debug`].
    Trace,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[server]`: the addresses that broadcaster itself listens on. Port 0 takes a free port, which the log names.
#[derive(Debug, Clone)]
pub struct Server {
    /// `server.api`: health and management. Default `0.0.0.0:8002`.
    pub api: SocketAddr,
    /// `server.metrics`: `GET /metrics`. Default `0.0.0.0:7777`.
    pub metrics: SocketAddr,
}

/// `[nats]`: where the messages come from.
#[derive(Debug, Clone)]
pub struct Nats {
    /// `nats.url`: the servers of one cluster, comma-separated, never empty. Default `nats://127.0.0.1:4222`.
    pub servers: Vec<NatsUrl>,
    /// `nats.name`: the name of the connection, as the server's monitoring shows it. Default `broadcaster`.
    pub name: String,
    /// How broadcaster proves who it is, from the keys of `[nats]`. Default: not at all.
    pub auth: NatsAuth,
    /// `[nats.tls]`: certificates for `tls://` servers.
    pub tls: NatsTls,
}

/// How broadcaster proves to NATS who it is; one kind at most. User and password may also stand in `nats.url`.
#[derive(Debug, Clone)]
pub enum NatsAuth {
    /// Nothing is sent but what a `nats.url` carries itself.
    Anonymous,
    /// `nats.credentials_file`: the contents of a `.creds` file (a user JWT and its nkey seed).
    Credentials(SecretFile),
    /// `nats.nkey_seed_file`: the seed of a user nkey (`SU…`).
    NkeySeed(SecretFile),
    /// `nats.user` with `nats.password` or `nats.password_file`.
    Password {
        /// `nats.user`.
        user: String,
        /// `nats.password`, or the contents of `nats.password_file`.
        password: SecretString,
    },
    /// `nats.token`, or the contents of `nats.token_file`.
    Token(SecretString),
}

/// A file that holds a secret, and what it held at load.
#[derive(Debug, Clone)]
pub struct SecretFile {
    /// Where it is; not a secret.
    pub path: PathBuf,
    /// What it held.
    pub contents: SecretString,
}

/// `[nats.tls]`: PEM files, which were read and parsed once at load so that they are known to be good.
#[derive(Debug, Clone, Default)]
pub struct NatsTls {
    /// `nats.tls.ca_file`: certificates of authorities that are trusted instead of the system's. Default: none.
    pub ca_file: Option<PathBuf>,
    /// `nats.tls.cert_file` and `nats.tls.key_file`, both or neither. Default: no client certificate.
    pub client: Option<ClientCertificate>,
}

/// The certificate that broadcaster shows to NATS, and its key: PEM files.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// `nats.tls.cert_file`: the certificate, followed by its chain.
    pub cert_file: PathBuf,
    /// `nats.tls.key_file`: the private key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key_file: PathBuf,
}

/// `[runtime]`: how many threads do the work.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// `runtime.threads`: `"auto"` or 1 to 64. Default `"auto"`.
    pub threads: Threads,
}

/// How many threads do the work. Each has its own connection to NATS, and its share of each route's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// As many as the machine, or the pod's CPU limit, makes sensible.
    Auto,
    /// Exactly so many: 1 to 64, and no more than the concurrency, `queue.messages` or `retry.messages` of any route.
    Fixed(NonZeroUsize),
}

/// `[shutdown]`: how long a stop may take.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// `shutdown.grace`: how long a stop goes on delivering what is in hand, at most one hour. 0 does not wait: what
    /// is in hand is dead-lettered or dropped at once. Keep it below the supervisor's patience (Kubernetes:
    /// `terminationGracePeriodSeconds`). Default `25s`.
    pub grace: Duration,
}

/// `[routes.NAME]`: one pipeline from a NATS subject to a webhook, independent of every other.
#[derive(Debug, Clone)]
pub struct Route {
    /// The name: the label in metrics and logs, and the path in environment variables.
    pub name: RouteName,
    /// `subject`: what is subscribed to; `*` and `>` are wildcards. Default `todos.events`.
    pub subject: Subject,
    /// `queue_group`: the replicas of one group share the messages between them. Default `broadcaster-workers`.
    pub queue_group: QueueGroup,
    /// `[routes.NAME.jetstream]`: the stream that messages come from. Default: none, they come as they are published.
    pub jetstream: Option<Jetstream>,
    /// `[routes.NAME.webhook]`: where the messages go.
    pub webhook: Webhook,
    /// `[routes.NAME.queue]`: what waits for its first attempt.
    pub queue: Queue,
    /// `[routes.NAME.retry]`: what happens after an attempt that failed.
    pub retry: Retry,
    /// `[routes.NAME.rate_limit]`: how many attempts a second at most. Default: no limit.
    pub rate_limit: Option<RateLimit>,
    /// `[routes.NAME.breaker]`: when the webhook is left alone for a while; none with `enabled = false`.
    pub breaker: Option<Breaker>,
    /// `[routes.NAME.dead_letter]`: where messages go that will not be delivered. Default: nowhere, they are dropped
    /// (counted and logged).
    pub dead_letter: Option<DeadLetter>,
}

/// `[routes.NAME.webhook]`: where the messages go, and how.
///
/// Durations are 1 ms to 24 h.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// `url` or `url_file`: the address that messages are posted to. Required. A secret.
    pub url: WebhookUrl,
    /// `headers`: sent with every request. The values are secrets, and marked sensitive. Default: none.
    pub headers: HeaderMap,
    /// `timeout`: how long one attempt may take: DNS, connect, TLS, request and the whole response. Default `30s`.
    pub timeout: Duration,
    /// `connect_timeout`: how long DNS, connect and TLS may take of that. Default `5s`, or `timeout` if that is less.
    pub connect_timeout: Duration,
    /// `idle_timeout`: how long a connection may be unused before it is closed. Default `50s`: below the 60 s after
    /// which common load balancers drop it.
    pub idle_timeout: Duration,
    /// `max_connection_age`: after this a connection is replaced, so that changes of DNS are seen. Default `5m`.
    pub max_connection_age: Duration,
    /// `concurrency`: how many requests at the same time, 1 to 10,000, over all threads of this process. Default 64.
    pub concurrency: NonZeroUsize,
    /// `[routes.NAME.webhook.tls]`: whom to trust.
    pub tls: WebhookTls,
}

/// `[routes.NAME.webhook.tls]`: which authorities may vouch for the webhook.
#[derive(Debug, Clone, Default)]
pub struct WebhookTls {
    /// `ca_file`: the PEM file that [`Self::ca`] was read from. Default: none.
    pub ca_file: Option<PathBuf>,
    /// The certificates in `ca_file`, trusted in addition to the system's roots; empty when no file is set.
    pub ca: Vec<CertificateDer<'static>>,
}

/// How much a queue may hold; both bounds hold at the same time. A route's threads divide them between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `messages`: how many, 1 to 100,000,000. Default 65,536.
    pub messages: NonZeroUsize,
    /// `bytes`: how much memory, in bytes, at least 64 KiB. Default `32MiB`.
    pub bytes: NonZeroUsize,
}

/// `[routes.NAME.queue]`: what waits for its first attempt.
#[derive(Debug, Clone)]
pub struct Queue {
    /// `messages` and `bytes`: how much may wait.
    pub bounds: Bounds,
    /// `overflow`: what happens to a message that does not fit. Default `dead_letter`.
    pub overflow: Overflow,
}

/// What happens when a message does not fit into the queue. Whatever it is, it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The new message goes to the dead-letter subject; as [`Self::DropNewest`] when the route has none.
    DeadLetter,
    /// The new message is dropped.
    DropNewest,
    /// The message that has waited longest is dropped.
    DropOldest,
}

/// `[routes.NAME.retry]`: what happens after an attempt that failed.
#[derive(Debug, Clone)]
pub struct Retry {
    /// `attempts`: how many attempts a message gets, the first one included; 1 never retries. Default 8.
    pub attempts: NonZeroU32,
    /// `initial`: the wait after the first attempt, 1 ms to 24 h. Default `500ms`, or `max` if that is less.
    pub initial: Duration,
    /// `max`: no wait is longer, 1 ms to 24 h; also the limit of what a webhook's `Retry-After` may ask for.
    /// Default `5m`.
    pub max: Duration,
    /// `multiplier`: each wait is so many times the one before, 1.0 to 100.0; 1.0 waits evenly. Default 2.0.
    pub multiplier: f64,
    /// `jitter`: whether waits are spread by chance. Default `full`.
    pub jitter: Jitter,
    /// `messages` and `bytes`: how much may wait for its next attempt.
    pub bounds: Bounds,
    /// `statuses`: the response statuses after which another attempt makes sense. Failures of the network and
    /// timeouts are always retried. Default `["408", "425", "429", "5xx", "!501"]`.
    pub statuses: Statuses,
}

/// Whether waits are spread by chance, so that messages which failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// A wait is anything between 0 and what the schedule says.
    Full,
    /// A wait is exactly what the schedule says.
    None,
}

/// `[routes.NAME.rate_limit]`: how often the webhook is called at most, retries included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// `per_second`: attempts a second, 1 to 1,000,000. Required in this section.
    pub per_second: NonZeroU32,
    /// `burst`: how many attempts may come at once after a quiet time. Default: as `per_second`.
    pub burst: NonZeroU32,
}

/// `[routes.NAME.dead_letter]`: where messages go that will not be delivered.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// `subject`: what they are published to. No route may subscribe to it. Default `broadcaster.dead.NAME`.
    pub subject: PublishSubject,
    /// `stream`: the stream that has to keep them. Default: the one that has the subject, if any.
    pub stream: Option<StreamName>,
    /// `create`: whether that stream is made where it is missing. Default false.
    pub create: bool,
}

/// Where settings come from, beside the built-in defaults. All of it is given, so that tests need no environment.
///
/// It cannot be printed: there are secrets among it.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file that `--config` named; `None` leaves it to `BROADCASTER_CONFIG`, and without that there is no file.
    pub file: Option<PathBuf>,
    /// The environment: variables that are not broadcaster's are ignored.
    pub env: Vec<(OsString, OsString)>,
    /// The flags: the key path it sets (`routes.default.webhook.url`), the value, and the flag as it was typed,
    /// without the value (`--set`): errors name it.
    pub flags: Vec<(String, String, String)>,
}

/// What stands for a secret wherever it would be printed.
const MASK: &str = "********";

/// Merges the sources and reads them.
///
/// # Errors
/// All mistakes in them, each with its key and its place.
pub fn load(sources: Sources) -> Result<Config, ConfigErrors> {
    let mut errors = Vec::new();
    let Some(root) = layers::merge(sources, &mut errors) else {
        return Err(ConfigErrors(errors));
    };
    let reader = Reader::new(root);
    let config = reader.read(sections::config);
    errors.extend(reader.into_errors());
    config.filter(|_| errors.is_empty()).ok_or(ConfigErrors(errors))
}
