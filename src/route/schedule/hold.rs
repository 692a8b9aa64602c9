//! Whether an operator holds the route. As long as it is held, nothing is attempted.

use std::time::Duration;

use super::{Schedule, gate::Gate};
use crate::base::clock::Time;

/// The gate that an operator closes and opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HoldGate {
    is_closed: bool,
}

/// When to ask again. Nobody knows when a hold ends: whoever ends it wakes the route.
const LOOK: Duration = Duration::from_secs(24 * 60 * 60);

impl HoldGate {
    pub(super) const OPEN: Self = Self { is_closed: false };
    const CLOSED: Self = Self { is_closed: true };

    pub(super) const fn is_closed(self) -> bool {
        self.is_closed
    }
}

impl Gate for HoldGate {
    fn opens(&self, now: Time) -> Time {
        self.paused_until(now).unwrap_or(Time::START)
    }

    fn capacity(&self, _now: Time) -> usize {
        if self.is_closed { 0 } else { usize::MAX }
    }

    fn admit(&self, now: Time) -> Result<(), Time> {
        self.paused_until(now).map_or(Ok(()), Err)
    }

    fn paused_until(&self, now: Time) -> Option<Time> {
        self.is_closed.then(|| now + LOOK)
    }
}

impl Schedule {
    /// Begins no attempt any more while it `is_held`. False where that is no news.
    pub fn hold(&mut self, is_held: bool) -> bool {
        let is_news = self.gates.is_held() != is_held;
        self.gates.hold(if is_held { HoldGate::CLOSED } else { HoldGate::OPEN });
        is_news
    }
}
