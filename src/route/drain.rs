//! The end of a line: what is still attempted, and what becomes of the rest.

use std::{rc::Rc, time::Duration};

use tokio::time::timeout_at;

use super::pipeline::Line;
use crate::{
    base::clock::Time,
    deliver::Deliver,
    message::{Message, outcome::Reason},
};

impl<D: Deliver + 'static> Line<D> {
    /// Prepares for an end at `deadline`: each retry that was due later gets its attempt in the first half of the time.
    /// Towards the end nothing is begun that would hardly be over by then, to go by how long attempts have taken so far:
    /// the webhook would get it, and get it again from whoever takes it over.
    pub fn close(self: &Rc<Self>, deadline: Time) {
        let now = self.clock.now();
        let half = deadline.since(now) / 2;
        self.closing.set(Some((deadline, half)));
        self.dispatch.borrow_mut().hurry(now, half);
        self.call_workers(now);
    }

    /// How long an attempt takes on average.
    fn usual_duration(&self) -> Duration {
        let durations = &self.stats.request_duration;
        let attempts = durations.counts().sum::<u64>().max(1);
        Duration::from_secs_f64(durations.sum() / attempts as f64)
    }

    /// Whether nothing is begun any more at `now`.
    pub(super) fn is_closed(&self, now: Time) -> bool {
        self.closing.get().is_some_and(|(deadline, longest)| {
            deadline.since(now) <= (self.usual_duration() * 3).min(longest)
        })
    }

    /// Returns when nothing is in hand any more, or nothing of it can be attempted before `deadline`.
    pub async fn drained(&self, deadline: Time) {
        loop {
            let now = self.clock.now();
            let due = self.dispatch.borrow().next_due(now);
            let hopeless = due.is_none_or(|due| due > deadline) || self.is_closed(now);
            if self.in_flight.get() == 0 && hopeless {
                return;
            }
            self.progress.notified().await;
        }
    }

    /// Ends the work at once: breaks off what is under way. What is left waits for [`Self::take_left`].
    pub async fn cut(&self) {
        self.cut.set(true);
        for seat in &*self.seats.borrow() {
            seat.wake();
        }
        self.alarm_set.notify_one();
        self.tasks.close();
        self.tasks.wait().await;
        self.show_load();
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        let dispatch = self.dispatch.borrow();
        self.left.borrow().is_empty() && dispatch.retries().is_empty() && dispatch.queue().is_empty()
    }

    /// Takes out one of the messages that are left. It is to be put back, or to be told that it was handed over.
    pub fn take_left(&self) -> Option<Message> {
        self.left.borrow_mut().pop().or_else(|| self.dispatch.borrow_mut().give_up())
    }

    /// Takes a message back that is left after all.
    pub fn put_back(&self, message: Message) {
        self.left.borrow_mut().push(message);
    }

    /// Takes note that another replica has `message` now.
    pub fn handed_over(&self, message: Message) {
        self.settle.handed_over(message);
    }

    /// Gives up what is left. Dead letters that find no room wait for it until `patience` ends: all that a route holds
    /// may be more than fits at once.
    pub async fn give_up(&self, patience: Time) {
        let patience = self.clock.instant(patience);
        while let Some(message) = self.take_left() {
            // Without room it is dropped, and counted.
            drop(timeout_at(patience, self.settle.room_for(&message)).await);
            self.settle.dead(message, Reason::Shutdown, self.clock.now());
        }
        self.show_load();
    }
}
