//! One route on one lane at work: the loops around a [`Schedule`], which only wait, and ask it what is next.
//!
//! A pool of [workers](super::worker), each with a client of its own, takes messages as fast as it can deliver them. Whoever
//! brings work wakes as many of them as there is work for. One timer wakes the route when something is due: a waiting
//! retry is an entry in a queue and holds nothing else.
//!
//! A pipeline has a life of its own: it is started, drained, and at last aborted ([`drain`](super::drain)), whatever the
//! others on its lane do.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    rc::Rc,
    sync::Arc,
};

use tokio::{sync::Notify, task::spawn_local, time::sleep_until};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{
    capacity::{Capacity, LowWater},
    drain::Closing,
    schedule::{Pick, Schedule, Verdict, breaker::Change},
    settle::Settle,
    under_way::UnderWay,
    webhook_health::WebhookHealth,
    worker::WorkerHandle,
};
use crate::{
    base::clock::{Clock, Time},
    config::Overflow,
    deliver::Deliver,
    message::{
        Message,
        batch::Batch,
        outcome::{Attempt, Failure, Reason},
    },
    stats::{Load, RouteStats},
};

/// What a pipeline is made of.
pub struct Parts<D> {
    /// Decides.
    pub schedule: Schedule,
    /// What happens to a new message that does not fit.
    pub overflow: Overflow,
    /// How many attempts may be under way at the same time.
    pub concurrency: usize,
    /// How many are, those of its predecessors at the same webhook included.
    pub under_way: Rc<UnderWay>,
    /// Makes the client of one more worker.
    pub client: Box<dyn Fn() -> D>,
    /// Takes what has come to its end.
    pub settle: Settle,
    /// Watches how the webhook does.
    pub health: Arc<WebhookHealth>,
    /// Counts.
    pub stats: Arc<RouteStats>,
    /// Tells the time.
    pub clock: Clock,
}

/// A route on a lane. `D` attempts to deliver: the HTTP client, or what stands in for it in a test.
pub struct Pipeline<D> {
    pub(super) schedule: RefCell<Schedule>,
    overflow: Overflow,
    pub(super) concurrency: usize,
    pub(super) client: Box<dyn Fn() -> D>,
    pub(super) settle: Settle,
    health: Arc<WebhookHealth>,
    pub(super) stats: Arc<RouteStats>,
    load: Arc<Load>,
    pub(super) clock: Clock,

    pub(super) tasks: TaskTracker,
    pub(super) workers: RefCell<Vec<Rc<WorkerHandle>>>,
    /// Those who have nothing to do, the last to be parked on top.
    pub(super) parked: RefCell<Vec<Rc<WorkerHandle>>>,
    /// How many workers were woken and have not come yet.
    pub(super) woken: Cell<usize>,
    pub(super) in_flight: Cell<usize>,
    under_way: Rc<UnderWay>,

    pub(super) low_water: LowWater,
    alarm: Cell<Option<Time>>,
    pub(super) alarm_set: Notify,
    /// Told after each attempt.
    pub(super) progress: Notify,
    pub(super) closing: Cell<Option<Closing>>,
    pub(super) aborted: Cell<bool>,
    /// What was broken off by the abort, and what nobody took over.
    pub(super) left: RefCell<Vec<Message>>,
}

