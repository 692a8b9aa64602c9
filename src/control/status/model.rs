//! What `GET /api/v1/status` says, as JSON has it: written by the daemon, read by the page and the command line.
//!
//! Durations are numbers of seconds, sizes numbers of bytes, rates per second. There is no secret in it, nothing of a
//! payload and no header of a message. Readers pass over what they do not know: later versions say more.

use serde::{Deserialize, Serialize};

/// A process and its routes, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// When this was read, in UTC and as RFC 3339 has it.
    pub at: String,
    /// The number of the latest element of histories: see [`History::last`].
    pub sample: u64,
    /// For how long the process has been running.
    pub uptime: f64,
    /// The number of the list of routes that should run.
    pub generation: u64,
    /// Which configuration counts.
    pub configuration: Configuration,
    /// Whether it is ready: what `GET /health` says.
    pub health: Readiness,
    /// The lanes, by their numbers.
    pub lanes: Vec<Lane>,
    /// The connections to NATS beside those of the lanes.
    pub connections: Vec<Connection>,
    /// All routes together, whatever was asked for.
    pub totals: Totals,
    /// The routes that were asked for: those in the worst trouble first, then by name.
    pub routes: Vec<Route>,
    /// The last ten minutes of all routes together, where that was asked for; without how long attempts took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// How many routes fit what was asked for; here are not more than `limit` of them.
    pub matching: usize,
    /// What to ask for as `after` to get the next ones, where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How far the process has followed its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// When that was read which counts, in UTC and as RFC 3339 has it.
    pub applied: String,
    /// What of it, as it is now, does not count: mistakes that it was refused for, what needs a restart.
    pub complaints: Vec<String>,
}

/// Whether messages of all routes are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether they are.
    pub ready: bool,
    /// Why not: the first reasons.
    pub reasons: Vec<String>,
    /// How many reasons there are beyond those.
    pub more: usize,
}

/// A thread with its own connection to NATS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// Its number.
    pub lane: usize,
    /// Its connection.
    pub connection: Connection,
    /// For how long it has not moved; seconds are normal, half a minute is not.
    pub silent: f64,
    /// Whether it runs the latest list of routes.
    pub current: bool,
}

/// A connection to NATS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// What the log calls it.
    pub name: String,
    /// Whether there is one.
    pub connected: bool,
    /// The server that it is to, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Why there is none, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How long it took the latest time to hear from the server; none where it was not heard of yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<f64>,
    /// How often it was made again after it was lost.
    pub reconnects: u64,
    /// How often the server has cut it because this end read too slowly.
    pub cuts: u64,
}

/// All routes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// How many routes there are.
    pub routes: usize,
    /// How many of them are in which state.
    pub severities: Severities,
    /// What became of the messages of this process since its start, of routes that are gone too.
    pub messages: Messages,
    /// What is in hand now.
    pub load: Load,
    /// What goes through now.
    pub rates: Rates,
}

/// How many routes are how far from well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Severities {
    /// Their messages don't go out, or none come.
    pub error: usize,
    /// Their messages are late.
    pub warning: usize,
    /// Somebody holds them.
    pub held: usize,
    /// They deliver.
    pub ok: usize,
    /// They have nothing to do.
    pub idle: usize,
}

/// How far from well a route is; what comes first here comes first in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Its messages don't go out, or none come.
    Error,
    /// Its messages are late.
    Warning,
    /// Somebody holds it.
    Held,
    /// It delivers.
    Ok,
    /// It has nothing to do.
    Idle,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// How far from well it is.
    pub severity: Severity,
    /// The state in one word: `down`, `refused`, … as in the metric label `trouble`; `source`, `failing`, `full`,
    /// `delivering`, `waiting`, `idle`.
    pub state: String,
    /// The same in words for operators.
    pub text: String,
    /// Why it is in that state, in the words of whoever knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Where its messages come from.
    pub source: Source,
    /// Where they go.
    pub webhook: Webhook,
    /// What became of them since the start of the process.
    pub messages: Messages,
    /// What is in hand now.
    pub load: Load,
    /// The bounds of that.
    pub bounds: Bounds,
    /// What goes through now.
    pub rates: Rates,
    /// How long attempts take now; none where there were none lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How long ago the last message came; none where none has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<f64>,
    /// The last ten minutes, where they were asked for and are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// Where the messages of a route come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Whether they come, when there are any.
    pub live: bool,
    /// The subject.
    pub subject: String,
    /// The queue group; in core mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_group: Option<String>,
    /// The stream and its consumer; in durable mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<Consumer>,
}

