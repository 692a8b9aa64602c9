//! What is known of a connection, for whoever asks: health, metrics, logs, and those who use it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::stats::Counter;

/// How many different refusals are kept. A subject that nobody may publish to is one, however often that is tried.
const MOST_REFUSALS: usize = 256;

/// `text` with a subject that stands for all of its kind: that of an acknowledgement is another one for each message.
fn kind_of_refusal(text: &str) -> String {
    const ACKS: &str = "$JS.ACK.";
    match text.split_once(ACKS) {
        Some((before, _)) => format!("{before}{ACKS}>\""),
        None => text.to_owned(),
    }
}

/// The connections of a process beside those of its lanes.
#[derive(Debug, Default)]
pub struct Connections(Mutex<Vec<Arc<ConnectionState>>>);

impl Connections {
    /// Adds one, for as long as the process lives.
    pub fn add(&self, connection: Arc<ConnectionState>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// All that were added.
    pub fn all(&self) -> Vec<Arc<ConnectionState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The state of a connection. The thread that has the connection writes it, and all may read it.
#[derive(Debug)]
pub struct ConnectionState {
    name: String,
    connected: AtomicBool,
    connects: Counter,
    /// How often there was a connection again after one was lost.
    reconnects: Counter,
    /// How often the server has cut the connection of a lane that did not keep up.
    cuts: Counter,
    /// How long the latest sign of life from the server has taken, in nanoseconds; 0 before the first over a connection.
    round_trip: AtomicU64,
    /// Counts the connections that were made and lost.
    changes: watch::Sender<u64>,
    /// The last thing that went wrong, until there is a connection again.
    trouble: Mutex<Option<String>>,
    /// The server that the latest connection is to, or was.
    server: Mutex<Option<String>>,
    refusals: Mutex<Refusals>,
}

/// What the server has refused for want of permission.
#[derive(Debug, Default)]
struct Refusals {
    /// How often it has said each, in its own words: `Permissions Violation for Publish to "a.b"`. There is nothing else to
    /// tell it by. That it is said again tells that the permission was not given meanwhile.
    named: BTreeMap<String, u64>,
    /// How often it has said what there was no room for among them.
    others: u64,
}

impl Refusals {
    /// How often it has surely said that of publishing to `subject`.
    fn publications(&self, subject: &str) -> u64 {
        let wanted = format!("publish to \"{subject}\"").to_lowercase();
        let said = self.named.iter().filter(|(refusal, _)| refusal.to_lowercase().contains(&wanted));
        said.map(|(_, times)| times).sum()
    }
}

impl ConnectionState {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            connected: AtomicBool::new(false),
            connects: Counter::default(),
            reconnects: Counter::default(),
            cuts: Counter::default(),
            round_trip: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            trouble: Mutex::default(),
            server: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Whether there is a connection, on which all subscriptions were confirmed.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// How often the connection was made again after it was lost.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.get()
    }

    /// How often the server has closed the connection because this end did not read fast enough, as far as can be told.
    pub fn cuts(&self) -> u64 {
        self.cuts.get()
    }

    /// How long it took the latest time to hear from the server after it was asked for a sign of life, which happens every
    /// ten seconds. None without a connection, and in its first second.
    pub fn round_trip(&self) -> Option<Duration> {
        Some(self.round_trip.load(Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    /// What the log calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that the latest connection is to, or was; without a login. None before the first.
    pub fn server(&self) -> Option<String> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why there is no connection, as far as is known.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the server has refused what was published to `subject`. More than before is a refusal since then.
    pub fn refused_publications(&self, subject: &str) -> u64 {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        // One that there was no room for may be of this subject: rather one too many than one that is overlooked.
        refusals.others + refusals.publications(subject)
    }

    /// The same, without those for which there was no room to tell them apart: where one too many would be worse.
    pub fn surely_refused_publications(&self, subject: &str) -> u64 {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).publications(subject)
    }

    /// Tells of each connection that is made or lost from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns when there is a connection.
    pub async fn connected(&self) {
        let mut changes = self.changes();
        while !self.is_connected() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// There is a connection to `server` from now on.
    pub(super) fn connected_to(&self, server: &str) {
        let link = self.name.as_str();
        let was_connected = self.connected.swap(true, Relaxed);
        let is_first = self.connects.get() == 0;
        self.connects.add(1);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.to_owned());
        // What is refused is refused again.
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner) = Refusals::default();
        if is_first {
            // The start is said once for all of them, by whoever has them all.
            debug!(link, server, "connected to NATS");
        } else {
            info!(link, server, "connected to NATS");
            if !was_connected {
                self.reconnects.add(1);
            }
        }
        self.tell();
    }

    /// There is no connection from now on, for this reason.
    pub(super) fn lost(&self, why: &dyn fmt::Display, was_cut: bool) {
        let (link, error) = (self.name.as_str(), why.to_string());
        self.connected.store(false, Relaxed);
        self.round_trip.store(0, Relaxed);
        if was_cut {
            self.cuts.add(1);
            warn!(link, error, "connection to NATS lost, as this end read too slowly; connecting again");
        } else {
            warn!(link, error, "connection to NATS lost, connecting again");
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.tell();
    }

    /// The server was heard of, so long after it was asked.
    pub(super) fn heard_after(&self, time: Duration) {
        self.round_trip.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1), Relaxed);
    }

    /// The server has announced that it will stop.
    pub(super) fn lame_duck_began(&self) {
        info!(link = self.name, "NATS server is about to stop, moving to another one");
    }

    /// The server refuses something that was published, for want of a permission; in its own words.
    pub(super) fn refused(&self, text: &str) {
        let text = kind_of_refusal(text);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = refusals.named.get_mut(&text) {
            *times += 1;
        } else if refusals.named.len() < MOST_REFUSALS {
            error!(link = self.name, error = text, "NATS refuses it: the user needs this permission");
            refusals.named.insert(text, 1);
        } else {
            refusals.others += 1;
        }
    }

    /// Says what is wrong once, and again when it changes: it is tried several times a second.
    pub(super) fn trouble_with(&self, error: &dyn fmt::Display) {
        let text = error.to_string();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&text) {
            warn!(link = self.name, error = text, "NATS connection in trouble");
            *trouble = Some(text);
        }
    }
}
