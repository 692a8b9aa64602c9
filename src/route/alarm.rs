//! The alarm of a pipeline: one timer for all that will be due on its route.

use std::{pin::pin, rc::Rc};

use tokio::time::sleep_until;

use super::pipeline::Pipeline;
use crate::{base::clock::Time, deliver::Deliver};

impl<D: Deliver + 'static> Pipeline<D> {
    /// Sets the alarm for `at`, unless it goes off earlier anyway: then whoever it wakes sets it on.
    pub(super) fn set_alarm(&self, at: Time) {
        if self.alarm.get().is_none_or(|set| at < set) {
            self.alarm.set(Some(at));
            self.alarm_set.notify_one();
        }
    }

    /// Wakes the workers when the alarm goes off, or a predecessor has left them room.
    pub(super) async fn keep_time(self: Rc<Self>) {
        // One timer that is set anew each time: making and dropping one for each alarm would lock the runtime's wheel
        // twice.
        let mut sleep = pin!(sleep_until(self.clock.instant(Time::START)));
        while !self.is_aborted() {
            let alarm = self.alarm.get();
            if let Some(at) = alarm {
                sleep.as_mut().reset(self.clock.instant(at));
            }
            tokio::select! {
                // In this order: what a predecessor tells is told once, and is lost with another branch.
                biased;
                () = self.under_way.fewer() => self.wake_workers_at(self.clock.now()),
                () = self.alarm_set.notified() => {}
                () = &mut sleep, if alarm.is_some() => self.alarm_went_off(),
            }
        }
    }

    fn alarm_went_off(self: &Rc<Self>) {
        // Cleared first: what follows may set it anew.
        self.alarm.set(None);
        let now = self.clock.now();
        let change = self.schedule.borrow().tick(now);
        self.follow(change, now);
        self.wake_workers_at(now);
    }
}
