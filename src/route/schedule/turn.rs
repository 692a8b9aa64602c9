//! Whose turn it is, where both new messages and retries wait.

use super::{Schedule, breaker::BreakerState};
use crate::{base::clock::Time, message::Message};

/// While the breaker is not closed or the pace is limited, one attempt of so many is that of a retry, else every second
/// one: both get their turn always, but among those that have failed before are those that always do. In a ramp, half
/// of the attempts would be theirs, and would open the breaker of a good webhook again.
const RETRY_EVERY: u32 = 4;

impl Schedule {
    /// The next message, where each goes alone and one may be attempted at `now`.
    #[inline]
    pub(super) fn take_one(&mut self, now: Time) -> Option<Message> {
        if self.queue.is_empty() || self.retries.is_empty() {
            return self.retries.begin(now).or_else(|| self.queue.begin());
        }
        if self.is_turn_of_retry() {
            self.retries.begin(now).or_else(|| self.queue.begin())
        } else {
            self.queue.begin()
        }
    }

    /// Whether it is a retry's turn, where both retries and new messages wait.
    pub(super) fn is_turn_of_retry(&mut self) -> bool {
        let troubled = self.gates.breaker.state() != BreakerState::Closed || self.gates.pace.is_limited();
        let every = if troubled { RETRY_EVERY } else { 2 };
        // Those that wait for longer come first, where nothing speaks against them.
        let is_retrys = self.turns % every == if troubled { every - 1 } else { 0 };
        self.turns = self.turns.wrapping_add(1);
        is_retrys
    }
}
