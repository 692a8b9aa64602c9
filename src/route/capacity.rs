//! How much room a pipeline has, for sources that ask for messages instead of being given them.

use std::cell::Cell;

use tokio::sync::Notify;

/// How much room a pipeline has for more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many messages fit into the queue.
    pub messages: usize,
    /// How many bytes do.
    pub bytes: usize,
    /// How many messages are in the queue.
    pub queued: usize,
    /// How many wait for another attempt.
    pub retrying: usize,
}

/// Tells a source when the queue runs low.
#[derive(Debug, Default)]
pub(super) struct LowWater {
    mark: Cell<usize>,
    reached: Notify,
}

impl LowWater {
    /// Returns when there are fewer than `mark` messages. Whether there are already is not looked at.
    pub(super) async fn reached(&self, mark: usize) {
        self.mark.set(mark);
        self.reached.notified().await;
    }

    /// There are so many messages now, one having been taken.
    pub(super) fn observe(&self, messages: usize) {
        if messages < self.mark.get() {
            self.mark.set(0);
            self.reached.notify_one();
        }
    }
}
