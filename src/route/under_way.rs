//! How many attempts are under way at a webhook, whichever settings its route had when they began.

use std::cell::Cell;

use tokio::sync::Notify;

/// The attempts under way at one webhook on one lane: those of the pipeline that its route has, and the last ones of those
/// that it had before. Shared by all of them, so that changes in quick succession don't multiply the route's concurrency.
#[derive(Debug, Default)]
pub struct UnderWay {
    count: Cell<usize>,
    fewer: Notify,
}

impl UnderWay {
    pub(super) const fn count(&self) -> usize {
        self.count.get()
    }

    pub(super) fn begin(&self) {
        self.count.set(self.count.get() + 1);
    }

    pub(super) fn end(&self) {
        self.count.set(self.count.get() - 1);
    }

    /// Tells the other pipelines that there are fewer now.
    pub(super) fn tell(&self) {
        self.fewer.notify_waiters();
    }

    /// Returns when another pipeline tells so.
    pub(super) async fn fewer(&self) {
        self.fewer.notified().await;
    }
}
