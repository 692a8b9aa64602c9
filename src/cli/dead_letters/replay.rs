//! Delivering dead letters after all.
//!
//! There are as many workers as the route's concurrency. Each takes a letter, delivers it and removes it from the
//! stream before it takes the next: where a replay is broken off, the next one repeats no more than what was under way.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    num::NonZeroU32,
    rc::Rc,
};

use indicatif::ProgressBar;
use tokio::{sync::Mutex, task::spawn_local, time::sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{CommandError, progress, selection::Selected};
use crate::{
    base::clock::{Clock, Time},
    cli::terminal::clean,
    config::{Retry, Route},
    control::signals::{self, Signals},
    dead_letter::{Cursor, Store, StoreError, Stored},
    deliver::{Client, Deliver as _, Target, endpoint::Surroundings, login::Login},
    message::{
        Message,
        batch::Batch,
        outcome::{Attempt, Failure},
    },
    route::schedule::{
        gate::Gate,
        login::LoginGate,
        pause::Pause,
        policy::Policy,
        rate_limit::{Limiter, SharedLimit},
    },
};

/// How often a letter is tried, where the route has no lower limit: whoever replays is there to see that it fails.
const ATTEMPTS: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");
/// After so many letters in a row that found no webhook at all, the rest is left alone.
const UNREACHABLE: u32 = 20;
/// How many failures are named one by one: the summary has their number, and a list of thousands helps nobody.
const NAMED: u64 = 20;

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    /// Letters that the webhook accepted.
    pub(super) delivered: u64,
    /// Letters that it did not.
    pub(super) failed: u64,
    /// Letters that it accepted, and that are still in the stream.
    pub(super) not_removed: u64,
    /// Letters that are in the stream now.
    pub(super) left: u64,
    /// Letters that were left alone since they are of no route that is configured.
    pub(super) orphans: u64,
    /// Whether some were not tried.
    pub(super) interrupted: bool,
    unreachable: u32,
}

impl Summary {
    /// How many letters were found.
    pub(super) const fn seen(&self) -> u64 {
        self.delivered + self.failed
    }

    /// Whether nothing is left to do.
    pub(super) const fn is_success(&self) -> bool {
        self.failed == 0 && self.not_removed == 0 && !self.interrupted
    }
}

pub(super) struct Replay {
    store: Store,
    selected: Selected,
    target: Rc<Target>,
    concurrency: usize,
    policy: Policy,
    login: Option<Login>,
    gate: Option<LoginGate>,
    pause: Pause,
    limit: Option<Limiter>,
    clock: Clock,
    /// Letters that were looked at and not taken yet. Its lock is held while a page is fetched, since all workers wait
    /// for the same page.
    ahead: Mutex<Ahead>,
    /// Cancelled when no more letters are to be taken: by a signal, or by what makes it pointless to go on.
    stop: CancellationToken,
    summary: Cell<Summary>,
    error: RefCell<Option<StoreError>>,
    bar: ProgressBar,
}

struct Ahead {
    letters: VecDeque<Stored>,
    cursor: Cursor,
}

impl Replay {
    /// Delivers what is `selected` to the webhook of `to`. The signals that end it are listened to from now on.
    pub(super) fn new(
        store: Store,
        selected: Selected,
        to: &Route,
        clock: Clock,
    ) -> Result<(Rc<Self>, Signals), CommandError> {
        let signals = signals::listen()?;
        let endpoint = Surroundings::default().endpoint(to, clock);
        let retry = Retry { attempts: to.retry.attempts.min(ATTEMPTS), ..to.retry.clone() };
        let replay = Self {
            store,
            selected,
            // Each goes alone, in a body like that of a batch.
            target: Rc::new(Target::new(&to.webhook, &endpoint, Rc::default(), clock).batching(&to.batch)),
            concurrency: to.webhook.concurrency.modest().get(),
            policy: Policy::from(&retry),
            gate: endpoint.login.as_ref().and_then(Login::readiness).map(LoginGate::new),
            login: endpoint.login,
            pause: Pause::default(),
            limit: to.rate_limit.map(SharedLimit::new).map(Limiter::new),
            clock,
            ahead: Mutex::new(Ahead { letters: VecDeque::new(), cursor: Cursor::START }),
            stop: signals.stop.clone(),
            summary: Cell::default(),
            error: RefCell::default(),
            bar: progress(0),
        };
        Ok((Rc::new(replay), signals))
    }

    /// Runs to the end, or until a signal; what is under way is finished then, and with a second signal broken off.
    pub(super) async fn run(self: Rc<Self>, signals: Signals) -> Result<Summary, CommandError> {
        if let Some(login) = &self.login {
            let ready = tokio::select! {
                ready = login.ready(self.clock) => ready.map_err(CommandError::Login),
                () = signals.stop.cancelled() => Err(io::Error::from(io::ErrorKind::Interrupted).into()),
            };
            ready?;
        }
        let all = self.store.count().await?;
        self.bar.set_length(all);
        let workers = TaskTracker::new();
        let members = usize::try_from(all).unwrap_or(usize::MAX).min(self.concurrency);
        for _ in 0..members {
            drop(spawn_local(workers.track_future(Rc::clone(&self).work())));
        }
        workers.close();
        tokio::select! {
            () = workers.wait() => {}
            () = signals.abort.cancelled() => return Err(io::Error::from(io::ErrorKind::Interrupted).into()),
        }
        self.bar.finish_and_clear();
        if let Some(error) = self.error.take() {
            eprintln!("error: {error}");
        }
        let left = self.store.count().await?;
        Ok(Summary { left, interrupted: self.stop.is_cancelled(), ..self.summary.get() })
    }

