//! How long an attempt may take: one deadline for all of it, and less where waiting for more would be of no use.

use std::{cell::Cell, fmt::Display, time::Duration};

use super::fault::Fault;
use crate::{
    base::clock::{Clock, Time},
    message::outcome::Failure,
};

/// How long the rest of an answer is waited for when its status is known and the request is out. The status says what
/// matters; a connection whose answer comes to its end can be used again, but a body that trickles must not hold up
/// other messages.
const REST: Duration = Duration::from_secs(1);

/// How long a connection that was idle is on trial: see [`Patience::begin_trial`]. The kernel notices earlier.
const TRIAL: Duration = Duration::from_secs(4);

/// The time of one attempt. It is shared by who waits and by what is waited for, in one task.
#[derive(Debug)]
pub struct Patience {
    clock: Clock,
    timeout: Duration,
    deadline: Time,
    /// When something changes, at the latest: not after the deadline.
    until: Cell<Time>,
    stage: Cell<Stage>,
    /// Whether whoever is waited for wakes us when the time comes.
    is_watched: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Trial,
    /// Only for the rest of the answer.
    Rest,
    Over,
}

impl Patience {
    /// Patience for `timeout`, from `began` on.
    pub fn new(began: Time, timeout: Duration, clock: Clock) -> Self {
        let deadline = began + timeout;
        let (until, stage) = (Cell::new(deadline), Cell::new(Stage::Waiting));
        Self { clock, timeout, deadline, until, stage, is_watched: Cell::new(false) }
    }

    /// That the time is over, for the operator.
    pub(super) fn timed_out(&self, what: impl Display) -> Fault {
        let within = humantime::format_duration(self.timeout);
        Fault::new(Failure::Timeout, format_args!("{what} within {within}"))
    }

    /// When to call [`Self::time_passed`]. It may change with each step of the attempt.
    pub(super) const fn wake_at(&self) -> Time {
        self.until.get()
    }

    /// Whether it is not for us to watch the time: the connection does it for all of its streams.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.get()
    }

    pub(super) fn set_watched(&self, is_watched: bool) {
        self.is_watched.set(is_watched);
    }

    /// The time has come. What is waited for has to be asked once more.
    pub(super) fn time_passed(&self) {
        if self.stage.get() == Stage::Trial {
            self.end_trial();
        } else {
            self.stage.set(Stage::Over);
        }
    }

    /// Whether nothing more is waited for.
    pub(super) fn is_over(&self) -> bool {
        self.stage.get() == Stage::Over
    }

    /// The status is known and the request is out.
    pub(super) fn wait_for_the_rest(&self) {
        if matches!(self.stage.get(), Stage::Waiting | Stage::Trial) {
            self.stage.set(Stage::Rest);
            self.until.set(self.deadline.min(self.clock.now() + REST));
        }
    }

    /// From now on it is to be seen whether the other end of a connection is still there.
    pub(super) fn begin_trial(&self) {
        self.stage.set(Stage::Trial);
        self.until.set(self.deadline.min(self.clock.now() + TRIAL));
    }

    /// It is seen, or no longer looked for.
    pub(super) fn end_trial(&self) {
        if self.is_trial() {
            self.stage.set(Stage::Waiting);
            self.until.set(self.deadline);
        }
    }

    pub(super) fn is_trial(&self) -> bool {
        self.stage.get() == Stage::Trial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_an_answer_gets_a_second_and_never_more_than_the_deadline() {
        let clock = Clock::start();
        for (timeout, expected) in [(30_000, 1000), (300, 300)] {
            let now = clock.now();
            let patience = Patience::new(now, Duration::from_millis(timeout), clock);
            patience.wait_for_the_rest();
            patience.wait_for_the_rest();
            assert_eq!(patience.wake_at(), now + Duration::from_millis(expected));
            patience.time_passed();
            assert!(patience.is_over());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_ends_leaves_the_deadline() {
        let clock = Clock::start();
        let timeout = Duration::from_secs(30);
        let deadline = clock.now() + timeout;
        let patience = Patience::new(clock.now(), timeout, clock);
        patience.begin_trial();
        assert!(patience.wake_at() < deadline);
        patience.time_passed();
        assert_eq!((patience.is_trial(), patience.is_over(), patience.wake_at()), (false, false, deadline));
        patience.time_passed();
        assert!(patience.is_over());
    }
}