impl<D: Deliver + 'static> Pipeline<D> {
    /// A pipeline that is ready for messages, on the runtime of its lane.
    pub fn start(parts: Parts<D>) -> Rc<Self> {
        let Parts { schedule, overflow, concurrency, under_way, client, settle, health, stats, clock } =
            parts;
        let load = stats.loads.add();
        let pipeline = Rc::new(Self {
            schedule: RefCell::new(schedule),
            overflow,
            concurrency,
            client,
            settle,
            health,
            stats,
            load,
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
            closing: Cell::new(None),
            aborted: Cell::new(false),
            left: RefCell::default(),
        });
        pipeline.spawn(Rc::clone(&pipeline).keep_time());
        pipeline
    }

    /// Takes a message from the source. [`Self::wake_workers`] is to be called after one or several.
    pub fn offer(&self, message: Message) {
        self.stats.received.add(1);
        let now = message.received;
        self.schedule.borrow_mut().offer(message, |evicted| match self.overflow {
            Overflow::DeadLetter => self.settle.dead(evicted, Reason::QueueFull, now),
            Overflow::DropNewest | Overflow::DropOldest => {
                self.settle.dropped(evicted, Reason::QueueFull, now);
            }
        });
    }

    /// Takes a message that another replica hands over, or gives it back where there is no room for it: it turns no
    /// other out.
    pub fn take_over(self: &Rc<Self>, message: Message) -> Result<(), Message> {
        if self.aborted.get() || self.closing.get().is_some() {
            return Err(message);
        }
        self.schedule.borrow_mut().admit(message)?;
        self.stats.received.add(1);
        self.wake_workers();
        Ok(())
    }

    /// Wakes as many workers as there is work for now, and sets the alarm for what comes later.
    pub fn wake_workers(self: &Rc<Self>) {
        self.show_load();
        self.wake_workers_at(self.clock.now());
    }

    pub(super) fn wake_workers_at(self: &Rc<Self>, now: Time) {
        let (wanted, next) = {
            let schedule = self.schedule.borrow();
            (schedule.wanted(now), schedule.next_event(now))
        };
        if let Some(next) = next
            && next > now
        {
            return self.set_alarm(next);
        }
        let wanted = wanted.min(self.room_at_the_webhook());
        while self.woken.get() < wanted && self.wake_one() {}
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // The handle is not needed: the tracker tells when the task has ended.
        drop(spawn_local(self.tasks.track_future(task)));
    }

    /// Takes the next batch to attempt, if there is one now.
    pub(super) fn take(self: &Rc<Self>) -> Option<(Batch, Time)> {
        let now = self.clock.now();
        if self.is_closed(now) || self.room_at_the_webhook() == 0 {
            return None;
        }
        let pick = self.schedule.borrow_mut().pick(now);
        match pick {
            Pick::Idle => None,
            Pick::Wait(until) => {
                self.set_alarm(until);
                None
            }
            Pick::Attempt(batch) => {
                self.in_flight.set(self.in_flight.get() + 1);
                self.under_way.begin();
                self.low_water.observe(self.schedule.borrow().queue().len());
                self.show_load();
                self.wake_workers_at(now);
                Some((batch, now))
            }
        }
    }

    /// Settles what is decided after an attempt that began at `began` and ended just `now`.
    pub(super) fn finish(self: &Rc<Self>, batch: Batch, attempt: &Attempt, began: Time, now: Time) {
        self.end_attempt();
        self.stats.request_duration.observe(now.since(began));
        match *attempt {
            Attempt::Delivered(status) => {
                self.stats.requests.answered(status);
                self.health.succeeded(now);
            }
            Attempt::Failed { failure, .. } => {
                self.stats.requests.failed(failure);
                self.note_failure(&batch, failure, now);
            }
        }
        let change =
            self.schedule.borrow_mut().resolve(batch, attempt, began, now, |verdict| match verdict {
                Verdict::Delivered(message) => self.settle.delivered(message, now),
                Verdict::Dead(message, reason) => self.settle.dead(message, reason, now),
                Verdict::Return(message, delay) => self.settle.returned(message, delay),
                Verdict::Retry(due) => self.set_alarm(due),
            });
        self.show_load();
        self.follow(change, now);
        self.progress.notify_one();
    }

    /// How many more attempts may be under way.
    fn room_at_the_webhook(&self) -> usize {
        self.concurrency.saturating_sub(self.under_way.count())
    }

    pub(super) fn end_attempt(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.under_way.end();
        // Else its own workers look for more.
        if self.closing.get().is_some() {
            self.under_way.tell();
        }
    }

    fn note_failure(&self, batch: &Batch, failure: Failure, now: Time) {
        for message in batch.iter() {
            debug!(
                route = self.health.route().as_str(),
                id = %message.id,
                attempt = message.attempts,
                reason = %failure.label(),
                "attempt failed"
            );
        }
        self.health.failed(failure, now);
    }

    /// Says what has become of the breaker, and goes on accordingly.
    fn follow(self: &Rc<Self>, change: Option<Change>, now: Time) {
        if let Some(change) = change {
            self.health.breaker_changed(change);
            self.wake_workers_at(now);
        }
    }

    pub(super) fn set_alarm(&self, at: Time) {
        if self.alarm.get().is_none_or(|set| at < set) {
            self.alarm.set(Some(at));
            self.alarm_set.notify_one();
        }
    }

    /// Wakes the workers when the alarm goes off, or a predecessor has left them room.
    async fn keep_time(self: Rc<Self>) {
        let mut sleep = pin!(sleep_until(self.clock.instant(Time::START)));
        while !self.aborted.get() {
            let alarm = self.alarm.get();
            if let Some(at) = alarm {
                sleep.as_mut().reset(self.clock.instant(at));
            }
            tokio::select! {
                // In this order: what a predecessor tells is told once, and is lost with another branch.
                biased;
                () = self.under_way.fewer() => self.wake_workers_at(self.clock.now()),
                () = self.alarm_set.notified() => {}
                () = &mut sleep, if alarm.is_some() => self.alarm_went_off(),
            }
        }
    }

    fn alarm_went_off(self: &Rc<Self>) {
        self.alarm.set(None);
        let now = self.clock.now();
        let change = self.schedule.borrow().tick(now);
        self.follow(change, now);
        self.wake_workers_at(now);
    }

    /// How many attempts are under way at its webhook, to be shared with its successor.
    pub fn under_way(&self) -> Rc<UnderWay> {
        Rc::clone(&self.under_way)
    }

    /// How many attempts may be under way.
    pub const fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How much room there is for more.
    pub fn capacity(&self) -> Capacity {
        let schedule = self.schedule.borrow();
        let (messages, bytes) = schedule.queue().free();
        Capacity { messages, bytes, queued: schedule.queue().len(), retrying: schedule.retries().len() }
    }

    /// Returns when there are fewer than `low` messages in the queue. Whether there are already is not looked at.
    pub async fn ran_low(&self, low: usize) {
        self.low_water.reached(low).await;
    }

    /// Until when the webhook is left alone, where it is at `now`, so that more messages would only wait here.
    pub fn paused_until(&self, now: Time) -> Option<Time> {
        self.schedule.borrow().paused_until(now)
    }

    pub(super) fn show_load(&self) {
        let schedule = self.schedule.borrow();
        self.load.queue_messages.set(schedule.queue().len());
        self.load.queue_bytes.set(schedule.queue().bytes());
        self.load.retry_messages.set(schedule.retries().len());
        self.load.retry_bytes.set(schedule.retries().bytes());
        self.load.in_flight.set(self.in_flight.get());
    }
}
