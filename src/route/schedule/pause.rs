//! The pause of a whole route, after its webhook asked for one with `Retry-After` (RFC 9110, section 10.2.3).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::gate::Gate;
use crate::base::clock::Time;

/// Until when nothing is attempted. Shared by all lanes of a route: the webhook means all of them.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<AtomicU64>);

impl Pause {
    /// Pauses the route until `until`, or longer where it is paused for longer already.
    pub fn extend(&self, until: Time) {
        // Answers to attempts that began earlier may still come in and ask for less: the longest wish stands.
        self.0.fetch_max(until.as_nanos(), Ordering::Relaxed);
    }

    /// Whether it has ended by `now`, or never was.
    #[inline]
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.until() <= now
    }

    #[inline]
    fn until(&self) -> Time {
        Time::from_nanos(self.0.load(Ordering::Relaxed))
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
