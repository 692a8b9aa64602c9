//! The circuit breaker of a route: after too many failures nothing is attempted for a while; then a few probes find out
//! whether the webhook is back, and if it is, attempts come at a growing rate instead of all at once.
//!
//! Plain decisions that are told the time. The lanes of a route share one breaker, so that one lane's trouble spares
//! the others; as long as all goes well that costs one load of an atomic for each attempt. The rules are in `machine`;
//! this file makes them shareable.

mod machine;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use super::gate::Gate;
use machine::Machine;

use crate::{base::clock::Time, config, message::outcome::Failure};

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

/// A change that is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing will be attempted for `wait`.
    Opened {
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

    /// The breaker, where it is not closed. One that closes or opens on another lane at the same moment may be missed:
    /// one attempt too many or too late does no harm.
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

    /// Takes note of an attempt that began at `began` and succeeded at `now`.
    pub fn succeeded(&self, began: Time, now: Time) -> Option<Change> {
        let shared = self.0.as_ref().filter(|shared| !shared.calm.load(Relaxed))?;
        shared.change(|machine| machine.succeeded(began, now)).1
    }

    /// Takes note of an attempt that began at `began` and failed at `now`. False where the webhook was known to be
    /// down, or on trial by probes: that attempt told about the webhook, and is not to be held against its message.
    pub fn failed(&self, failure: Failure, began: Time, now: Time) -> (bool, Option<Change>) {
        let Some(shared) = &self.0 else { return (true, None) };
        if !tells_of_an_outage(failure) {
            // The webhook works: it has an opinion about this message.
            return (true, self.succeeded(began, now));
        }
        shared.change(|machine| machine.failed(began, now))
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

/// Whether a failure says something about the webhook and not about the message. Statuses above 599 are in no standard
/// and are not taken for server errors.
fn tells_of_an_outage(failure: Failure) -> bool {
    failure.status().is_none_or(|status| (500..600).contains(&status))
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
