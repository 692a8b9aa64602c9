//! One route on one lane at work: the loops around a [`Schedule`], which only wait, and ask it what is next.
//!
//! A pool of workers (`worker.rs`), each with a client of its own, takes messages as fast as it can deliver them.
//! Whoever brings work wakes as many of them as there is work for. One timer, the alarm, wakes the route when something
//! is due: a waiting retry is an entry in a queue and costs no task and no timer.
//!
//! A pipeline has a life of its own: it is started, drained, and at last aborted (`drain.rs`), whatever
//! the others on its lane do. All of it runs on the lane's thread, so `Cell`s do; no borrow of the schedule may live
//! across an await, and what `settle` does in the closures below never comes back to the schedule.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, task::spawn_local};
use tokio_util::task::TaskTracker;

use super::{
    answers::End,
    capacity::{Capacity, LowWater},
    drain::{Closing, Durations},
    filter::Filter,
    schedule::{Outlook, Pick, Resolved, Schedule, Verdict, breaker::Change},
    settle::Settle,
    under_way::UnderWay,
    webhook_health::WebhookHealth,
    worker::{Interrupt, WorkerHandle},
};
use crate::{
    base::clock::{Clock, Time},
    config::Overflow,
    deliver::Deliver,
    history::Feed,
    message::{
        Message,
        batch::Batch,
        outcome::{Attempt, Failure, Reason},
        way::Way,
    },
    stats::{Load, RouteStats},
    trace::Tracer,
};

/// What a message was rejected with, and why, where the webhook says so.
type Rejection = (Failure, Option<Arc<str>>);

/// What a pipeline is made of.
pub struct Parts<D> {
    /// Which messages are taken at all; none where all are.
    pub filter: Option<Filter>,
    /// Decides what is attempted and what follows from it.
    pub schedule: Schedule,
    /// What happens to a new message that does not fit.
    pub overflow: Overflow,
    /// How many attempts may be under way at the same time: the most workers there will be.
    pub concurrency: usize,
    /// How many are, those of its predecessors at the same webhook included.
    pub under_way: Rc<UnderWay>,
    /// Makes the client of one more worker.
    pub client: Box<dyn Fn() -> D>,
    /// Takes what has come to its end.
    pub settle: Settle,
    /// Watches how the webhook does.
    pub health: Arc<WebhookHealth>,
    /// The figures of the route on this lane.
    pub stats: Arc<RouteStats>,
    /// Makes the spans of its messages; none where it is not traced.
    pub tracer: Option<Arc<Tracer>>,
    /// Is told what comes of attempts.
    pub feed: Option<Arc<Feed>>,
    /// The clock of the process.
    pub clock: Clock,
}

/// A route on a lane. `D` attempts to deliver: the HTTP client, or what stands in for it in a test.
pub struct Pipeline<D> {
    filter: Option<Filter>,
    pub(super) schedule: RefCell<Schedule>,
    overflow: Overflow,
    pub(super) concurrency: usize,
    pub(super) client: Box<dyn Fn() -> D>,
    pub(super) settle: Settle,
    health: Arc<WebhookHealth>,
    pub(super) stats: Arc<RouteStats>,
    load: Arc<Load>,
    tracer: Option<Arc<Tracer>>,
    feed: Option<Arc<Feed>>,
    pub(super) clock: Clock,

    pub(super) tasks: TaskTracker,
    pub(super) workers: RefCell<Vec<Rc<WorkerHandle>>>,
    /// The workers that have nothing to do, the last to be parked on top.
    pub(super) parked: RefCell<Vec<Rc<WorkerHandle>>>,
    /// How many workers were woken and have not run yet. They count as help that is on its way, so that one message
    /// does not wake a second worker.
    pub(super) woken: Cell<usize>,
    pub(super) in_flight: Cell<usize>,
    pub(super) under_way: Rc<UnderWay>,

