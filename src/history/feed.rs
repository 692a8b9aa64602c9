//! Where the lanes tell what came of attempts, and who gets to know of it.
//!
//! While nobody wants to, an attempt costs a look at one number.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::mpsc;

use super::record::Record;
use crate::{
    base::clock::Time,
    config::{History, Outcomes, RouteName},
    message::{Id, batch::Batch, outcome::Attempt},
};

/// How many records wait to be published at the most, at some 250 bytes each.
const ROOM: usize = 8192;
/// How many wait for one who listens, and for how many there is room.
const LISTENER_ROOM: usize = 512;
const LISTENERS: usize = 16;

/// Where the lanes tell what came of attempts.
#[derive(Debug, Default)]
pub struct Feed {
    /// How many want to know.
    wanting: AtomicUsize,
    kept: Option<Kept>,
    listeners: Mutex<Vec<Ear>>,
}

/// What became of records that were to be published.
#[derive(Debug, Default)]
pub struct Counts {
    published: AtomicU64,
    dropped: AtomicU64,
}

/// What is to be published.
#[derive(Debug)]
struct Kept {
    outcomes: Outcomes,
    sample: f64,
    queue: mpsc::Sender<Record>,
    counts: Arc<Counts>,
}

/// Which attempts somebody who listens wants to hear of.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those of this route only.
    pub route: Option<RouteName>,
    /// Failed ones only.
    pub failed: bool,
}

/// The feed's end of what somebody listens to.
#[derive(Debug)]
struct Ear {
    wanted: Wanted,
    queue: mpsc::Sender<Record>,
    left_out: Arc<AtomicU64>,
}

/// Somebody who listens.
#[derive(Debug)]
pub struct Listener {
    queue: mpsc::Receiver<Record>,
    left_out: Arc<AtomicU64>,
    feed: Arc<Feed>,
}

impl Feed {
    /// One that also publishes what `settings` say; and the end of the queue that this is taken from.
    pub fn keeping(settings: &History) -> (Self, mpsc::Receiver<Record>) {
        let (queue, taken) = mpsc::channel(ROOM);
        let History { outcomes, sample, .. } = *settings;
        let kept = Kept { outcomes, sample, queue, counts: Arc::default() };
        (Self { wanting: AtomicUsize::new(1), kept: Some(kept), ..Self::default() }, taken)
    }

    /// What became of records that were to be published.
    pub fn counts(&self) -> Arc<Counts> {
        self.kept.as_ref().map(|kept| Arc::clone(&kept.counts)).unwrap_or_default()
    }

    /// Takes note of an attempt at `batch` from `began` to `ended`, where anybody wants to know.
    #[inline]
    pub fn note(&self, route: &RouteName, batch: &Batch, attempt: &Attempt, began: Time, ended: Time) {
        if self.wanting.load(Relaxed) > 0 {
            self.tell(route, batch, attempt, (began, ended));
        }
    }

