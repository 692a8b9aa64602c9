//! What holds for a whole route, and how its lanes share it.
//!
//! The bounds and the concurrency are divided: each lane keeps its own part without asking the others. The rate limit,
//! the pause that a webhook asks for and the condition are shared, by atomics.

use std::{num::NonZeroUsize, sync::Arc};

use tokio_rustls::rustls::ClientConfig;

use super::{
    schedule::{breaker::Breaker, pause::Hold, rate_limit::SharedLimit},
    webhook_health::Condition,
};
use crate::{
    config::{Bounds, Route},
    dead_letter::Outlet,
    deliver::connect::tls::Trust,
    stats::RouteStats,
};

/// One lane's share of a route.
#[derive(Debug)]
pub struct RouteShare {
    /// The bounds of its queue.
    pub queue: Bounds,
    /// The bounds of its retry queue.
    pub retries: Bounds,
    /// How many attempts it may have under way.
    pub concurrency: NonZeroUsize,
    /// The rate limit, shared.
    pub limit: Option<SharedLimit>,
    /// The pause, shared.
    pub hold: Hold,
    /// The breaker, shared.
    pub breaker: Breaker,
    /// The condition, shared.
    pub condition: Arc<Condition>,
    /// Its figures.
    pub stats: Arc<RouteStats>,
    /// Where dead letters go.
    pub dead_letters: Option<Outlet>,
    /// Whom to trust.
    pub tls: Arc<ClientConfig>,
}

/// Divides `route` among `lanes`.
pub fn shares(
    route: &Route,
    lanes: NonZeroUsize,
    trust: &Trust,
    dead_letters: Option<&Outlet>,
) -> Vec<RouteShare> {
    let limit = route.rate_limit.map(SharedLimit::new);
    let hold = Hold::default();
    let breaker = Breaker::new(route.breaker.as_ref());
    let condition = Arc::new(Condition::new(route.name.clone()));
    let tls = trust.client_config(&route.webhook.tls.ca);
    (0..lanes.get())
        .map(|lane| RouteShare {
            queue: bounds(route.queue.bounds, lanes, lane),
            retries: bounds(route.retry.bounds, lanes, lane),
            concurrency: part(route.webhook.concurrency, lanes, lane),
            limit: limit.clone(),
            hold: hold.clone(),
            breaker: breaker.clone(),
            condition: Arc::clone(&condition),
            stats: Arc::default(),
            dead_letters: dead_letters.cloned(),
            tls: Arc::clone(&tls),
        })
        .collect()
}

fn bounds(whole: Bounds, lanes: NonZeroUsize, lane: usize) -> Bounds {
    Bounds { messages: part(whole.messages, lanes, lane), bytes: part(whole.bytes, lanes, lane) }
}

/// The parts add up to the whole; the first lanes take what does not divide. Never nothing: the configuration refuses
/// more lanes than there is to divide.
fn part(whole: NonZeroUsize, lanes: NonZeroUsize, lane: usize) -> NonZeroUsize {
    let rest = usize::from(lane < whole.get() % lanes);
    NonZeroUsize::new(whole.get() / lanes + rest).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let number = |n| NonZeroUsize::new(n).unwrap();
        for whole in [4, 7, 64, 65_536, 1_000_003] {
            for lanes in 1..=4 {
                let parts: Vec<_> =
                    (0..lanes).map(|lane| part(number(whole), number(lanes), lane).get()).collect();
                assert_eq!(parts.iter().sum::<usize>(), whole, "{parts:?}");
                assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
            }
        }
    }
}