    async fn work(self: Rc<Self>) {
        let mut client = Client::new(Rc::clone(&self.target));
        loop {
            let done = match self.take().await {
                Ok(Some(sequence)) => self.replay(sequence, &mut client).await,
                Ok(None) => return,
                Err(error) => Err(error),
            };
            // One error of the stream is enough: what can't be removed from it after it was delivered would be
            // delivered again by the next replay.
            if let Err(error) = done {
                self.error.borrow_mut().get_or_insert(error);
                self.stop.cancel();
            }
        }
    }

    /// The sequence of the next letter, as long as there is one and nobody has ended it.
    async fn take(&self) -> Result<Option<u64>, StoreError> {
        let mut ahead = self.ahead.lock().await;
        while !self.stop.is_cancelled() {
            let Some(letter) = ahead.letters.pop_front() else {
                let Ahead { letters, cursor } = &mut *ahead;
                letters.extend(self.store.page(cursor).await?.into_iter().map(Stored::without_payload));
                if letters.is_empty() && cursor.is_at_end() {
                    break;
                }
                continue;
            };
            // What becomes a dead letter meanwhile is left for another replay: else this one might never end.
            if letter.sequence > self.store.last() {
                break;
            }
            if self.selected.has(&letter) {
                return Ok(Some(letter.sequence));
            }
            if self.selected.leaves_orphan(&letter) {
                self.count(|summary| summary.orphans += 1);
            }
            self.bar.inc(1);
        }
        Ok(None)
    }

    async fn replay(&self, sequence: u64, client: &mut Client) -> Result<(), StoreError> {
        // Another replay may have been faster.
        let Some(letter) = self.store.get(sequence).await? else { return Ok(()) };
        let delivered = self.deliver(letter.to_message(self.clock.now()), client).await;
        self.bar.inc(1);
        match delivered {
            Some(Ok(())) => {
                self.count(|summary| {
                    summary.delivered += 1;
                    summary.unreachable = 0;
                });
                let removed = self.store.remove(sequence).await;
                if removed.is_err() {
                    self.count(|summary| summary.not_removed += 1);
                }
                removed
            }
            Some(Err(failure)) => {
                self.failed(&letter, failure);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Attempts to deliver `message` as often as the route's policy says. None where it ended before the first attempt.
    async fn deliver(&self, message: Message, client: &mut Client) -> Option<Result<(), Failure>> {
        let mut batch = Batch::from(message);
        let mut last = None;
        for number in 1.. {
            if !self.permit().await {
                break;
            }
            batch.begin_attempt();
            let now = self.clock.now();
            let (attempt, _) = client.deliver(&batch, now).await;
            let Attempt::Failed { failure, retry_after, .. } = attempt else {
                return Some(Ok(()));
            };
            last = Some(Err(failure));
            let now = self.clock.now();
            // `Retry-After` is about the webhook, and so holds for all workers.
            if let Some(asked) = retry_after {
                self.pause.extend(now + self.policy.pause(asked));
            }
            // Here every failure is held against its letter, which stays where it is: somebody waits for an end.
            let ended = self.policy.ends(failure, number, 1).is_some();
            if ended || !self.wait_until(now + self.policy.delay(number)).await {
                break;
            }
        }
        last
    }

    fn gates(&self) -> impl Iterator<Item = &dyn Gate> {
        [&self.gate as &dyn Gate, &self.pause, &self.limit].into_iter()
    }

    /// Waits until the route's limits allow an attempt. False where it was ended meanwhile.
    async fn permit(&self) -> bool {
        loop {
            let now = self.clock.now();
            let Err(until) = self.gates().try_for_each(|gate| gate.admit(now)) else {
                return !self.stop.is_cancelled();
            };
            // Then it asks again: another worker may have been given the permit.
            if !self.wait_until(until).await {
                return false;
            }
        }
    }

    async fn wait_until(&self, time: Time) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = sleep_until(self.clock.instant(time)) => true,
        }
    }

    fn failed(&self, letter: &Stored, failure: Failure) {
        let summary = self.count(|summary| {
            summary.failed += 1;
            summary.unreachable = if matches!(failure, Failure::Dns | Failure::Connect | Failure::Tls) {
                summary.unreachable + 1
            } else {
                0
            };
        });
        if summary.failed <= NAMED {
            self.bar
                .suspend(|| eprintln!("failed: {} ({})", clean(&letter.id().to_string()), failure.label()));
        }
        if summary.unreachable == UNREACHABLE {
            self.bar.suspend(|| eprintln!("the webhook can't be reached, stopping"));
            self.stop.cancel();
        }
    }

    fn count(&self, change: impl FnOnce(&mut Summary)) -> Summary {
        let mut summary = self.summary.get();
        change(&mut summary);
        self.summary.set(summary);
        summary
    }
}
