//! The circuit breaker of a route: after too many failures nothing is attempted for a while; then a few probes find out
//! whether the webhook is back, and if it is, attempts come at a growing rate instead of all at once.
//!
//! Plain decisions that are told the time. The lanes of a route share one breaker, so that one lane's trouble spares
//! the others; as long as all goes well that costs one load of an atomic for each attempt. The rules are in `machine`;
//! this file makes them shareable.

mod machine;
mod odds;
#[cfg(test)]
mod tests;
mod window;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{fault::Fault, gate::Gate};
use machine::Machine;

use crate::{base::clock::Time, config};

/// Where a breaker stands. The number is the value of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// All is well: everything is attempted.
    Closed = 0,
    /// The webhook is on trial: a few probes, or a ramp.
    HalfOpen = 1,
    /// Nothing is attempted.
    Open = 2,
}

/// Why a webhook is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not work.
    Down,
    /// It refuses whatever it gets: a wrong credential or a wrong address.
    Refused,
    /// It says that it is gone for good.
    Gone,
}

impl From<Fault> for Why {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Gone => Self::Gone,
            Fault::Refused => Self::Refused,
            Fault::Ours
            | Fault::Unsendable
            | Fault::Between
            | Fault::Down
            | Fault::Throttled
            | Fault::Message => Self::Down,
        }
    }
}

/// Who pays for a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The webhook: the attempt is given back to its message.
    Endpoint,
    /// The message. It is hopeless after so many failures at the least, however few attempts it may have.
    Message {
        /// Failures that it paid for.
        required: u32,
    },
}

/// An attempt that failed, as the breaker has to know it.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Whose fault it looks like.
    pub fault: Fault,
    /// When the attempt began.
    pub began: Time,
    /// When it ended.
    pub ended: Time,
    /// When its message failed the last time before.
    pub before: Option<Time>,
    /// Whether it is a part of a batch that failed as a whole then, and so tells something new.
    pub is_part: bool,
    /// When the latest attempt began that was delivered, as far as this lane knows.
    pub proof: Time,
}

/// A change that is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing will be attempted for `wait`.
    Opened {
        /// What for.
        why: Why,
        /// Until the first probe.
        wait: Duration,
    },
    /// A probe has succeeded: attempts come at a growing rate.
    Ramping,
    /// All is well again.
    Closed,
}

/// The breaker of a route, shared by its lanes: all clones are the same one. None inside where the operator wants no
/// breaker.
#[derive(Clone, Debug)]
pub struct Breaker(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    machine: Mutex<Machine>,
    state: AtomicU8,
    /// Whether there was no failure lately, so that successes need not be counted. The share of failures
    /// is therefore that of the attempts since the first failure.
    calm: AtomicBool,
}

impl Breaker {
    /// A breaker as configured, closed; one that never opens where none is wanted.
    pub fn new(config: Option<&config::Breaker>) -> Self {
        Self(config.map(|config| {
            let machine = Mutex::new(Machine::new(*config));
            Arc::new(Shared {
                machine,
                state: AtomicU8::new(BreakerState::Closed as u8),
                calm: AtomicBool::new(true),
            })
        }))
    }

