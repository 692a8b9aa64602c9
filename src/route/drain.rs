//! The end of a pipeline: what is still attempted, what goes elsewhere, and what becomes of the rest.
//!
//! A pipeline that is to end is closed with a deadline and drained; or, where the route goes on with other settings, it
//! is retired, and its successor takes over what waits. Then it is aborted, and what is left is handed over or given
//! up. The order matters: only after [`Pipeline::abort`] has returned is no worker left that could change what is left.

use std::{rc::Rc, time::Duration};

use tokio::time::{sleep_until, timeout_at};

use super::{pipeline::Pipeline, schedule::Waiting, worker::Interrupt};
use crate::{
    base::clock::Time,
    deliver::Deliver,
    message::{Message, batch::Batch, outcome::Reason},
};

/// How a pipeline comes to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closing {
    /// By a deadline. Nothing is begun in the last stretch before it, which is `longest` at most.
    By { deadline: Time, longest: Duration },
    /// Nothing is begun any more: a successor does the rest.
    Retired,
}

/// How long attempts took of late. Over all attempts of its life, a webhook that has become slow would still count as
/// fast.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Durations {
    nanos: u64,
}

impl Durations {
    /// With one more. The first stands for itself, then each counts for an eighth.
    #[must_use]
    pub(super) fn and(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { nanos: if self.nanos == 0 { nanos } else { self.nanos - self.nanos / 8 + nanos / 8 } }
    }

    /// How long an attempt usually takes; zero before the first.
    pub(super) const fn usual(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }
}

