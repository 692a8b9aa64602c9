//! Whether there is something to log in to the webhook with. As long as there is not, nothing is attempted.

use std::time::Duration;

use super::gate::Gate;
use crate::{base::clock::Time, deliver::login::readiness::Readiness};

/// The gate of a route that logs in with what has to be fetched. It knows until when there is something, and not from
/// when on.
#[derive(Clone, Debug)]
pub struct LoginGate(Readiness);

/// How soon to look again: nothing tells lanes of a token.
const LOOK: Duration = Duration::from_millis(50);

impl LoginGate {
    /// Open while there is something.
    pub const fn new(readiness: Readiness) -> Self {
        Self(readiness)
    }

    /// Whether there is something at `now`.
    #[inline]
    pub(super) fn is_open(&self, now: Time) -> bool {
        self.0.is_given(now)
    }
}

impl Gate for LoginGate {
    fn opens(&self, now: Time) -> Time {
        self.paused_until(now).unwrap_or(Time::START)
    }

    fn capacity(&self, now: Time) -> usize {
        if self.is_open(now) { usize::MAX } else { 0 }
    }

    fn admit(&self, now: Time) -> Result<(), Time> {
        self.paused_until(now).map_or(Ok(()), Err)
    }

    fn paused_until(&self, now: Time) -> Option<Time> {
        (!self.is_open(now)).then(|| now + LOOK)
    }
}