    #[cold]
    fn tell(&self, route: &RouteName, batch: &Batch, attempt: &Attempt, span: (Time, Time)) {
        let has_failed = has_failed(attempt);
        let record = |message| Record::of(message, batch.count(), route, attempt, span);
        if let Some(kept) = &self.kept
            && (has_failed || kept.outcomes == Outcomes::All)
        {
            for message in batch.iter().filter(|message| is_sampled(&message.id, kept.sample)) {
                if kept.queue.try_send(record(message)).is_err() {
                    kept.counts.add_dropped(1);
                }
            }
        }
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for ear in listeners.iter().filter(|ear| ear.wants(route, has_failed)) {
            for message in batch.iter() {
                if ear.queue.try_send(record(message)).is_err() {
                    ear.left_out.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// Listens from now on; none where as many listen as there is room for.
    pub fn listen(self: &Arc<Self>, wanted: Wanted) -> Option<Listener> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.len() >= LISTENERS {
            return None;
        }
        let (queue, taken) = mpsc::channel(LISTENER_ROOM);
        let left_out = Arc::<AtomicU64>::default();
        listeners.push(Ear { wanted, queue, left_out: Arc::clone(&left_out) });
        self.wanting.fetch_add(1, Relaxed);
        Some(Listener { queue: taken, left_out, feed: Arc::clone(self) })
    }
}

impl Ear {
    fn wants(&self, route: &RouteName, has_failed: bool) -> bool {
        let is_route = self.wanted.route.as_ref().is_none_or(|wanted| wanted == route);
        is_route && (has_failed || !self.wanted.failed)
    }
}

impl Listener {
    /// The next ones, `limit` at the most; empty when there will be none any more.
    pub async fn next(&mut self, limit: usize) -> Vec<Record> {
        let mut records = Vec::new();
        self.queue.recv_many(&mut records, limit).await;
        records
    }

    /// How many found no room since this was asked last.
    pub fn left_out(&self) -> u64 {
        self.left_out.swap(0, Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.feed.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|ear| !Arc::ptr_eq(&ear.left_out, &self.left_out));
        self.feed.wanting.fetch_sub(1, Relaxed);
    }
}

impl Counts {
    /// Counts records that were published.
    pub(super) fn add_published(&self, count: u64) {
        self.published.fetch_add(count, Relaxed);
    }

    /// Counts records that nobody will see.
    pub(super) fn add_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    /// How many were published.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// How many were not, for want of room or of NATS.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

fn has_failed(attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Failed { .. })
}

/// Whether the message with this id is among the share `sample`: all attempts at it are, or none, on every replica.
fn is_sampled(id: &Id, sample: f64) -> bool {
    if sample >= 1.0 {
        return true;
    }
    let mut hasher = DefaultHasher::new();
    id.to_string().hash(&mut hasher);
    #[expect(clippy::cast_precision_loss, reason = "both have 32 bits, and a float has 53")]
    let place = (hasher.finish() >> 32) as f64 / f64::from(u32::MAX);
    place < sample
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        base::clock::Clock,
        config::{self, Sources},
        message::{Headers, Message, outcome::Failure},
    };

    const DELIVERED: Attempt = Attempt::delivered(200);
    const REFUSED: Attempt = Attempt::failed(Failure::Status(503));

    fn settings(outcomes: &str, sample: &str) -> History {
        let set = [
            ("routes.a.webhook.url", "http://a"),
            ("history.subject", "h"),
            ("history.outcomes", outcomes),
            ("history.sample", sample),
        ];
        let flags = set.map(|(key, value)| (key.to_owned(), value.to_owned(), "--set".to_owned())).into();
        config::load(Sources { flags, ..Sources::default() }).unwrap().history.unwrap()
    }

    fn batch(id: &str) -> Batch {
        let message = Message::new(Id::given(id), "s".into(), Headers::default(), "".into(), Time::START);
        Batch::new(message, Vec::new())
    }

    fn note(feed: &Feed, route: &str, id: &str, attempt: &Attempt) {
        let end = Time::from_start(Duration::from_millis(7));
        feed.note(&route.parse().unwrap(), &batch(id), attempt, Time::START, end);
    }

    #[test]
    fn what_is_wanted_is_kept_and_what_has_no_room_is_counted() {
        for (outcomes, kept) in [("failed", 1), ("all", 2)] {
            let (feed, mut queue) = Feed::keeping(&settings(outcomes, "1.0"));
            note(&feed, "a", "1", &DELIVERED);
            note(&feed, "a", "1", &REFUSED);
            assert_eq!(queue.len(), kept, "{outcomes}");
            let line = queue.try_recv().unwrap().line(Clock::start(), "pod-1");
            assert_eq!((line.route.as_str(), line.id.as_str(), line.replica.as_str()), ("a", "1", "pod-1"));
            assert!((line.seconds - 0.007).abs() < 1e-9);
        }
        let (feed, queue) = Feed::keeping(&settings("failed", "1.0"));
        (0..ROOM + 3).for_each(|_| note(&feed, "a", "1", &REFUSED));
        assert_eq!((queue.len(), feed.counts().dropped()), (ROOM, 3));
    }

    #[test]
    fn a_sample_has_all_attempts_of_a_message_or_none() {
        let (feed, mut queue) = Feed::keeping(&settings("failed", "0.25"));
        for id in 0..1_000 {
            note(&feed, "a", &id.to_string(), &REFUSED);
            note(&feed, "a", &id.to_string(), &REFUSED);
        }
        let ids: Vec<_> = std::iter::from_fn(|| queue.try_recv().ok())
            .map(|record| record.line(Clock::start(), "").id)
            .collect();
        assert!((300..700).contains(&ids.len()), "{}", ids.len());
        assert!(ids.chunks(2).all(|pair| pair[0] == pair[1]));
    }

    #[tokio::test]
    async fn who_listens_hears_what_is_wanted_and_how_much_was_left_out() {
        let feed = Arc::new(Feed::default());
        note(&feed, "a", "before", &REFUSED);
        let wanted = Wanted { route: Some("a".parse().unwrap()), failed: true };
        let mut listener = feed.listen(wanted).unwrap();
        note(&feed, "a", "1", &DELIVERED);
        note(&feed, "b", "2", &REFUSED);
        (0..LISTENER_ROOM + 5).for_each(|_| note(&feed, "a", "3", &REFUSED));
        let heard = listener.next(1_000).await;
        assert_eq!((heard.len(), listener.left_out(), listener.left_out()), (LISTENER_ROOM, 5, 0));
        let line = heard[0].line(Clock::start(), "");
        assert_eq!((line.id.as_str(), line.status, line.reason.as_deref()), ("3", Some(503), Some("503")));
        let others: Vec<_> = (1..LISTENERS).map(|_| feed.listen(Wanted::default()).unwrap()).collect();
        assert!(feed.listen(Wanted::default()).is_none(), "there is room for so many");
        drop((listener, others));
        assert_eq!(feed.wanting.load(Relaxed), 0);
    }
}