impl<D: Deliver + 'static> Pipeline<D> {
    /// Prepares for an end at `deadline`: each retry that was due later gets its attempt in the first half of the time.
    /// Towards the end nothing is begun that would hardly be over by then, to go by how long attempts have taken so
    /// far: the webhook would get it, and get it again from whoever takes it over.
    pub fn close(self: &Rc<Self>, deadline: Time) {
        let now = self.clock.now();
        // The first half is always for beginning attempts. Where they take long, three times the average may be more
        // than all of the time, and nothing would be begun at all.
        let half = deadline.since(now) / 2;
        self.closing.set(Some(Closing::By { deadline, longest: half }));
        self.schedule.borrow_mut().expedite(now, half);
        self.wake_workers_at(now);
    }

    /// Begins no attempt any more, as a successor is there for the same route. What is under way ends as usual.
    pub fn retire(&self) {
        self.closing.set(Some(Closing::Retired));
    }

    /// Whether [`Self::retire`] was called.
    pub fn is_retired(&self) -> bool {
        matches!(self.closing.get(), Some(Closing::Retired))
    }

    /// Gives what waits here to `successor`, which counts for the same route: nothing is received anew. What the
    /// successor has no room for stays here.
    pub fn move_to(&self, successor: &Rc<Self>) {
        let mut refused = Vec::new();
        let left = self.left.take().into_iter().map(|message| Waiting { message, due: None });
        for waiting in left.chain(std::iter::from_fn(|| self.pop_for(successor))) {
            if let Err(waiting) = successor.schedule.borrow_mut().take_over(waiting) {
                refused.push(waiting);
            }
        }
        let mut schedule = self.schedule.borrow_mut();
        for waiting in refused {
            // It was here a moment ago, so there is room for it. Were that ever wrong, it would still not be lost.
            if let Err(Waiting { message, .. }) = schedule.take_over(waiting) {
                self.left.borrow_mut().push(message);
            }
        }
        drop(schedule);
        self.show_load();
        successor.wake_workers();
    }

    fn pop_for(&self, successor: &Self) -> Option<Waiting> {
        self.schedule.borrow_mut().pop_for(&successor.schedule.borrow())
    }

    fn pop_any(&self) -> Option<Waiting> {
        self.schedule.borrow_mut().pop_any()
    }

    /// Whether nothing is begun any more at `now`.
    pub(super) fn is_closed(&self, now: Time) -> bool {
        self.quiet_from().is_some_and(|from| from <= now)
    }

    /// From when on nothing is begun any more, where an end is in sight.
    fn quiet_from(&self) -> Option<Time> {
        match self.closing.get()? {
            Closing::Retired => Some(Time::START),
            Closing::By { deadline, longest } => {
                // Most attempts take less than three times the average. One that is broken off at the end costs
                // more than one that is not begun: the webhook may have taken it, and gets it again from elsewhere.
                Some(deadline.before((self.durations.get().usual() * 3).min(longest)))
            }
        }
    }

    /// Returns when nothing is in hand any more, or nothing of it can be attempted before `deadline`; at that deadline at the
    /// latest.
    pub async fn drained(&self, deadline: Time) {
        loop {
            let now = self.clock.now();
            let due = self.schedule.borrow().next_due(now);
            let hopeless = due.is_none_or(|due| due > deadline) || self.is_closed(now);
            if self.in_flight.get() == 0 && hopeless {
                return;
            }
            // A retry may come due when nothing is begun any more: no attempt tells of that.
            let quiet_from = self.quiet_from().filter(|from| *from > now).unwrap_or(deadline);
            tokio::select! {
                () = self.progress.notified() => {}
                () = sleep_until(self.clock.instant(quiet_from)) => {
                    if quiet_from >= deadline {
                        return;
                    }
                }
            }
        }
    }

    /// Ends the work at once: breaks off what is under way. What is left waits for [`Self::take_left`].
    pub async fn abort(&self) {
        self.interrupt.set(Interrupt::Abort);
        // Whoever waits, at a webhook, parked or for the alarm, sees the flag only when it is polled.
        for worker in &*self.workers.borrow() {
            worker.wake();
        }
        self.alarm_set.notify_one();
        self.tasks.close();
        self.tasks.wait().await;
        self.show_load();
    }

    /// Leaves a batch in the middle of its attempt. Whether the webhook took it is not known.
    pub(super) fn abandon(&self, batch: Batch, began: Time) {
        self.end_attempt();
        let now = self.clock.now();
        batch.record_attempt(None, began, now);
        batch.for_each(|mut message| {
            self.schedule.borrow_mut().end(&message);
            message.charged = None;
            self.put_back(message);
        });
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        let schedule = self.schedule.borrow();
        self.left.borrow().is_empty() && schedule.is_empty()
    }

    /// Takes out one of the messages that are left, after an [abort](Self::abort). The caller owes an end to it:
    /// [`Self::put_back`] or [`Self::handed_over`].
    pub fn take_left(&self) -> Option<Message> {
        let left = self.left.borrow_mut().pop();
        left.or_else(|| self.pop_any().map(|waiting| waiting.message))
    }

    /// Takes a message back that is left after all.
    pub fn put_back(&self, message: Message) {
        self.left.borrow_mut().push(message);
    }

    /// Takes note that another replica has `message` now.
    pub fn handed_over(&self, message: Message) {
        self.settle.handed_over(message);
    }

    /// Gives up what is left. Dead letters that find no room wait for it until `patience` ends: a route may have more
    /// messages than the dead-letter queue takes at once.
    pub async fn give_up(&self, patience: Time) {
        let patience = self.clock.instant(patience);
        while let Some(message) = self.take_left() {
            // Without room it is dropped, and counted.
            drop(timeout_at(patience, self.settle.room_for(&message)).await);
            self.settle.dead(message, Reason::Shutdown, None, self.clock.now());
        }
        self.show_load();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_has_become_slow_counts_as_slow() {
        let ms = Duration::from_millis;
        let quick = (0..1_000_000).fold(Durations::default(), |durations, _| durations.and(ms(2)));
        assert!(quick.usual() <= ms(2));
        let slow = (0..32).fold(quick, |durations, _| durations.and(ms(2_000)));
        assert!(slow.usual() > ms(1_800), "{slow:?}");
    }
}
