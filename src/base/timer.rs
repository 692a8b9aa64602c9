//! One timer for all the deadlines of a worker.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::time::{Sleep, sleep_until};

use super::clock::{Clock, Time};

/// A timer that is left running where it can be.
///
/// Making a timer, setting it to an earlier time or dropping it takes a lock and moves it in the runtime's wheel.
/// Nearly all deadlines are never reached, so the timer stays where it is as long as it fires no later than asked; when
/// it fires early, it is set on to the deadline that holds by then. So a busy worker touches its timer once in the
/// length of a deadline instead of twice for each message.
#[derive(Debug)]
pub(crate) struct Timer {
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    /// When it fires: not after the deadline that was asked for last.
    fires: Time,
    /// Whom it wakes then.
    wakes: Option<Waker>,
}

impl Timer {
    /// A timer that was not asked for anything yet.
    pub(crate) fn new(clock: Clock) -> Self {
        let fires = clock.now();
        Self { clock, sleep: Box::pin(sleep_until(clock.instant(fires))), fires, wakes: None }
    }

    /// Ready when `deadline` has passed. Whoever stops asking may still be woken once, at the deadline asked for
    /// before.
    pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>, deadline: Time) -> Poll<()> {
        if self.fires > deadline {
            self.set(deadline);
        }
        // It is asked for each message, mostly by the same task, and nothing has changed.
        let is_known = self.wakes.as_ref().is_some_and(|wakes| wakes.will_wake(cx.waker()));
        if is_known && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        // A loop: a timer that was set on has to be polled again, or nothing would wake the task.
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.fires >= deadline || self.clock.now() >= deadline {
                return Poll::Ready(());
            }
            self.set(deadline);
        }
        self.wakes = Some(cx.waker().clone());
        Poll::Pending
    }

    fn set(&mut self, deadline: Time) {
        (self.fires, self.wakes) = (deadline, None);
        self.sleep.as_mut().reset(self.clock.instant(deadline));
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_whatever_came_before() {
        let clock = Clock::start();
        let mut timer = Timer::new(clock);
        for span in [30, 5, 50, 1, 30] {
            let span = Duration::from_secs(span);
            let deadline = clock.now() + span;
            let before = clock.now();
            poll_fn(|cx| timer.poll_passed(cx, deadline)).await;
            let waited = clock.now().since(before);
            assert!(waited >= span && waited < span + Duration::from_millis(5), "{waited:?} for {span:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_was_not_waited_for_leaves_no_trace() {
        let clock = Clock::start();
        let mut timer = Timer::new(clock);
        for _ in 0..10 {
            let deadline = clock.now() + Duration::from_secs(30);
            let passed = poll_fn(|cx| Poll::Ready(timer.poll_passed(cx, deadline).is_ready())).await;
            assert!(!passed);
            tokio::time::advance(Duration::from_secs(20)).await;
        }
    }
}
