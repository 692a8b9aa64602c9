//! A route as all its lanes see it: its settings, and what holds for the whole of it.
//!
//! The bounds and the concurrency are divided: each lane keeps its own part without asking the others. The rate limit,
//! the pause that a webhook asks for, the breaker and the webhook's health are shared, since they are about the webhook
//! and not about a lane: by atomics as long as all goes well, by a lock in trouble.

use std::{
    num::NonZeroUsize,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    pipeline::{Parts, Pipeline},
    registry::LaneStats,
    schedule::{
        Schedule,
        breaker::Breaker,
        gate::{Gate as _, Gates},
        pace::Pace,
        pause::Pause,
        policy::Policy,
        queue::Queue,
        rate_limit::{Limiter, SharedLimit},
        retry_queue::RetryQueue,
        slow_start::{self, SlowStart},
    },
    settle::Settle,
    source_status::SourceStatus,
    trouble::Trouble,
    under_way::UnderWay,
    webhook_health::WebhookHealth,
};
use crate::{
    base::clock::{Clock, Time},
    config::{self, Bounds, RouteName},
    dead_letter,
    deliver::{Deliver, connect::tls::Transport},
    message::ack_queue::AckQueue,
};

/// A route with one set of settings. Other settings make another `Route` of the same name, which keeps the figures.
#[derive(Debug)]
pub struct Route {
    /// What the operator decided.
    pub settings: config::Route,
    /// The breaker, shared by the lanes.
    pub breaker: Breaker,
    /// Whether the webhook works, as all lanes see it.
    pub health: Arc<WebhookHealth>,
    /// The figures, by lane.
    pub stats: LaneStats,
    /// How to get to the webhook.
    pub transport: Transport,
    /// Where dead letters go; none where they are dropped.
    pub dead_letters: Option<dead_letter::Sender>,
    limit: Option<SharedLimit>,
    pause: Pause,
    pace: Pace,
    /// Whether messages come, by lane: one for each lane that this route runs on.
    sources: Box<[Arc<SourceStatus>]>,
    /// On how many lanes messages have come to come.
    live: AtomicUsize,
}

impl Route {
    /// A route for the lanes that `stats` are of. Where there is not enough to divide among all of them, only the first
    /// ones run it.
    pub fn new(
        settings: config::Route,
        stats: LaneStats,
        transport: Transport,
        dead_letters: Option<dead_letter::Sender>,
    ) -> Self {
        let least = most_lanes(&settings).get().min(stats.len());
        Self {
            breaker: Breaker::new(settings.breaker.as_ref()),
            health: Arc::new(WebhookHealth::new(settings.name.clone())),
            stats,
            transport,
            dead_letters,
            limit: settings.rate_limit.map(SharedLimit::new),
            pause: Pause::default(),
            pace: Pace::default(),
            sources: (0..least).map(|_| Arc::new(SourceStatus::new(settings.name.clone()))).collect(),
            live: AtomicUsize::new(0),
            settings,
        }
    }

    /// Goes on where `former` is, which has the same name: a webhook that fails, or asked to be left alone, does not get
    /// better by another setting, nor does a rate limit begin anew that is the same.
    #[must_use]
    pub fn after(mut self, former: &Self) -> Self {
        let (settings, before) = (&self.settings, &former.settings);
        if settings.rate_limit == before.rate_limit {
            self.limit.clone_from(&former.limit);
        }
        if settings.webhook.url == before.webhook.url {
            self.pause = former.pause.clone();
            self.pace = former.pace.clone();
            self.health = Arc::clone(&former.health);
            if settings.breaker == before.breaker {
                self.breaker = former.breaker.successor();
            }
        }
        self
    }

    /// What metrics, logs and the configuration call it.
    pub const fn name(&self) -> &RouteName {
        &self.settings.name
    }

    /// What is wrong with its webhook at `now`, so that its messages wait.
    pub fn trouble(&self, now: Time) -> Option<Trouble> {
        if let Some((why, until)) = self.breaker.trouble() {
            return Some(Trouble::LeftAlone(why, until.since(now)));
        }
        if let Some(until) = self.pause.paused_until(now) {
            return Some(Trouble::Paused(until.since(now)));
        }
        self.pace.is_limited().then(|| Trouble::Slowed(self.pace.rate()))
    }

