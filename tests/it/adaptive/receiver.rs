//! A receiver with so many servers, each of which takes so long for a request, and a line before them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use testkit::webhook::{Behaviour, Reply, Webhook};

/// How a receiver serves, which may be changed while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Serving {
    pub(crate) servers: usize,
    pub(crate) service: Duration,
    /// It refuses more than so many at the same time, with 429.
    pub(crate) most: usize,
}

impl Serving {
    pub(crate) const fn new(servers: usize, service: Duration) -> Self {
        Self { servers, service, most: usize::MAX }
    }

    /// What it can serve in a second.
    pub(crate) fn capacity(&self) -> f64 {
        self.servers.min(self.most) as f64 / self.service.as_secs_f64()
    }
}

/// A webhook that serves like this, and notes how busy it was.
pub(crate) struct Receiver {
    pub(crate) hook: Webhook,
    desk: Arc<Mutex<Desk>>,
}

struct Desk {
    serving: Serving,
    /// When those that are here will have been served, in the order of time.
    ends: VecDeque<Instant>,
    seen: Vec<Seen>,
}

/// A request that came.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    refused: bool,
    /// How many were here, with it.
    here: usize,
}

/// What a receiver saw in a while.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) served: f64,
    pub(crate) refused: usize,
    /// How many were here when another came, on the average.
    pub(crate) here: f64,
}

impl Receiver {
    pub(crate) fn start(serving: Serving) -> Self {
        let desk = Arc::new(Mutex::new(Desk { serving, ends: VecDeque::new(), seen: Vec::new() }));
        let hook = Webhook::counting();
        let shared = Arc::clone(&desk);
        hook.answer(Behaviour::by(move |_| shared.lock().expect("no test panics in it").serve()));
        Self { hook, desk }
    }

    /// From now on it serves like this.
    pub(crate) fn change(&self, serving: Serving) {
        self.lock().serving = serving;
    }

    /// What it saw from `from` until the last request came.
    pub(crate) fn since(&self, from: Instant) -> Summary {
        let desk = self.lock();
        let seen: Vec<_> = desk.seen.iter().filter(|seen| seen.at >= from).copied().collect();
        let refused = seen.iter().filter(|seen| seen.refused).count();
        let here: usize = seen.iter().map(|seen| seen.here).sum();
        let until = seen.last().expect("requests came").at;
        let served = (seen.len() - refused) as f64 / (until - from).as_secs_f64();
        Summary { served, refused, here: here as f64 / seen.len() as f64 }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("no test panics in it")
    }
}

impl Desk {
    fn serve(&mut self) -> Reply {
        let now = Instant::now();
        while self.ends.front().is_some_and(|end| *end <= now) {
            self.ends.pop_front();
        }
        let Serving { servers, service, most } = self.serving;
        let refused = self.ends.len() >= most;
        self.seen.push(Seen { at: now, refused, here: self.ends.len() + usize::from(!refused) });
        if refused {
            return Reply::status(429);
        }
        // A server is free when all but so many of those before have left.
        let free = self.ends.len().checked_sub(servers).map_or(now, |before| self.ends[before]);
        let end = free.max(now) + service;
        let place = self.ends.partition_point(|other| *other <= end);
        self.ends.insert(place, end);
        Reply::status(200).after(end - now)
    }
}
