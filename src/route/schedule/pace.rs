//! The rate at which a webhook wants its requests, where it says "less" (429, or a server error with `Retry-After`).
//!
//! The first such answer stops the route for as long as the webhook asks, or for a moment that doubles. Then one attempt
//! finds out whether it is taken again, and how long all that took tells the rate, at which attempts go on. A rate that
//! holds is raised, one that is too high is taken back. Shared by the lanes of a route, and as long as no webhook
//! complains it costs one load of an atomic for each attempt.

mod controller;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use controller::Controller;

use super::gate::Gate;
use crate::base::clock::Time;

/// The pace of a route: all clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    controller: Mutex<Controller>,
    /// Whether the controller has a say, so that those who are not limited need not ask it.
    active: AtomicBool,
}

impl Pace {
    /// Takes note of an attempt that was answered with "less". The wait that follows for the whole route; none where it
    /// is only this message's.
    pub fn throttled(&self, began: Time, now: Time, asked: Option<Duration>) -> Option<Duration> {
        self.0.change(|controller| controller.throttled(began, now, asked))
    }

    /// Whether the webhook has already been heard to want less by an attempt that ended after `began`.
    pub fn has_decided_since(&self, began: Time) -> bool {
        self.0.lock().has_decided_since(began)
    }

    /// Whether "less" is taken at `now` to be about single messages, and not about how many there are.
    pub fn is_about_messages(&self, now: Time) -> bool {
        self.0.lock().is_about_messages(now)
    }

    /// Takes note that one message is always told to come later, while others are taken: that is no limit to the rate,
    /// and slowing down for it would only hold up the others.
    pub fn is_selective(&self, now: Time) {
        self.0.change(|controller| controller.is_selective(now));
    }

    /// Takes note of an attempt that was delivered.
    pub fn delivered(&self, began: Time, now: Time) {
        if self.is_limited() {
            self.0.change(|controller| controller.delivered(began, now));
        }
    }

    /// Takes note of an attempt that failed for another reason.
    pub fn told_nothing(&self, began: Time) {
        if self.is_limited() {
            self.0.change(|controller| controller.told_nothing(began));
        }
    }

    /// Whether the webhook has said lately that it wants less.
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.0.active.load(Relaxed)
    }

    /// How many attempts a second the webhook takes, as far as that is known; none where it was not exceeded lately.
    pub fn rate(&self) -> Option<f64> {
        self.is_limited().then(|| self.0.lock().rate())?
    }
}

impl Gate for Pace {
    #[inline]
    fn opens(&self, now: Time) -> Time {
        if self.is_limited() { self.0.lock().opens(now) } else { Time::START }
    }

    #[inline]
    fn capacity(&self, now: Time) -> usize {
        if self.is_limited() { usize::from(self.0.lock().opens(now) <= now) } else { usize::MAX }
    }

    #[inline]
    fn admit(&self, now: Time) -> Result<(), Time> {
        if self.is_limited() { self.0.change(|controller| controller.admit(now)) } else { Ok(()) }
    }

    /// It is not left alone: messages go on being taken from a stream, at the rate at which they leave.
    fn paused_until(&self, _now: Time) -> Option<Time> {
        None
    }
}

impl Shared {
    #[inline(never)]
    fn lock(&self) -> MutexGuard<'_, Controller> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, step: impl FnOnce(&mut Controller) -> T) -> T {
        let mut controller = self.lock();
        let result = step(&mut controller);
        // Under the lock, so that of two changes the later one is shown.
        self.active.store(controller.is_active(), Relaxed);
        result
    }
}
