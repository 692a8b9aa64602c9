//! Which messages a route delivers: those for which its filter holds, and those of which the filter can't tell.

use std::time::Duration;

use tracing::warn;

use crate::{
    base::{clock::Time, throttle::SharedThrottle},
    config::RouteName,
    expression::{Expression, Unclear},
    message::Message,
    stats::RouteStats,
};

/// The filter of a route. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Filter {
    route: RouteName,
    expression: Expression,
    /// When it was said that it can't judge a message.
    told: SharedThrottle,
}

impl Filter {
    /// The filter of `route`, which holds where `expression` does.
    pub fn new(route: RouteName, expression: Expression) -> Self {
        Self { route, expression, told: SharedThrottle::new(1, Duration::from_secs(60)) }
    }

    /// Whether `message`, which came at `now`, is to be delivered. One that can't be judged is: what is lost over a
    /// mistake in a filter would be lost for good.
    pub fn admits(&self, message: &Message, now: Time, stats: &RouteStats) -> bool {
        self.expression.holds(message).unwrap_or_else(|unclear| {
            stats.unjudged.add(1);
            self.tell(message, &unclear, now);
            true
        })
    }

    fn tell(&self, message: &Message, why: &Unclear, now: Time) {
        if let Some(more_before) = self.told.pass(now) {
            let route = self.route.as_str();
            let more_before = (more_before > 0).then_some(more_before);
            warn!(route, id = %message.id, %why, more_before, "the filter can't judge a message, which is delivered");
        }
    }
}
