//! The ledgers of a durable route: what each lane has in hand of its stream, and what the stream is still to be told of
//! it.
//!
//! A message is known by its sequence in the stream, together with the time at which the stream took it. So a delivery of
//! what is here already is recognised, on whichever lane it comes; and what belongs to a stream that was deleted
//! meanwhile acknowledges nothing in the one that has its name now. What has come to an end stays in the ledger until
//! the stream has confirmed it.
//!
//! On the way of a message only its own lane locks a ledger, so that it never waits. The others look for a delivery that
//! is not the first, and the publisher of dead letters settles from its own thread.

mod acknowledged;
mod attempts;
mod beats;
mod book;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

pub use self::book::Saying;
use self::{
    acknowledged::Past,
    attempts::Attempts,
    book::{Arrival, Book},
};
use super::{
    acknowledgement::{AckHandle, AckKind},
    origin::Origin,
};
use crate::base::clock::Time;

/// What one lane has in hand of a stream. Clones are the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stream: Box<str>,
    book: Mutex<Book>,
    /// Notified when there is something to say.
    news: Notify,
    /// How often messages were attempted that are given back, for the other replicas.
    returned: Mutex<Vec<Returned>>,
    group: Arc<Group>,
}

/// The ledgers of all lanes of a process for one consumer. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Ledgers(Arc<Group>);

#[derive(Debug, Default)]
struct Group {
    /// Those of routes that have ended go when nothing of theirs is in hand any more.
    ledgers: Mutex<Vec<Weak<Inner>>>,
    /// What the last of them have known, where there is none at present.
    past: Mutex<Past>,
    attempts: Mutex<Attempts>,
    life: Mutex<Option<Life>>,
    /// For how long the stream keeps a message, in nanoseconds; 0 where it keeps all.
    max_age: AtomicU64,
    /// How often the consumer delivers a message; 0 where there is no limit.
    max_deliver: AtomicU64,
    /// Up to this sequence, messages may come for the first time that are known: the consumer was made anew, or its server has
    /// forgotten that it delivered them.
    repeats_up_to: AtomicU64,
    /// Up to this sequence, the consumer is known to know the end of all.
    floor: AtomicU64,
}

/// Which stream and consumer it is: one that is deleted and made anew has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When the stream was made, in nanoseconds since 1970.
    pub stream: i128,
    /// When the consumer was made.
    pub consumer: i128,
    /// The last sequence of the stream.
    pub last_sequence: u64,
    /// Whether the consumer was made to go on where a former one of the same name ended.
    pub continues: bool,
}

/// What has become of the stream and its consumer since they were last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the first time.
    First,
    /// They are the same.
    Same,
    /// The consumer was made anew.
    OtherConsumer,
    /// The stream was made anew, or lost what it had: nothing that is in hand has to do with it any more.
    OtherStream,
}

/// What is relied on of a stream and its consumer to tell whether a message would come back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// For how long the stream keeps a message.
    pub max_age: Option<Duration>,
    /// How often the consumer delivers a message.
    pub max_deliver: Option<u64>,
}

/// How often a message was attempted that goes back to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Its sequence.
    pub sequence: u64,
    /// When it was published, in nanoseconds since 1970.
    pub published: u64,
    /// How often it was attempted.
    pub attempts: u32,
}

impl Ledgers {
    /// One more ledger, for a lane that takes messages of `stream`, whose consumer waits for an ack for so long.
    pub fn open(&self, stream: &str, ack_wait: Duration) -> Ledger {
        let inner = Arc::new(Inner {
            stream: stream.into(),
            book: Mutex::new(Book::new(ack_wait)),
            news: Notify::new(),
            returned: Mutex::default(),
            group: Arc::clone(&self.0),
        });
        let mut ledgers = lock(&self.0.ledgers);
        ledgers.retain(|ledger| ledger.strong_count() > 0);
        ledgers.push(Arc::downgrade(&inner));
        // While the list is locked: one that ends now has left what it knows already, or finds this one.
        lock(&inner.book).inherit(std::mem::take(&mut lock(&self.0.past)));
        drop(ledgers);
        Ledger(inner)
    }

