//! A connection as its workers and its driver share it, within one thread.

use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    rc::Rc,
    task::Waker,
    time::Duration,
};

use tokio::sync::Notify;

use super::connection::Connection;
use crate::base::clock::Time;

/// A connection that was silent for so long may have been forgotten on the way, by a firewall that was restarted, say.
const LONG_IDLE: Duration = Duration::from_secs(1);
/// How long it is watched whether what is sent over such a connection arrives. The kernel notices earlier.
const TRIAL: Duration = Duration::from_secs(4);

/// A connection, and who waits for what on it.
#[derive(Debug)]
pub(super) struct Link {
    connection: RefCell<Connection>,
    /// At the place that the streams have there.
    waiting: RefCell<Box<[Waiting]>>,
    driver: RefCell<Option<Waker>>,
    /// Whether the driver was woken and has not run yet.
    is_woken: Cell<bool>,
    /// When the driver looks at the time next.
    looks_at: Cell<Time>,
    /// When something was received last.
    heard: Cell<Time>,
    trial_ends: Cell<Time>,
    /// How long the other end may be silent before it is asked whether it is there.
    silence: Duration,
    /// Who waits for a stream.
    queue: Rc<Queue>,
}

/// Who waits for a stream on any connection of a pool.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) changed: Notify,
    pub(super) waiting: Cell<usize>,
}

/// Who waits for what becomes of a stream.
#[derive(Clone, Debug, Default)]
struct Waiting {
    stream: u32,
    waker: Option<Waker>,
    until: Time,
}

impl Link {
    pub(super) fn new(connection: Connection, silence: Duration, now: Time, queue: Rc<Queue>) -> Self {
        let waiting = vec![Waiting::default(); connection.places()].into();
        Self {
            connection: RefCell::new(connection),
            waiting: RefCell::new(waiting),
            driver: RefCell::default(),
            is_woken: Cell::new(false),
            looks_at: Cell::new(now),
            heard: Cell::new(now),
            trial_ends: Cell::new(now),
            silence,
            queue,
        }
    }

    pub(super) fn connection(&self) -> Ref<'_, Connection> {
        self.connection.borrow()
    }

    pub(super) fn connection_mut(&self) -> RefMut<'_, Connection> {
        self.connection.borrow_mut()
    }

    /// A request is sent that began at `now`.
    pub(super) fn begins(&self, now: Time) {
        let mut connection = self.connection.borrow_mut();
        if connection.open_streams() == 0
            && now.since(self.heard.get()) >= LONG_IDLE
            && !connection.is_on_trial()
        {
            connection.begin_trial();
            connection.ping(now);
            self.trial_ends.set(now + TRIAL);
        }
        drop(connection);
        self.look_by(now + self.silence);
    }

    /// Has `waker` woken when there is news of the stream, or at `until`.
    pub(super) fn wait(&self, stream: u32, waker: &Waker, until: Time) {
        let mut waiting = self.waiting.borrow_mut();
        let place = stream as usize >> 1 & (waiting.len() - 1);
        if let Some(waiting) = waiting.get_mut(place) {
            // In a steady flow, it is mostly the same worker again: comparing is cheaper than cloning.
            if !waiting.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                waiting.waker = Some(waker.clone());
            }
            (waiting.stream, waiting.until) = (stream, until);
        }
        self.look_by(until);
    }

    fn look_by(&self, time: Time) {
        if time < self.looks_at.get() {
            self.looks_at.set(time);
            self.wake_driver();
        }
    }

    /// Has the driver run, after all that are ready to run: so what they all have to say goes out in one write.
    pub(super) fn wake_driver(&self) {
        if !self.is_woken.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// A stream was closed.
    pub(super) fn freed(&self) {
        if self.queue.waiting.get() > 0 {
            self.queue.changed.notify_one();
        }
        if !self.connection.borrow().to_send().is_empty() {
            self.wake_driver();
        }
    }

    /// Wakes those who wait for a stream where the server has come to allow more.
    pub(super) fn tell_of_room(&self) {
        if self.connection.borrow_mut().has_come_to_allow_more() {
            self.queue.changed.notify_waiters();
        }
    }

    /// The driver runs, and is woken by this from now on.
    pub(super) fn drives(&self, waker: &Waker) {
        self.is_woken.set(false);
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    /// Something was received.
    pub(super) fn hears(&self, now: Time) {
        self.heard.set(now);
    }

    /// When something was received last.
    pub(super) const fn heard(&self) -> Time {
        self.heard.get()
    }

    /// Wakes whoever waits for streams that have news.
    pub(super) fn wake_touched(&self) {
        let waiting = self.waiting.borrow();
        self.connection.borrow_mut().each_touched(|stream| {
            let place = stream as usize >> 1 & (waiting.len() - 1);
            let waiting = waiting.get(place).filter(|waiting| waiting.stream == stream);
            if let Some(waker) = waiting.and_then(|waiting| waiting.waker.as_ref()) {
                waker.wake_by_ref();
            }
        });
    }

    /// When [`Self::look`] is to be called next.
    pub(super) const fn looks_at(&self) -> Time {
        self.looks_at.get()
    }

    /// Looks at the time. The next is at `next`, or earlier where somebody waits for something.
    pub(super) fn look(&self, now: Time, next: Time) {
        let mut connection = self.connection.borrow_mut();
        let mut next = next;
        for waiting in &*self.waiting.borrow() {
            if !connection.has(waiting.stream) {
                continue;
            }
            if waiting.until <= now {
                connection.time_passed(waiting.stream);
            } else {
                next = next.min(waiting.until);
            }
        }
        if connection.is_on_trial() {
            if self.trial_ends.get() <= now {
                connection.end_trial();
            } else {
                next = next.min(self.trial_ends.get());
            }
        }
        self.looks_at.set(next);
    }
}
