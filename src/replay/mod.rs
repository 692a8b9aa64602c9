//! Delivering dead letters after all.
//!
//! There are as many workers as the route's concurrency. Each takes a letter, delivers it and removes it from the
//! stream before it takes the next: where a replay is broken off, the next one repeats no more than what was under way.

mod webhook;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::{sync::Mutex, task::spawn_local};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::webhook::Webhook;
use crate::{
    dead_letter::{Store, StoreError, Stored, Walk},
    deliver::Client,
    message::outcome::Failure,
};

/// After so many letters in a row that found no webhook at all, the rest is left alone.
const UNREACHABLE: u32 = 20;

/// What a replay has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Letters that the webhook accepted.
    pub delivered: u64,
    /// Letters that it did not.
    pub failed: u64,
    /// Letters that it accepted, and that are still in the stream.
    pub not_removed: u64,
    /// Letters that are not meant.
    pub passed: u64,
    /// Letters among those that were left alone since they are of no route that is configured.
    pub orphans: u64,
    unreachable: u32,
}

/// What happens in a replay.
pub enum News<'n> {
    /// One letter more, or some, were looked at or are done with.
    Progress,
    /// A letter was not accepted.
    Failed(&'n Stored, Failure),
    /// The webhook can't be reached, and no more letters are taken.
    Unreachable,
}

/// Why a replay has ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The route logs in with a token, and there is none.
    #[error("there is no token to log in to the webhook with: {0}")]
    Login(Arc<str>),
    /// A letter can't be read, or removed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells whoever watches it what happens.
pub type Watcher = Box<dyn Fn(&Summary, News<'_>)>;

/// Letters on their way to a webhook.
pub struct Replay {
    store: Store,
    webhook: Webhook,
    /// Its lock is held while letters are read, since all workers wait for the same ones.
    walk: Mutex<Walk>,
    /// How many letters may still be taken.
    left: Cell<u64>,
    /// Cancelled when no more letters are to be taken: by whoever has begun it, or by what makes it pointless to go on.
    stop: CancellationToken,
    summary: Cell<Summary>,
    error: RefCell<Option<ReplayError>>,
    watcher: Watcher,
}

impl Summary {
    /// How many letters were tried.
    pub const fn tried(&self) -> u64 {
        self.delivered + self.failed
    }

    /// How many letters were looked at, and are done with.
    pub const fn seen(&self) -> u64 {
        self.tried() + self.passed
    }
}

impl Replay {
    /// Delivers `most` of the letters of `walk` at the most, which goes through `store`, to `webhook`; until `stop`. Needs a
    /// runtime that takes local tasks.
    pub fn new(
        store: Store,
        walk: Walk,
        webhook: Webhook,
        most: u64,
        stop: CancellationToken,
        watcher: Watcher,
    ) -> Rc<Self> {
        Rc::new(Self {
            store: store.persistent(),
            webhook,
            walk: Mutex::new(walk),
            left: Cell::new(most),
            stop,
            summary: Cell::default(),
            error: RefCell::default(),
            watcher,
        })
    }

    /// Runs to the end, or until it is stopped; what is under way is finished then. Returns what it has come to, and why it has
    /// ended before its time, where something has ended it.
    pub async fn run(self: Rc<Self>) -> (Summary, Option<ReplayError>) {
        let ready = tokio::select! {
            ready = self.webhook.ready() => ready,
            () = self.stop.cancelled() => return (self.summary.get(), None),
        };
        if let Err(why) = ready {
            return (self.summary.get(), Some(ReplayError::Login(why)));
        }
        let workers = TaskTracker::new();
        for _ in 0..self.webhook.concurrency() {
            drop(spawn_local(workers.track_future(Rc::clone(&self).work())));
        }
        workers.close();
        workers.wait().await;
        (self.summary.get(), self.error.take())
    }

    async fn work(self: Rc<Self>) {
        let mut client = self.webhook.client();
        loop {
            let done = match self.take().await {
                Ok(Some(sequence)) => self.replay(sequence, &mut client).await,
                Ok(None) => return,
                Err(error) => Err(error),
            };
            // One error of the stream is enough: what can't be removed from it after it was delivered would be
            // delivered again by the next replay.
            if let Err(error) = done {
                self.error.borrow_mut().get_or_insert(error.into());
                self.stop.cancel();
            }
        }
    }

    /// The sequence of the next letter, as long as there is one and nobody has ended it.
    async fn take(&self) -> Result<Option<u64>, StoreError> {
        let mut walk = self.walk.lock().await;
        if self.left.get() == 0 || self.stop.is_cancelled() {
            return Ok(None);
        }
        let letter = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            letter = walk.next(&self.store) => letter?,
        };
        self.tell(News::Progress, |summary| {
            (summary.passed, summary.orphans) = (walk.passed(), walk.orphans());
        });
        self.left.set(self.left.get() - u64::from(letter.is_some()));
        Ok(letter.map(|letter| letter.sequence))
    }

    async fn replay(&self, sequence: u64, client: &mut Client) -> Result<(), StoreError> {
        // Another replay may have been faster.
        let Some(letter) = self.store.get(sequence).await? else { return Ok(()) };
        let message = letter.to_message(self.webhook.clock().now());
        match self.webhook.deliver(message, client, &self.stop).await {
            Some(Ok(())) => {
                let removed = self.store.remove(sequence).await;
                self.tell(News::Progress, |summary| {
                    summary.delivered += 1;
                    summary.not_removed += u64::from(removed.is_err());
                    summary.unreachable = 0;
                });
                removed
            }
            Some(Err(failure)) => {
                self.failed(&letter, failure);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn failed(&self, letter: &Stored, failure: Failure) {
        let is_unreachable = matches!(failure, Failure::Dns | Failure::Connect | Failure::Tls);
        self.tell(News::Failed(letter, failure), |summary| {
            summary.failed += 1;
            summary.unreachable = if is_unreachable { summary.unreachable + 1 } else { 0 };
        });
        if self.summary.get().unreachable == UNREACHABLE {
            self.tell(News::Unreachable, |_| {});
            self.stop.cancel();
        }
    }

    fn tell(&self, news: News<'_>, change: impl FnOnce(&mut Summary)) {
        let mut summary = self.summary.get();
        change(&mut summary);
        self.summary.set(summary);
        (self.watcher)(&summary, news);
    }
}