    /// Takes note of what the stream and the consumer are now, and of the limits that they set. Where the stream is
    /// another one than before, all that is in hand is void. `highest` is the [highest](Self::highest) sequence that had
    /// come when they were asked.
    pub fn observe(&self, now: Life, limits: Limits, highest: u64) -> Turn {
        let group = &self.0;
        let age = limits.max_age.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        group.max_age.store(age, Relaxed);
        group.max_deliver.store(limits.max_deliver.unwrap_or_default(), Relaxed);
        let mut life = lock(&group.life);
        let Some(before) = life.replace(now) else { return Turn::First };
        // Without a message of it, a stream that lost all it had can't be told from one that never had any.
        if before.stream != now.stream || highest > now.last_sequence {
            group.each(|ledger| lock(&ledger.book).void());
            *lock(&group.attempts) = Attempts::default();
            group.repeats_up_to.store(0, Relaxed);
            group.floor.store(0, Relaxed);
            return Turn::OtherStream;
        }
        if before.consumer != now.consumer {
            group.repeats_up_to.store(self.highest(), Relaxed);
            if !now.continues {
                // Somebody else has made it, and may want all of it once more.
                group.each(|ledger| lock(&ledger.book).forget_acknowledged());
            }
            return Turn::OtherConsumer;
        }
        Turn::Same
    }

    /// Where a consumer would go on that is made in place of the one that was there before: after which sequence. None
    /// where there was none. `stream` is when the stream was made: in another one, all is new.
    pub fn goes_on_after(&self, stream: i128) -> Option<u64> {
        let before = (*lock(&self.0.life))?;
        Some(if before.stream == stream { self.0.floor.load(Relaxed) } else { 0 })
    }

    /// The highest sequence that came.
    pub fn highest(&self) -> u64 {
        let mut highest = 0;
        self.0.each(|ledger| highest = highest.max(lock(&ledger.book).highest()));
        highest
    }

    /// The consumer said, when it was asked at `asked`, that it knows of all up to `floor`, and has delivered nothing
    /// after `delivered`. `highest` is the [highest](Self::highest) sequence that had come by then: where that is beyond what
    /// was delivered, the server was killed before it had written that down, and delivers it as if for the first time.
    pub fn known(&self, floor: u64, delivered: u64, highest: u64, asked: Time) {
        if delivered < highest {
            self.0.repeats_up_to.fetch_max(self.highest(), Relaxed);
        }
        self.0.floor.store(floor, Relaxed);
        self.0.each(|ledger| lock(&ledger.book).known(floor, delivered, asked));
    }

    /// Has all of them go by the `ack_wait` that the consumer turned out to have.
    pub fn adapt(&self, ack_wait: Duration, now: Time) {
        self.0.each(|ledger| {
            if lock(&ledger.book).adapt(ack_wait, now) {
                ledger.news.notify_one();
            }
        });
    }

    /// What is remembered of messages that were given back.
    pub fn returned(&self) -> Vec<Returned> {
        let attempts = lock(&self.0.attempts);
        let all = attempts.all();
        all.map(|((sequence, published), attempts)| Returned { sequence, published, attempts }).collect()
    }

    /// Another replica has given a message back.
    pub fn note_returned(&self, returned: Returned) {
        let Returned { sequence, published, attempts } = returned;
        lock(&self.0.attempts).remember((sequence, published), attempts);
    }
}

impl Drop for Inner {
    /// Leaves what it knows to another one of its consumer. Where the settings of a route have changed, that one goes on with
    /// its messages.
    fn drop(&mut self) {
        let past = self.book.get_mut().unwrap_or_else(PoisonError::into_inner).leave();
        let ledgers = lock(&self.group.ledgers);
        let Some(heir) = ledgers.iter().find_map(Weak::upgrade) else {
            lock(&self.group.past).add(past);
            return;
        };
        // It may be the last who holds that one, which then asks for the list, too.
        drop(ledgers);
        lock(&heir.book).inherit(past);
    }
}

impl Group {
    /// Calls `look` with each ledger, of which no lock is held here.
    fn each(&self, mut look: impl FnMut(&Inner)) {
        let ledgers: Vec<_> = lock(&self.ledgers).iter().filter_map(Weak::upgrade).collect();
        ledgers.iter().for_each(|ledger| look(ledger));
    }

    /// From when on a message that was published then, and delivered so often, does not come again.
    fn gone(&self, origin: &Origin<'_>, now: Time) -> Option<Time> {
        let most = self.max_deliver.load(Relaxed);
        if most > 0 && origin.delivered >= most {
            return Some(Time::START);
        }
        let age = self.max_age.load(Relaxed);
        (age > 0).then(|| {
            let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let end = Duration::from_nanos(origin.published.saturating_add(age));
            now + end.saturating_sub(today)
        })
    }
}

