//! The rules of a [pace](super), told the time, for one caller at a time.

use std::time::Duration;

use crate::base::clock::Time;

/// The first wait for a webhook that does not say how long. It doubles as long as nothing is taken.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What a webhook that was never measured is tried with at first: attempts a second.
const UNMEASURED: f64 = 20.0;
/// So much of what was measured is used: to be a little too slow costs less than to be refused.
const MARGIN: f64 = 0.95;
/// So many deliveries prove a rate, before it is raised: few at first, as a `Retry-After` in whole seconds makes the
/// first measurement a coarse one, and more each time that a raise went wrong.
const FIRST_PROOF: u32 = 5;
const PROOF: u32 = 20;
const MOST_PROOF: u32 = 640;
/// At a low rate that would take too long: a few deliveries in this time do as well.
const LONGEST_PROOF: Duration = Duration::from_secs(30);
/// How much a measured rate is raised the first time, and once a raise went wrong. Each raise that holds doubles the
/// next.
const FIRST_RAISE: f64 = 0.5;
const RAISE: f64 = 0.05;
const LARGEST_RAISE: f64 = 1.0;
/// No raise comes sooner after another.
const SETTLE: Duration = Duration::from_secs(1);
/// From here on, attempts a second are not limited any more.
const UNLIMITED: f64 = 1000.0;
const SLOWEST: f64 = 1.0 / 60.0;
/// After a rate that came out as too high, it falls to this much of it where nothing better is known.
const FALL: f64 = 0.8;
/// How long to wait for the outcome of a probe before looking again: it may come in on another lane, which wakes nobody
/// here.
const RECHECK: Duration = Duration::from_millis(50);
/// A probe that was not heard of for so long was broken off.
const PROBE_LOST: Duration = Duration::from_secs(60);
/// For how long "later" to some messages is not taken for a limit to the rate.
const SELECTIVE: Duration = Duration::from_secs(60);

/// The pace of a route, for one caller at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Controller {
    phase: Phase,
    /// Waits in a row that no delivery has followed.
    waits: u32,
    /// Deliveries and their time since attempts last went on: what the rate is measured by.
    since: Time,
    delivered: u32,
    /// The rate before the last "less".
    exceeded: f64,
    /// The highest rate that has held.
    proven: Option<f64>,
    /// How many deliveries prove a rate.
    proof: u32,
    /// When a decision was last made: what began before says nothing about it.
    decided: Time,
    selective_until: Time,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Unlimited,
    /// Nothing until `until`, then one attempt, which began at `probe`.
    Waiting { until: Time, probe: Option<Time> },
    /// `rate` attempts a second, the next at `next`.
    Paced { rate: f64, raise: f64, next: Time, held: u32, raised: Time },
}