/// The consumer of a durable route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// Messages that it has not delivered yet.
    pub pending: usize,
    /// Messages that it has delivered and that were not acknowledged yet, over all replicas.
    pub ack_pending: usize,
}

/// Where the messages of a route go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Scheme, host and port; what follows may be a secret, and is masked.
    pub url: String,
    /// The method.
    pub method: String,
    /// Which HTTP is spoken: `1.1` or `2`; `auto` where that is the webhook's choice and there was no connection yet.
    pub http: String,
}

/// What became of messages. `received` is the sum of all the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Taken from NATS.
    pub received: u64,
    /// Accepted by the webhook.
    pub delivered: u64,
    /// Published as dead letters.
    pub dead_lettered: u64,
    /// Given up, and kept by nobody.
    pub dropped: u64,
    /// Not wanted.
    pub filtered: u64,
    /// Taken over by another replica.
    pub handed_over: u64,
    /// Given back to the stream.
    pub returned: u64,
    /// What has no end yet.
    pub in_hand: u64,
}

/// What is in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Attempts under way.
    pub in_flight: usize,
    /// What waits for its first attempt.
    pub queue: Amount,
    /// What waits for another attempt.
    pub retry: Amount,
    /// Dead letters that wait until NATS has them.
    pub letters: Amount,
}

/// So many messages, and the memory that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Messages.
    pub messages: usize,
    /// Bytes.
    pub bytes: usize,
}

/// What a route has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Attempts under way now; an adaptive route changes this.
    pub concurrency: usize,
    /// Attempts under way at the most.
    pub max_concurrency: usize,
    /// The queue.
    pub queue: Amount,
    /// The retry queue.
    pub retry: Amount,
    /// Dead letters that may wait; 0 where the route keeps none.
    pub letters: Amount,
}

/// What goes through in a second, over the last few of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Messages taken from NATS.
    pub received: f64,
    /// Messages delivered.
    pub delivered: f64,
    /// Attempts that failed.
    pub failed: f64,
}

/// How long attempts take, failed ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them take no longer.
    pub p50: f64,
    /// All but one of a hundred take no longer.
    pub p99: f64,
}

/// The last ten minutes of a route: each list has its latest element last. All of them are of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// How long it is from one element to the next.
    pub step: f64,
    /// The number of the last element, counted from the start of the process.
    pub last: u64,
    /// Messages delivered per second.
    pub delivered: Vec<f32>,
    /// Attempts that failed per second.
    pub failed: Vec<f32>,
    /// How long attempts took: half of them no longer than this; none where there were none.
    pub p50: Vec<Option<f32>>,
    /// All but one of a hundred no longer than this.
    pub p99: Vec<Option<f32>>,
}

/// All that is known of one route: what `GET /api/v1/status/routes/NAME` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteDetail {
    /// What the list says of it, with the last ten minutes.
    pub route: Route,
    /// The latest failed attempts, the latest first. In an outage not all are kept, but some of each moment.
    pub failures: Vec<RecentFailure>,
    /// Whether messages come, on each lane that runs it.
    pub lanes: Vec<RouteOnLane>,
    /// What is not as it should be in its stream or consumer, though messages come.
    pub warnings: Vec<String>,
    /// Its dead letters, where it has them published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
    /// Its settings as TOML, defaults too, and secrets masked.
    pub settings: String,
}

/// The dead letters of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// Where they are published.
    pub subject: String,
    /// How many of them a stream has; none where that is not known yet, or where no stream keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// The latest that this process has published, the latest first.
    pub recent: Vec<RecentLetter>,
}

/// A dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentLetter {
    /// When its message died, in UTC and as RFC 3339 has it.
    pub at: String,
    /// The id of the message.
    pub id: String,
    /// Why it died, as in the header `Broadcaster-Reason`.
    pub reason: String,
}

/// What `GET /api/v1/status/configuration` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The settings that the process was started with, defaults too, as TOML and with secrets masked. Those of routes are in
    /// [`RouteDetail::settings`].
    pub toml: String,
}

/// A route on one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteOnLane {
    /// The number of the lane.
    pub lane: usize,
    /// Why no messages come there; none where they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Attempts under way there.
    pub in_flight: usize,
    /// What waits there, for the first attempt or another one.
    pub waiting: usize,
}

/// An attempt that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentFailure {
    /// When, in UTC and as RFC 3339 has it.
    pub at: String,
    /// The id of the message; of a batch that of the first one.
    pub id: String,
    /// How many messages went together.
    pub messages: usize,
    /// The number of this attempt at that message.
    pub attempt: u32,
    /// The reason in one word, or the status: as in the metric label `code`.
    pub reason: String,
    /// Why, in the words of whoever knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}
