//! The end of the line for every message: what became of it is counted here, exactly once.
//!
//! Messages are taken by value: one that was settled can't be settled again.

use std::{cell::RefCell, sync::Arc, time::Duration};

use tracing::{debug, warn};

use crate::{
    clock::{Clock, Time},
    config::RouteName,
    dead_letter::{Letter, Outlet},
    message::Message,
    outcome::Reason,
    stats::RouteStats,
    throttle::Throttle,
};

/// Settles the messages of one route in one lane.
#[derive(Debug)]
pub struct Settle {
    route: RouteName,
    stats: Arc<RouteStats>,
    dead_letters: Option<Outlet>,
    clock: Clock,
    /// An overloaded route may drop a hundred thousand messages a second. The first of each second are named.
    named_drops: RefCell<Throttle>,
}

impl Settle {
    /// Counts in `stats`, and sends what is dead to `dead_letters` where there is such a place.
    pub const fn new(
        route: RouteName,
        stats: Arc<RouteStats>,
        dead_letters: Option<Outlet>,
        clock: Clock,
    ) -> Self {
        let named_drops = RefCell::new(Throttle::new(20, Duration::from_secs(1)));
        Self { route, stats, dead_letters, clock, named_drops }
    }

    /// The webhook accepted `message` at `now`.
    pub fn delivered(&self, message: Message, now: Time) {
        self.stats.delivered.add(1);
        self.stats.delivery_latency.observe(now.since(message.received));
        debug!(route = self.route.as_str(), id = %message.id, attempts = message.attempts, "delivered");
        drop(message);
    }

    /// `message` will not be delivered: it becomes a dead letter, or is dropped where there is no place for those.
    pub fn dead(&self, message: Message, reason: Reason, now: Time) {
        let Some(outlet) = &self.dead_letters else {
            return self.dropped(message, reason, now);
        };
        debug!(route = self.route.as_str(), id = %message.id, reason = reason.label(), "dead");
        let letter = Letter::new(message, reason, &self.route, Arc::clone(&self.stats), &self.clock);
        if let Err(letter) = outlet.send(letter) {
            // Dead letters come faster than NATS takes them, or NATS is away for too long.
            self.dropped(letter.message, reason, now);
        }
    }

    /// Returns when there is room for `message` among the dead letters, where those have a place.
    pub async fn room_for(&self, message: &Message) {
        if let Some(outlet) = &self.dead_letters {
            outlet.room_for(message).await;
        }
    }

    /// `message` is given up.
    pub fn dropped(&self, message: Message, reason: Reason, now: Time) {
        self.stats.dropped.add(1);
        if let Some(unnamed) = self.named_drops.borrow_mut().pass(now) {
            warn!(
                route = self.route.as_str(),
                id = %message.id,
                reason = reason.label(),
                last_failure = message.last_failure.map(|failure| failure.label()).as_deref(),
                attempts = message.attempts,
                more_before = (unnamed > 0).then_some(unnamed),
                "message dropped"
            );
        }
        drop(message);
    }
}
