//! One route in one lane at work: the loops around [`Dispatch`], which only wait and ask it what is next.
//!
//! A crew of workers, each with a client of its own, takes messages as fast as it can deliver them. A worker that finds
//! nothing to do sits down; whoever brings work calls as many back as there is work for, those that sat down last
//! first, so that a quiet route keeps few connections warm instead of many cool ones. One alarm clock wakes the route
//! when something is due: a waiting retry is an entry in a queue and holds nothing else.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use super::capacity::LowWater;
pub use super::capacity::Room;
use super::worker::Seat;
use tokio::{sync::Notify, task::spawn_local, time::sleep_until};
use tokio_util::task::TaskTracker;

use super::{
    schedule::{
        Dispatch, Pick, Verdict,
        breaker::{Breaker, Change},
    },
    settle::Settle,
    webhook_health::Condition,
};
use crate::{
    base::clock::{Clock, Time},
    config::Overflow,
    deliver::Deliver,
    message::{
        Message,
        outcome::{Attempt, Reason},
    },
    stats::RouteStats,
};

/// What a line works with.
pub struct Equipment<D> {
    /// Decides.
    pub dispatch: Dispatch,
    /// What happens to a new message that does not fit.
    pub overflow: Overflow,
    /// How many attempts may be under way at the same time.
    pub concurrency: usize,
    /// Makes the client of one more worker.
    pub client: Box<dyn Fn() -> D>,
    /// Takes what is finished.
    pub settle: Settle,
    /// Watches how the webhook does.
    pub condition: Arc<Condition>,
    /// Leaves it alone for a while when it does badly.
    pub breaker: Breaker,
    /// Counts.
    pub stats: Arc<RouteStats>,
    /// Tells the time.
    pub clock: Clock,
}

/// See the module.
pub struct Line<D> {
    pub(super) dispatch: RefCell<Dispatch>,
    pub(super) overflow: Overflow,
    pub(super) concurrency: usize,
    pub(super) client: Box<dyn Fn() -> D>,
    pub(super) settle: Settle,
    pub(super) condition: Arc<Condition>,
    pub(super) breaker: Breaker,
    pub(super) stats: Arc<RouteStats>,
    pub(super) clock: Clock,

    pub(super) tasks: TaskTracker,
    pub(super) seats: RefCell<Vec<Rc<Seat>>>,
    /// Those who wait for work, the last to sit down on top.
    pub(super) idle: RefCell<Vec<Rc<Seat>>>,
    /// Workers who were called and have not come yet.
    pub(super) called: Cell<usize>,
    pub(super) in_flight: Cell<usize>,

    pub(super) low_water: LowWater,
    pub(super) alarm: Cell<Option<Time>>,
    pub(super) alarm_set: Notify,
    pub(super) progress: Notify,
    /// The deadline, and for how long before it nothing is begun, at most.
    pub(super) closing: Cell<Option<(Time, Duration)>>,
    pub(super) cut: Cell<bool>,
    /// What was broken off when the line was cut, and what nobody took over.
    pub(super) left: RefCell<Vec<Message>>,
}

