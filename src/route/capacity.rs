//! How much room a pipeline has, for sources that ask for messages (a stream) instead of being given them.

use std::cell::Cell;

use tokio::sync::Notify;

/// How much room a pipeline has for more messages, at the moment it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many messages fit into the queue.
    pub messages: usize,
    /// How many bytes do, if the other lanes take as many.
    pub bytes: usize,
    /// How many bytes do, if the other lanes take none.
    pub bytes_at_most: usize,
    /// How many messages are in the queue.
    pub queued: usize,
    /// How many wait for another attempt.
    pub retrying: usize,
}

/// Tells a source when the queue runs low, so that it need not look at the queue again and again.
#[derive(Debug, Default)]
pub(super) struct LowWater {
    /// 0 while nobody waits: no queue has fewer messages, so what each message checks never holds then.
    mark: Cell<usize>,
    reached: Notify,
    /// Whether somebody waits for bytes, of which there are more when an attempt ends.
    wants_bytes: Cell<bool>,
    freed: Notify,
}

impl LowWater {
    /// Returns when there are fewer than `mark` messages. Whether there are already is not looked at.
    pub(super) async fn reached(&self, mark: usize) {
        self.mark.set(mark);
        self.reached.notified().await;
    }

    /// Takes note that `messages` are left in the queue after one was taken.
    pub(super) fn observe(&self, messages: usize) {
        if messages < self.mark.get() {
            self.mark.set(0);
            self.reached.notify_one();
        }
    }

    /// Returns when an attempt has ended.
    pub(super) async fn freed(&self) {
        self.wants_bytes.set(true);
        self.freed.notified().await;
    }

    /// Takes note that an attempt has ended.
    pub(super) fn observe_end(&self) {
        if self.wants_bytes.replace(false) {
            self.freed.notify_one();
        }
    }
}
