//! Receivers: so many servers, each of which takes some time for a request, and a line before them.

use std::{collections::VecDeque, time::Duration};

use crate::{base::clock::Time, route::schedule::simulation::webhook::Chance};

/// How long a request takes at a server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    /// The same each time.
    Steady,
    /// Between half as long and half as long again.
    Even,
    /// Most are quick, and few take very long (log-normal, σ = 1: one of a hundred takes ten times the median).
    HeavyTailed,
}

/// What a receiver refuses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Nothing,
    /// More at the same time than this, with this status.
    Beyond(usize, u16),
    /// More than so many a second, after so many at once, with 429.
    Faster(f64, f64),
}

/// How a receiver is from a time on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    pub(super) from: Time,
    pub(super) servers: usize,
    pub(super) service: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// In the order of time. The first counts from the start.
    pub(super) conditions: Vec<Condition>,
    spread: Spread,
    refusal: Refusal,
    /// Between a request and its answer, when it takes no time to serve it.
    pub(super) network: Duration,
    /// How long after its start it takes longer, up to five times as long.
    cold: Duration,
    tokens: f64,
    filled: Time,
    busy: usize,
    line: VecDeque<u64>,
}

pub(super) enum Arrival {
    /// Served at once, for so long.
    Served(Duration),
    InLine,
    Refused(u16),
}

impl Receiver {
    pub(super) fn new(servers: usize, service: Duration) -> Self {
        Self {
            conditions: vec![Condition { from: Time::START, servers, service }],
            spread: Spread::Even,
            refusal: Refusal::Nothing,
            network: Duration::from_millis(2),
            cold: Duration::ZERO,
            tokens: 0.0,
            filled: Time::START,
            busy: 0,
            line: VecDeque::new(),
        }
    }

    pub(super) const fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    pub(super) const fn refusing(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }

    pub(super) const fn network(mut self, network: Duration) -> Self {
        self.network = network;
        self
    }

    pub(super) const fn cold(mut self, cold: Duration) -> Self {
        self.cold = cold;
        self
    }

    pub(super) fn then(mut self, from: Time, servers: usize, service: Duration) -> Self {
        self.conditions.push(Condition { from, servers, service });
        self
    }

    pub(super) fn condition(&self, now: Time) -> Condition {
        *self.conditions.iter().rev().find(|condition| condition.from <= now).unwrap_or(&self.conditions[0])
    }

    /// The most that it serves a second.
    pub(super) fn capacity(&self, now: Time) -> f64 {
        let Condition { servers, service, .. } = self.condition(now);
        let serves = servers as f64 / service.as_secs_f64();
        match self.refusal {
            Refusal::Faster(rate, _) => serves.min(rate),
            Refusal::Beyond(most, _) => serves.min(most as f64 / service.as_secs_f64()),
            Refusal::Nothing => serves,
        }
    }

    pub(super) fn in_line(&self) -> usize {
        self.line.len()
    }

    fn in_hand(&self) -> usize {
        self.busy + self.line.len()
    }

    pub(super) fn arrive(&mut self, request: u64, now: Time, chance: &mut Chance) -> Arrival {
        match self.refusal {
            Refusal::Beyond(most, status) if self.in_hand() >= most => return Arrival::Refused(status),
            Refusal::Faster(rate, burst) => {
                self.tokens = (self.tokens + rate * now.since(self.filled).as_secs_f64()).min(burst);
                self.filled = now;
                if self.tokens < 1.0 {
                    return Arrival::Refused(429);
                }
                self.tokens -= 1.0;
            }
            _ => {}
        }
        if self.busy < self.condition(now).servers {
            self.busy += 1;
            return Arrival::Served(self.service(now, chance));
        }
        self.line.push_back(request);
        Arrival::InLine
    }

    /// One of the servers is done.
    pub(super) fn served(&mut self) {
        self.busy -= 1;
    }

    /// The next of the line that a server has time for.
    pub(super) fn next(&mut self, now: Time, chance: &mut Chance) -> Option<(u64, Duration)> {
        if self.busy >= self.condition(now).servers {
            return None;
        }
        let request = self.line.pop_front()?;
        self.busy += 1;
        Some((request, self.service(now, chance)))
    }

    fn service(&self, now: Time, chance: &mut Chance) -> Duration {
        // The mean of each is 1.
        let factor = match self.spread {
            Spread::Steady => 1.0,
            Spread::Even => 0.5 + chance.fraction(),
            Spread::HeavyTailed => (chance.normal() - 0.5).exp(),
        };
        let age = now.since_start().as_secs_f64() / self.cold.as_secs_f64().max(1e-9);
        let cold = 1.0 + 4.0 * (1.0 - age).max(0.0);
        self.condition(now).service.mul_f64(factor * cold)
    }
}

impl Chance {
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.fraction(), self.fraction());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}