    pub(super) low_water: LowWater,
    /// When the alarm goes off: the earliest time that anybody has asked for.
    pub(super) alarm: Cell<Option<Time>>,
    pub(super) alarm_set: Notify,
    /// Notified after each attempt, for [`Self::drained`].
    pub(super) progress: Notify,
    pub(super) durations: Cell<Durations>,
    pub(super) closing: Cell<Option<Closing>>,
    pub(super) interrupt: Cell<Interrupt>,
    /// What the abort broke off, and what was put back because nobody took it over.
    pub(super) left: RefCell<Vec<Message>>,
}

impl<D: Deliver + 'static> Pipeline<D> {
    /// A pipeline that is ready for messages, on the runtime of its lane.
    pub fn start(parts: Parts<D>) -> Rc<Self> {
        let Parts {
            filter,
            schedule,
            overflow,
            concurrency,
            under_way,
            client,
            settle,
            health,
            stats,
            tracer,
            feed,
            clock,
        } = parts;
        let load = stats.loads.add();
        let pipeline = Rc::new(Self {
            filter,
            schedule: RefCell::new(schedule),
            overflow,
            concurrency,
            client,
            settle,
            health,
            stats,
            load,
            tracer,
            feed,
            clock,
            tasks: TaskTracker::new(),
            workers: RefCell::default(),
            parked: RefCell::default(),
            woken: Cell::new(0),
            in_flight: Cell::new(0),
            under_way,
            low_water: LowWater::default(),
            alarm: Cell::new(None),
            alarm_set: Notify::new(),
            progress: Notify::new(),
            durations: Cell::default(),
            closing: Cell::new(None),
            interrupt: Cell::default(),
            left: RefCell::default(),
        });
        pipeline.spawn(Rc::clone(&pipeline).keep_time());
        pipeline
    }

    /// Takes a message from the source. [`Self::wake_workers`] is to be called after one or several: a source that
    /// reads many at once wakes the workers once.
    pub fn offer(&self, mut message: Message) {
        // Counted first: whatever happens next counts an outcome, and the tally must never show more ends than
        // beginnings.
        self.stats.received.add(1);
        let now = message.received;
        self.trace(&mut message);
        if self.filter.as_ref().is_some_and(|filter| !filter.admits(&message, now, &self.stats)) {
            return self.settle.filtered(message, now);
        }
        self.schedule.borrow_mut().offer(message, |evicted| match self.overflow {
            Overflow::DeadLetter => self.settle.dead(evicted, Reason::QueueFull, None, now),
            Overflow::DropNewest | Overflow::DropOldest => {
                self.settle.dropped(evicted, Reason::QueueFull, now);
            }
        });
    }

    /// Takes a message that another replica hands over, or gives it back where there is no room for it: it turns no
    /// other out.
    pub fn take_over(self: &Rc<Self>, mut message: Message) -> Result<(), Message> {
        if self.is_aborted() || self.closing.get().is_some() {
            return Err(message);
        }
        self.trace(&mut message);
        // Received only when it is admitted: one that is refused still belongs to the replica that offered it.
        self.schedule.borrow_mut().admit(message, self.clock.now())?;
        self.stats.received.add(1);
        self.wake_workers();
        Ok(())
    }

    /// Begins the span of a message that has come.
    fn trace(&self, message: &mut Message) {
        if let Some(tracer) = &self.tracer {
            message.way = Some(Way::begin(tracer, &message.headers));
        }
    }

    /// Wakes as many workers as there is work for now, and sets the alarm for what comes later.
    pub fn wake_workers(self: &Rc<Self>) {
        self.show_load();
        self.wake_workers_at(self.clock.now());
    }

    pub(super) fn wake_workers_at(self: &Rc<Self>, now: Time) {
        let outlook = self.schedule.borrow().outlook(now);
        let wanted = match outlook {
            Outlook::Work(wanted) => wanted,
            // Nothing can be attempted now, so nobody is woken; whoever sees that last has to set the alarm.
            Outlook::Look(next) => return next.into_iter().for_each(|next| self.set_alarm(next)),
        };
        let mut room = self.room_at_the_webhook();
        if wanted > room {
            let grows = self.schedule.borrow_mut().widen(now);
            if let Some(grows) = grows {
                self.set_alarm(grows);
            }
            room = self.room_at_the_webhook();
        }
        let wanted = wanted.min(room);
        while self.woken.get() < wanted && self.wake_one() {}
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // The handle is not needed: the tracker tells when the task has ended.
        drop(spawn_local(self.tasks.track_future(task)));
    }

    /// Takes the next batch to attempt at `now`, if there is one.
    pub(super) fn take(self: &Rc<Self>, now: Time) -> Pick {
        if self.is_closed(now) || self.room_at_the_webhook() == 0 {
            return Pick::Idle;
        }
        // Handed on as it is: a batch is large, and is moved for each message.
        let pick = self.schedule.borrow_mut().pick(now);
        match pick {
            Pick::Idle => {}
            Pick::Wait(until) => self.set_alarm(until),
            Pick::Attempt(_) => {
                self.in_flight.set(self.in_flight.get() + 1);
                self.under_way.begin();
                self.low_water.observe(self.schedule.borrow().queue().len());
                self.show_load();
                // There may be more to do than those who were woken can take: each one that begins wakes the next.
                self.wake_workers_at(now);
            }
        }
        pick
    }

    /// Settles what the schedule decides after an attempt that began at `began` and ended at `now`.
    pub(super) fn finish(self: &Rc<Self>, batch: Batch, attempt: &Attempt, began: Time, now: Time) {
        self.end_attempt();
        self.stats.request_duration.observe(now.since(began));
        self.durations.set(self.durations.get().and(now.since(began)));
        batch.record_attempt(Some(attempt), began, now);
        if let Some(feed) = &self.feed {
            feed.note(self.health.route(), &batch, attempt, began, now);
        }
        match *attempt {
            Attempt::Delivered { status, odd, .. } => {
                self.stats.requests.answered(status);
                if let Some(odd) = odd {
                    self.health.odd_answer(odd);
                }
            }
            Attempt::Failed { failure, .. } => {
                self.stats.requests.failed(failure);
                self.health.attempt_failed(&batch, attempt, now);
            }
        }
        let mut rejected = None;
        let resolved =
            self.schedule.borrow_mut().resolve(batch, attempt, began, now, |verdict| match verdict {
                Verdict::Delivered(message) => self.settle_taken(message, attempt, now),
                Verdict::Unwanted(message) => self.settle.filtered(message, now),
                Verdict::Dead(message, reason) => {
                    if reason == Reason::Rejected {
                        let cause = message.failed_attempt.as_ref().and_then(|failed| failed.cause.clone());
                        rejected = message.last_failure.map(|failure| (failure, cause));
                    }
                    self.settle.dead(message, reason, attempt.content(), now);
                }
                Verdict::Return(message, delay) => self.settle.returned(message, delay),
                Verdict::Retry(due) => self.set_alarm(due),
            });
        self.note(attempt, rejected, &resolved, now);
        // Only now that the schedule is not borrowed any more: waking workers asks it what there is to do.
        self.follow(resolved.change, now);
        self.low_water.observe_end();
        self.progress.notify_one();
    }

    /// Settles a message that the webhook has taken, or does not want.
    #[inline]
    fn settle_taken(&self, mut message: Message, attempt: &Attempt, now: Time) {
        let unwanted = matches!(attempt, Attempt::Delivered { unwanted: true, .. });
        let end = if unwanted { End::Filtered } else { End::Delivered };
        self.settle.answer(&mut message, end, attempt.content(), now);
        if unwanted { self.settle.filtered(message, now) } else { self.settle.delivered(message, now) }
    }

    /// How many more attempts may be under way.
    fn room_at_the_webhook(&self) -> usize {
        let most = self.concurrency.min(self.schedule.borrow().window());
        most.saturating_sub(self.under_way.count())
    }

    pub(super) fn end_attempt(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.under_way.end();
        // Else its own workers look for more.
        if self.closing.get().is_some() {
            self.under_way.tell();
        }
    }

    /// Tells the webhook's health what came of an attempt.
    fn note(&self, attempt: &Attempt, rejected: Option<Rejection>, resolved: &Resolved, now: Time) {
        let (health, is_slowed) = (&self.health, || self.schedule.borrow().is_slowed());
        match (attempt, resolved.wait) {
            (Attempt::Delivered { .. } | Attempt::Failed { failure: Failure::AskedAgain, .. }, _) => {
                health.succeeded(now, is_slowed);
            }
            // Of the webhook it tells nothing.
            (Attempt::Failed { failure: Failure::Unsendable, cause, .. }, _) => {
                health.rejected(Failure::Unsendable, cause.as_ref(), now);
            }
            // Nobody knows yet which message is to blame, but the webhook it is not.
            (Attempt::Failed { .. }, _) if resolved.is_halved => health.succeeded(now, is_slowed),
            (Attempt::Failed { failure, .. }, Some(wait)) => health.throttled(*failure, wait, now),
            // It was read and judged: the webhook works.
            (Attempt::Failed { .. }, None) if rejected.is_some() => health.succeeded(now, is_slowed),
            (Attempt::Failed { failure, cause, .. }, None) => health.failed(*failure, cause.as_ref(), now),
        }
        if let Some((failure, cause)) = rejected {
            health.rejected(failure, cause.as_ref(), now);
        }
    }

    /// Logs what has become of the breaker, and wakes the workers that it lets through now.
    pub(super) fn follow(self: &Rc<Self>, change: Option<Change>, now: Time) {
        if let Some(change) = change {
            self.health.breaker_changed(change);
            self.wake_workers_at(now);
        }
    }

    /// How many attempts are under way at its webhook, to be shared with its successor.
    pub fn under_way(&self) -> Rc<UnderWay> {
        Rc::clone(&self.under_way)
    }

    /// How many attempts may be under way, as far as is known now.
    pub fn concurrency(&self) -> usize {
        self.schedule.borrow().concurrency()
    }

    /// Whether nothing waits for its first attempt, and nothing is attempted.
    pub fn is_idle(&self) -> bool {
        self.in_flight.get() == 0 && self.schedule.borrow().is_idle()
    }

    /// How much room there is for more.
    pub fn capacity(&self) -> Capacity {
        let schedule = self.schedule.borrow();
        let (queue, retries) = (schedule.queue(), schedule.retries());
        Capacity {
            messages: queue.free_messages(),
            bytes: queue.free_bytes(),
            bytes_at_most: queue.free_bytes_at_most(),
            queued: queue.len(),
            retrying: retries.len(),
        }
    }

    /// Returns when there are fewer than `low` messages in the queue. Whether there are already is not looked at.
    pub async fn ran_low(&self, low: usize) {
        self.low_water.reached(low).await;
    }

    /// Returns when an attempt has ended, and given back the bytes it took.
    pub async fn freed_bytes(&self) {
        self.low_water.freed().await;
    }

    /// Until when no more messages should come than there are at `now`: the webhook is left alone, so that they would only
    /// wait here; or there is no room for more dead letters, so that those that die would go back to where they came from,
    /// and be attempted again and again.
    pub fn paused_until(&self, now: Time) -> Option<Time> {
        /// How soon to look for room again. Nothing tells of it.
        const LOOK: Duration = Duration::from_millis(200);
        let full = self.settle.is_full_of_letters().then(|| now + LOOK);
        self.schedule.borrow().paused_until(now).max(full)
    }

    /// Writes what is in hand where the metrics read it.
    pub(super) fn show_load(&self) {
        let schedule = self.schedule.borrow();
        self.load.queue_messages.set(schedule.queue().len());
        self.load.queue_bytes.set(schedule.queue().bytes());
        self.load.retry_messages.set(schedule.retries().len());
        self.load.retry_bytes.set(schedule.retries().bytes());
        self.load.in_flight.set(self.in_flight.get());
    }
}