    /// Whether its messages come from a stream.
    pub const fn is_durable(&self) -> bool {
        self.settings.jetstream.is_some()
    }

    /// How many lanes run it: always the first ones, so that whoever passes messages on knows which.
    pub const fn lanes(&self) -> usize {
        self.sources.len()
    }

    /// Takes note that messages come on one more lane, for the first time there. True for the last one: the route is live.
    pub fn went_live(&self) -> bool {
        self.live.fetch_add(1, Relaxed) + 1 == self.lanes()
    }

    /// Whether messages come on `lane`; none where that lane does not run this route.
    pub fn source(&self, lane: usize) -> Option<&Arc<SourceStatus>> {
        self.sources.get(lane)
    }

    /// Starts its pipeline on `lane`, whose workers are clients that `client` makes. They add to what is `under_way` at the
    /// webhook already, while the last attempts of a predecessor go on. `acks` is where the lane's streams are
    /// told what became of their messages.
    pub fn start<D: Deliver + 'static>(
        &self,
        lane: usize,
        client: Box<dyn Fn() -> D>,
        under_way: Rc<UnderWay>,
        acks: AckQueue,
        clock: Clock,
    ) -> Rc<Pipeline<D>> {
        let Self { settings, .. } = self;
        let stats = Arc::clone(&self.stats[lane]);
        let gates = Gates {
            pause: self.pause.clone(),
            limit: self.limit.clone().map(Limiter::new),
            pace: self.pace.clone(),
            breaker: self.breaker.clone(),
        };
        let queue = Queue::new(self.bounds(settings.queue.bounds, lane), settings.queue.overflow);
        let retries = RetryQueue::new(self.bounds(settings.retry.bounds, lane));
        let settle =
            Settle::new(settings.name.clone(), Arc::clone(&stats), self.dead_letters.clone(), acks, clock);
        let concurrency = self.part(settings.webhook.concurrency, lane).get();
        let start = SlowStart::new(self.part(slow_start::FIRST, lane), concurrency);
        Pipeline::start(Parts {
            schedule: Schedule::new(queue, retries, gates, Policy::from(&settings.retry), start),
            overflow: settings.queue.overflow,
            concurrency,
            under_way,
            client,
            settle,
            health: Arc::clone(&self.health),
            stats,
            clock,
        })
    }

    fn bounds(&self, whole: Bounds, lane: usize) -> Bounds {
        Bounds { messages: self.part(whole.messages, lane), bytes: self.part(whole.bytes, lane) }
    }

    fn part(&self, whole: NonZeroUsize, lane: usize) -> NonZeroUsize {
        part(whole, self.sources.len(), lane)
    }
}

/// Among how many lanes the settings can be divided, so that each has at least one of everything: a lane without a
/// worker or without room in a queue would take messages and deliver none.
fn most_lanes(settings: &config::Route) -> NonZeroUsize {
    let concurrency = settings.webhook.concurrency;
    concurrency.min(settings.queue.bounds.messages).min(settings.retry.bounds.messages)
}

/// The part of `whole` that the lane with this number gets. The parts add up to the whole; the first lanes take what
/// does not divide.
fn part(whole: NonZeroUsize, lanes: usize, lane: usize) -> NonZeroUsize {
    // `max(1)`: a route on no lane divides nothing, and must not divide by zero either.
    let rest = usize::from(lane < whole.get() % lanes.max(1));
    NonZeroUsize::new(whole.get() / lanes.max(1) + rest).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let number = |n| NonZeroUsize::new(n).unwrap();
        for whole in [4, 7, 64, 65_536, 1_000_003] {
            for lanes in 1..=4 {
                let parts: Vec<_> = (0..lanes).map(|lane| part(number(whole), lanes, lane).get()).collect();
                assert_eq!(parts.iter().sum::<usize>(), whole, "{parts:?}");
                assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
            }
        }
    }
}