impl Controller {
    pub(super) const fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Unlimited)
    }

    pub(super) const fn rate(&self) -> Option<f64> {
        match self.phase {
            Phase::Unlimited => None,
            Phase::Waiting { .. } => self.proven,
            Phase::Paced { rate, .. } => Some(rate),
        }
    }

    /// From when on an attempt may begin.
    pub(super) fn opens(&self, now: Time) -> Time {
        match self.phase {
            Phase::Unlimited => Time::START,
            Phase::Waiting { until, probe: None } => until,
            Phase::Waiting { probe: Some(began), .. } => {
                let lost = began + PROBE_LOST;
                if lost <= now { Time::START } else { lost.min(now + RECHECK) }
            }
            Phase::Paced { next, .. } => next,
        }
    }

    /// Takes the permission for an attempt at `now`, or says when to ask again.
    pub(super) fn admit(&mut self, now: Time) -> Result<(), Time> {
        let opens = self.opens(now);
        if opens > now {
            return Err(opens);
        }
        match &mut self.phase {
            Phase::Unlimited => {}
            Phase::Waiting { probe, .. } => *probe = Some(now),
            Phase::Paced { rate, next, .. } => {
                let interval = Duration::from_secs_f64(1.0 / *rate);
                if now.since(*next) > interval * 2 + SETTLE {
                    // Nobody had anything to send: that says nothing about the webhook.
                    (self.since, self.delivered) = (now, 0);
                }
                // Timers are late by a moment, and at high rates that may be caught up with.
                let catch_up = Duration::from_millis(10).saturating_sub(interval);
                *next = (*next).max(now.before(catch_up)) + interval;
            }
        }
        Ok(())
    }

    pub(super) fn has_decided_since(&self, began: Time) -> bool {
        began < self.decided
    }

    pub(super) fn is_about_messages(&self, now: Time) -> bool {
        now < self.selective_until
    }

    pub(super) fn throttled(&mut self, began: Time, now: Time, asked: Option<Duration>) -> Option<Duration> {
        if self.is_about_messages(now) {
            return None;
        }
        if self.has_decided_since(began) {
            // It began before the wait, and tells nothing new but how long the webhook wants it.
            return asked;
        }
        self.exceeded = match self.phase {
            Phase::Paced { rate, .. } => rate,
            Phase::Unlimited => {
                (self.proven, self.proof, self.delivered) = (None, FIRST_PROOF, 0);
                0.0
            }
            Phase::Waiting { .. } => self.exceeded,
        };
        let own = FIRST_WAIT.saturating_mul(1 << self.waits.min(16)).min(LONGEST_WAIT);
        self.waits += 1;
        // A webhook that names a time and refuses again when it is over has named too short a one.
        let wait = asked.map_or(own, |asked| asked.max(if self.waits > 2 { own } else { asked }));
        self.phase = Phase::Waiting { until: now + wait, probe: None };
        self.decided = now;
        Some(wait)
    }

    pub(super) fn delivered(&mut self, began: Time, now: Time) {
        match &mut self.phase {
            Phase::Unlimited => {}
            Phase::Waiting { probe: Some(probe), .. } if began >= *probe => {
                let probe = *probe;
                self.go_on(probe, now);
            }
            // From before the wait.
            Phase::Waiting { .. } => self.delivered += 1,
            Phase::Paced { rate, raise, held, raised, next } => {
                self.delivered += 1;
                *held += 1;
                let age = now.since(*raised);
                let holds = *held >= self.proof || (*held >= FIRST_PROOF && age >= LONGEST_PROOF);
                if !holds || age < SETTLE {
                    return;
                }
                self.proven = Some(*rate);
                *rate *= 1.0 + *raise;
                *raise = (*raise * 2.0).min(LARGEST_RAISE);
                (*held, *raised) = (0, now);
                *next = (*next).min(now + Duration::from_secs_f64(1.0 / *rate));
                if *rate >= UNLIMITED {
                    self.phase = Phase::Unlimited;
                }
            }
        }
    }

    /// The probe that began at `probe` was taken: at what rate to go on.
    fn go_on(&mut self, probe: Time, now: Time) {
        let measured = (self.delivered > 0)
            .then(|| f64::from(self.delivered) / probe.since(self.since).as_secs_f64().max(0.001) * MARGIN);
        let (rate, raise) = match (self.proven, measured) {
            // The last raise was too much.
            (Some(proven), _) if proven < self.exceeded => {
                self.proof = (self.proof * 2).clamp(PROOF, MOST_PROOF);
                (proven, RAISE)
            }
            (proven, Some(measured)) if self.exceeded > 0.0 => {
                let raise = if proven.is_some() { RAISE } else { FIRST_RAISE };
                self.proven = None;
                (measured.min(self.exceeded), raise)
            }
            (_, None) if self.exceeded > 0.0 => {
                self.proven = None;
                (self.exceeded * FALL, RAISE)
            }
            _ => (UNMEASURED, LARGEST_RAISE),
        };
        let rate = rate.max(SLOWEST);
        (self.since, self.delivered, self.waits) = (probe, 1, 0);
        let next = (probe + Duration::from_secs_f64(1.0 / rate)).max(now);
        self.phase = Phase::Paced { rate, raise, next, held: 0, raised: now };
    }

    /// Takes note of an attempt that failed for another reason: where it was the probe, another is due.
    pub(super) fn told_nothing(&mut self, began: Time) {
        if let Phase::Waiting { probe, .. } = &mut self.phase
            && *probe == Some(began)
        {
            *probe = None;
        }
        // While it does not work, what it takes says nothing about its rate.
        (self.since, self.delivered) = (began, 0);
    }

    pub(super) fn is_selective(&mut self, now: Time) {
        *self = Self { selective_until: now + SELECTIVE, ..Self::default() };
    }
}

#[cfg(test)]
mod tests;