impl<D: Deliver + 'static> Line<D> {
    /// A line that is ready for messages, on the runtime of its lane.
    pub fn start(equipment: Equipment<D>) -> Rc<Self> {
        let Equipment { dispatch, overflow, concurrency, client, settle, condition, breaker, stats, clock } =
            equipment;
        let line = Rc::new(Self {
            dispatch: RefCell::new(dispatch),
            overflow,
            concurrency,
            client,
            settle,
            condition,
            breaker,
            stats,
            clock,
            tasks: TaskTracker::new(),
            seats: RefCell::default(),
            idle: RefCell::default(),
            called: Cell::new(0),
            in_flight: Cell::new(0),
            low_water: LowWater::default(),
            alarm: Cell::new(None),
            alarm_set: Notify::new(),
            progress: Notify::new(),
            closing: Cell::new(None),
            cut: Cell::new(false),
            left: RefCell::default(),
        });
        line.spawn(Rc::clone(&line).keep_time());
        line
    }

    /// Takes a message from the source. [`Self::summon`] is to be called after one or several.
    pub fn offer(&self, message: Message) {
        self.stats.received.add(1);
        let now = message.received;
        self.dispatch.borrow_mut().offer(message, |evicted| match self.overflow {
            Overflow::DeadLetter => self.settle.dead(evicted, Reason::QueueFull, now),
            Overflow::DropNewest | Overflow::DropOldest => {
                self.settle.dropped(evicted, Reason::QueueFull, now);
            }
        });
    }

    /// Takes a message that another replica hands over, or gives it back where there is no room for it: it turns no
    /// other out.
    pub fn take_over(self: &Rc<Self>, message: Message) -> Result<(), Message> {
        if self.cut.get() {
            return Err(message);
        }
        self.dispatch.borrow_mut().admit(message)?;
        self.stats.received.add(1);
        self.summon();
        Ok(())
    }

    /// Calls as many workers as there is work for now, and sets the alarm for what comes later.
    pub fn summon(self: &Rc<Self>) {
        self.show_load();
        self.call_workers(self.clock.now());
    }

    pub(super) fn call_workers(self: &Rc<Self>, now: Time) {
        let (wanted, due) = {
            let dispatch = self.dispatch.borrow();
            (dispatch.wanted(now), dispatch.next_due(now))
        };
        // Without anything to attempt there is still the end of a ramp to be told.
        if let Some(due) = due.or_else(|| self.breaker.closes())
            && due > now
        {
            return self.set_alarm(due);
        }
        while self.called.get() < wanted {
            let Some(seat) = self.seat_to_call() else { break };
            seat.called.set(true);
            self.called.set(self.called.get() + 1);
            seat.wake();
        }
    }

    /// The worker that sat down last, or a new one. None where all that there may be are at work.
    fn seat_to_call(self: &Rc<Self>) -> Option<Rc<Seat>> {
        if let Some(seat) = self.idle.borrow_mut().pop() {
            return Some(seat);
        }
        let mut seats = self.seats.borrow_mut();
        if seats.len() >= self.concurrency || self.cut.get() {
            return None;
        }
        let seat = Rc::new(Seat::default());
        seats.push(Rc::clone(&seat));
        self.spawn(Rc::clone(self).work((self.client)(), Rc::clone(&seat)));
        Some(seat)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // The handle is not needed: the tracker tells when the task has ended.
        drop(spawn_local(self.tasks.track_future(task)));
    }

    /// The life of a worker.
    async fn work(self: Rc<Self>, mut client: D, seat: Rc<Seat>) {
        self.answer_call(&seat);
        while !self.cut.get() {
            let Some((message, began)) = self.take() else {
                self.rest(&mut client, &seat).await;
                continue;
            };
            match self.unless_cut(&seat, client.deliver(&message, began)).await {
                Some(attempt) => self.finish(message, &attempt, began),
                None => self.abandon(message),
            }
        }
    }

    /// Takes the next message to attempt, if there is one now.
    fn take(self: &Rc<Self>) -> Option<(Message, Time)> {
        let now = self.clock.now();
        if self.is_closed(now) {
            return None;
        }
        let pick = self.dispatch.borrow_mut().pick(now);
        match pick {
            Pick::Idle => None,
            Pick::Wait(until) => {
                self.set_alarm(until);
                None
            }
            Pick::Attempt(mut message) => {
                message.attempts += 1;
                self.in_flight.set(self.in_flight.get() + 1);
                self.low_water.look(self.dispatch.borrow().queue().len());
                self.show_load();
                self.call_workers(now);
                Some((message, now))
            }
        }
    }

    /// Waits until called, and looks after the connection meanwhile.
    async fn rest(&self, client: &mut D, seat: &Rc<Seat>) {
        self.idle.borrow_mut().push(Rc::clone(seat));
        let mut idle = true;
        poll_fn(|cx| {
            if seat.called.get() || self.cut.get() {
                return Poll::Ready(());
            }
            seat.register(cx);
            idle = idle && client.poll_idle(cx).is_pending();
            Poll::Pending
        })
        .await;
        self.answer_call(seat);
    }

    fn answer_call(&self, seat: &Seat) {
        if seat.called.replace(false) {
            self.called.set(self.called.get() - 1);
        }
    }

    /// Runs `attempt` to its end, or breaks it off when the line is cut.
    async fn unless_cut(&self, seat: &Seat, attempt: impl Future<Output = Attempt>) -> Option<Attempt> {
        let mut attempt = pin!(attempt);
        poll_fn(|cx| {
            if self.cut.get() {
                return Poll::Ready(None);
            }
            seat.register(cx);
            attempt.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Decides what follows an attempt that began at `began`.
    fn finish(self: &Rc<Self>, mut message: Message, attempt: &Attempt, began: Time) {
        let now = self.clock.now();
        self.in_flight.set(self.in_flight.get() - 1);
        self.stats.request_duration.observe(now.since(began));
        let (counts, change) = match *attempt {
            Attempt::Delivered(status) => {
                self.stats.requests.answered(status);
                self.condition.succeeded(now);
                (true, self.breaker.succeeded(began, now))
            }
            Attempt::Failed { failure, .. } => {
                self.stats.requests.failed(failure);
                self.note_failure(&message, failure, now);
                self.breaker.failed(failure, began, now)
            }
        };
        // One that told about the webhook and not about the message does not bring the message's end nearer.
        message.attempts -= u32::from(!counts);
        let verdict = self.dispatch.borrow_mut().resolve(message, attempt, now);
        match verdict {
            Verdict::Delivered(message) => self.settle.delivered(message, now),
            Verdict::Dead(mut message, reason) => {
                message.attempts += u32::from(!counts);
                self.settle.dead(message, reason, now);
            }
            Verdict::Retry(due) => self.set_alarm(due),
            Verdict::Return(message, delay) => self.settle.returned(message, delay),
        }
        self.show_load();
        self.follow(change, now);
        self.progress.notify_one();
    }

    fn note_failure(&self, message: &Message, failure: crate::message::outcome::Failure, now: Time) {
        tracing::debug!(
            route = self.condition.route().as_str(),
            id = %message.id,
            attempt = message.attempts,
            reason = %failure.label(),
            "attempt failed"
        );
        self.condition.failed(failure, now);
    }

    /// Says what has become of the breaker, and goes on accordingly.
    fn follow(self: &Rc<Self>, change: Option<Change>, now: Time) {
        if let Some(change) = change {
            self.condition.breaker(change);
            self.call_workers(now);
        }
    }

    /// Leaves a message in the middle of its attempt. Whether the webhook took it is not known.
    fn abandon(&self, message: Message) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.put_back(message);
    }

    fn set_alarm(&self, at: Time) {
        if self.alarm.get().is_none_or(|set| at < set) {
            self.alarm.set(Some(at));
            self.alarm_set.notify_one();
        }
    }

    /// Calls the workers when the alarm goes off.
    async fn keep_time(self: Rc<Self>) {
        let mut sleep = pin!(sleep_until(self.clock.instant(Time::START)));
        while !self.cut.get() {
            match self.alarm.get() {
                None => self.alarm_set.notified().await,
                Some(at) => {
                    sleep.as_mut().reset(self.clock.instant(at));
                    tokio::select! {
                        () = self.alarm_set.notified() => {}
                        () = &mut sleep => {
                            self.alarm.set(None);
                            let now = self.clock.now();
                            self.follow(self.breaker.look(now), now);
                            self.call_workers(now);
                        }
                    }
                }
            }
        }
    }

    /// How many attempts may be under way.
    pub const fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How much room there is for more.
    pub fn room(&self) -> Room {
        let dispatch = self.dispatch.borrow();
        let (messages, bytes) = dispatch.queue().free();
        Room { messages, bytes, queued: dispatch.queue().len(), retrying: dispatch.retries().len() }
    }

    /// Returns when there are fewer than `low` messages in the queue. Whether there are already is not looked at.
    pub async fn ran_low(&self, low: usize) {
        self.low_water.reached(low).await;
    }

    /// Whether the webhook is left alone at `now`, so that more messages would only wait here.
    pub fn is_paused(&self, now: Time) -> bool {
        self.dispatch.borrow().is_paused(now)
    }

    pub(super) fn show_load(&self) {
        let dispatch = self.dispatch.borrow();
        self.stats.queue_messages.set(dispatch.queue().len());
        self.stats.queue_bytes.set(dispatch.queue().bytes());
        self.stats.retry_messages.set(dispatch.retries().len());
        self.stats.retry_bytes.set(dispatch.retries().bytes());
        self.stats.in_flight.set(self.in_flight.get());
    }
}
