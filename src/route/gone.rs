//! Webhooks that are gone for good, as another replica has heard: the route is disabled here, too.

use std::time::Duration;

use super::shared::Route;
use crate::base::clock::Time;

impl Route {
    /// Takes the word of another replica, `age` old at `now`, that the webhook is gone for good: who has `told` so, and when.
    pub fn disable(&self, told: &str, age: Duration, now: Time) {
        let change = self.breaker.disable(now, age);
        if let Some(change) = change {
            self.health.told_gone(told);
            self.health.breaker_changed(change);
        }
    }
}
