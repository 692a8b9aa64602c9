//! Where a worker of a line can be reached.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
};

/// A worker's place, by which it can be reached.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Whether it was called and has not come yet.
    pub(super) called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    /// Has `cx`'s task woken by [`Self::wake`].
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
