//! The pause of a whole route, after its webhook asked for one with `Retry-After` (RFC 9110, section 10.2.3).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::gate::Gate;
use crate::base::clock::Time;

/// Until when nothing is attempted. Shared by all lanes of a route: the webhook means all of them.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<AtomicU64>);

impl Pause {
    /// Pauses the route until `until`, or longer where it is paused for longer already.
    pub fn extend(&self, until: Time) {
        let nanos = u64::try_from(until.since_start().as_nanos()).unwrap_or(u64::MAX);
        // Answers to attempts that began earlier may still come in and ask for less: the longest wish stands.
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }

    fn until(&self) -> Time {
        Time::from_start(Duration::from_nanos(self.0.load(Ordering::Relaxed)))
    }
}

impl Gate for Pause {
    fn opens(&self, _now: Time) -> Time {
        self.until()
    }

    fn capacity(&self, now: Time) -> usize {
        if self.until() > now { 0 } else { usize::MAX }
    }

    fn admit(&self, now: Time) -> Result<(), Time> {
        self.paused_until(now).map_or(Ok(()), Err)
    }

    fn paused_until(&self, now: Time) -> Option<Time> {
        Some(self.until()).filter(|until| *until > now)
    }
}