    /// Another breaker for the same webhook, which stands where this one stands now.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self(self.0.as_ref().map(|shared| {
            let machine = shared.lock().successor();
            let (state, calm) = (machine.state() as u8, machine.is_calm());
            Arc::new(Shared {
                machine: Mutex::new(machine),
                state: AtomicU8::new(state),
                calm: AtomicBool::new(calm),
            })
        }))
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        match self.0.as_ref().map(|shared| shared.state.load(Relaxed)) {
            Some(2) => BreakerState::Open,
            Some(1) => BreakerState::HalfOpen,
            _ => BreakerState::Closed,
        }
    }

    /// Whether all is well.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.troubled().is_none()
    }

    /// The breaker, where it is not closed. One that closes or opens on another lane at the same moment may be missed:
    /// one attempt too many or too late does no harm.
    #[inline]
    fn troubled(&self) -> Option<&Shared> {
        self.0.as_deref().filter(|shared| shared.state.load(Relaxed) != BreakerState::Closed as u8)
    }

    /// When it closes by itself: at the end of the ramp.
    pub fn closes(&self) -> Option<Time> {
        self.troubled()?.lock().closes()
    }

    /// Closes it where that is due at `now`, though nothing is attempted.
    pub fn tick(&self, now: Time) -> Option<Change> {
        self.troubled()?.change(|machine| machine.tick(now)).1
    }

    /// Has a webhook that is left alone tried at once, and again several times within `window`. An open breaker would
    /// otherwise let the grace of a stop pass unused, though the webhook may work again.
    pub fn expedite(&self, now: Time, window: Duration) {
        /// Even with a short window, a webhook that is down is asked a few times and not in a loop.
        const SHORTEST: Duration = Duration::from_millis(100);
        if let Some(shared) = &self.0 {
            shared.change(|machine| machine.expedite(now, (window / 10).max(SHORTEST)));
        }
    }

    /// Opens at `now`, as another replica has heard `age` ago that the webhook is gone for good.
    pub fn disable(&self, now: Time, age: Duration) -> Option<Change> {
        self.0.as_ref()?.change(|machine| machine.disable(now, age)).1
    }

    /// Has a webhook that is gone for good tried at once. Returns whether there was something to change.
    pub fn revive(&self) -> bool {
        self.troubled().is_some_and(|shared| shared.change(Machine::revive).0)
    }

    /// Takes note of an attempt that began at `began` and succeeded at `now`, at a message that failed at
    /// `before`, if it did.
    pub fn succeeded(&self, began: Time, now: Time, before: Option<Time>) -> Option<Change> {
        let shared = self.0.as_ref().filter(|shared| !shared.calm.load(Relaxed))?;
        shared.change(|machine| machine.succeeded(began, now, before)).1
    }

    /// Takes note of an attempt that told nothing about whether the webhook works.
    pub fn told_nothing(&self, began: Time) {
        if let Some(shared) = self.troubled() {
            shared.change(|machine| machine.told_nothing(began));
        }
    }

    /// Takes note of an attempt that failed for the reason that the webhook is down, or refuses us, as it looks.
    pub fn failed(&self, failed: &Failed) -> (Blame, Option<Change>) {
        // An operator who wants no breaker wants messages to pay for everything.
        let Some(shared) = &self.0 else { return (Blame::Message { required: 1 }, None) };
        shared.change(|machine| machine.failed(failed))
    }

    /// Why the webhook is left alone, and until when; none where it is not.
    pub fn trouble(&self) -> Option<(Why, Time)> {
        self.troubled()?.lock().trouble()
    }
}

impl Gate for Breaker {
    fn opens(&self, now: Time) -> Time {
        self.troubled().map_or(Time::START, |shared| shared.lock().opens(now))
    }

    fn capacity(&self, now: Time) -> usize {
        self.troubled().map_or(usize::MAX, |shared| shared.lock().capacity(now))
    }

    fn admit(&self, now: Time) -> Result<(), Time> {
        let Some(shared) = self.troubled() else { return Ok(()) };
        shared.change(|machine| machine.admit(now)).0
    }

    /// Only while it is open: when the time has come for probes, there must be something to probe with.
    fn paused_until(&self, now: Time) -> Option<Time> {
        let until = (self.state() == BreakerState::Open).then(|| self.opens(now));
        until.filter(|until| *until > now)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `step` and shows its consequences to those who only look at the atomics.
    fn change<T>(&self, step: impl FnOnce(&mut Machine) -> T) -> (T, Option<Change>) {
        let mut machine = self.lock();
        let result = step(&mut machine);
        // Under the lock, so that of two changes the later one is shown. Relaxed, because nothing else is read by them.
        self.state.store(machine.state() as u8, Relaxed);
        self.calm.store(machine.is_calm(), Relaxed);
        (result, machine.take_change())
    }
}