impl Ledger {
    /// Takes note of a delivery. Returns what settles the message, and how often it was attempted before, as far as is
    /// known; none where it is here already.
    pub fn arrived(&self, origin: &Origin<'_>, reply: &str, now: Time) -> Option<(AckHandle, u32)> {
        let group = &self.0.group;
        let gone = group.gone(origin, now);
        let may_be_known = origin.delivered > 1 || origin.sequence <= group.repeats_up_to.load(Relaxed);
        if may_be_known && self.is_known(origin, reply) {
            return None;
        }
        let arrival = self.book().arrived(origin, reply, gone, now);
        let Arrival::New { is_only } = arrival else { return None };
        if is_only {
            // Nobody may be waiting for the time of its first heartbeat.
            self.0.news.notify_one();
        }
        let key = (origin.sequence, origin.published);
        let attempts = if may_be_known { lock(&group.attempts).take(key) } else { 0 };
        Some((AckHandle::new(self.clone(), origin.sequence, origin.published), attempts))
    }

    /// Whether a delivery is known on any lane.
    fn is_known(&self, origin: &Origin<'_>, reply: &str) -> bool {
        let mut known = false;
        self.0.group.each(|ledger| {
            if !known && lock(&ledger.book).repeated(origin, reply) {
                known = true;
                // An end of it may be to be said again.
                ledger.news.notify_one();
            }
        });
        known
    }

    pub(super) fn settle(&self, sequence: u64, published: u64, kind: AckKind) {
        // Taken by itself: whoever is woken must not wait for the lock.
        let is_first = self.book().settle(sequence, published, kind);
        if is_first {
            self.0.news.notify_one();
        }
    }

    pub(super) fn remember(&self, returned: Returned) {
        Ledgers(Arc::clone(&self.0.group)).note_returned(returned);
        lock(&self.0.returned).push(returned);
    }

    pub(super) fn forget(&self, sequence: u64, published: u64) {
        self.book().forget(sequence, published);
    }

    pub(super) fn comes_back(&self, sequence: u64, published: u64, then: Time) -> bool {
        self.book().comes_back(sequence, published, then)
    }

    /// The stream.
    pub fn stream(&self) -> &str {
        &self.0.stream
    }

    /// Returns when there is something to say, or was since it was last asked.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// What was given back since this was last asked.
    pub fn take_returned(&self) -> Vec<Returned> {
        std::mem::take(&mut lock(&self.0.returned))
    }

    /// Says up to `most` of what is to be said as the batch with this `number`, which is higher than those before. Once
    /// `publish` returns false, what is left is kept for later. Returns whether there is an answer to wait for.
    pub fn say(&self, number: u64, most: usize, now: Time, publish: impl FnMut(Saying<'_>) -> bool) -> bool {
        self.book().say(number, most, now, publish)
    }

    /// The stream has answered to the batch with this number: it knows of all of it.
    pub fn confirm(&self, number: u64) {
        self.book().confirm(number);
    }

    /// Has what was said and not confirmed for too long said again. Returns the numbers of the batches that are given up
    /// for that.
    pub fn expire(&self, now: Time) -> Vec<u64> {
        self.book().expire(now)
    }

    /// Has all said again that was not confirmed: it went over a connection that is gone. Returns the numbers of the
    /// batches that are given up for that.
    pub fn disconnected(&self, now: Time) -> Vec<u64> {
        self.book().disconnected(now)
    }

    /// Says the heartbeats that are due, for as long as `publish` returns true.
    pub fn beat(&self, now: Time, publish: impl FnMut(Saying<'_>) -> bool) {
        self.book().beat(now, publish);
    }

    /// What the reply subjects of all messages begin with; none before there was one.
    pub fn consumer(&self) -> Option<String> {
        self.book().consumer().map(str::to_owned)
    }

    /// How many messages are in hand.
    pub fn in_hand(&self) -> usize {
        self.book().in_hand_count()
    }

    /// How many have come to an end that the stream has not confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.book().unconfirmed()
    }

    /// Whether there is anything to say.
    pub fn has_news(&self) -> bool {
        self.book().has_news()
    }

    /// How many batches have no answer yet.
    pub fn unanswered(&self) -> usize {
        self.book().unanswered()
    }

    /// When to look again though nothing has happened.
    pub fn next_due(&self) -> Option<Time> {
        self.book().next_due()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.0.book)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
