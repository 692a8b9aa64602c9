//! The rules of an adaptive limit, told the time, for one caller at a time.
//!
//! It goes in rounds, each of about as many deliveries as there may be attempts under way. A round in which latencies
//! are those of a webhook where nobody stands in line raises the limit, if it was used. One in which they are longer
//! lowers it, by as much as they are longer. What remains is a small line at the webhook, to which each replica adds as
//! much as any other that has the same limit, so that all come to the same share.
//!
//! The latency without a line is not known, and changes. So the limit is halved for a moment now and then, where requests
//! seem to stand in line, and what is measured then counts. All replicas do that at the same time by the clock on the
//! wall: halved by one alone, a line of many would hardly become shorter.

use std::time::Duration;

use super::{
    changes::{Change, Changes},
    tally::Tally,
};
use crate::base::clock::Time;

/// What a webhook of which nothing is known is tried with.
const FIRST: f64 = 4.0;
/// By how much latencies may be longer than without a line: less can't be told from chance, and a short line keeps the
/// webhook busy between two requests.
const TOLERANCE: f64 = 1.05;
/// A wait in line so short, in seconds, that nobody minds: at webhooks that answer in less than a millisecond it is our
/// own work that is waited for.
const UNNOTICED: f64 = 0.001;
/// A round has at least so many deliveries, and lasts at least so long: those of one moment tell of that moment.
const FEWEST: f64 = 4.0;
const SHORTEST: Duration = Duration::from_millis(20);
/// A round goes on until its mean is known so well (as a part of it), but for no more than so many latencies: who makes
/// few attempts must not decide less often than who makes many. At first the limit is so far off that less will do.
const PRECISE: f64 = 0.05;
const COARSE: f64 = 0.25;
const LONGEST: f64 = 4.0;
/// How many standard errors may be chance, and how many hardly are.
const CHANCE: f64 = 1.5;
const NO_CHANCE: f64 = 3.0;
/// How much a trial counts that agrees with what was known before.
const NEWS: f64 = 0.3;
/// No round lowers the limit to less than this part of it.
const LARGEST_CUT: f64 = 0.5;
/// After so many good rounds in a row the steps become longer, up to this part of the limit. The first ones are as long
/// as the line, for all who share a webhook, whatever they have: only so they come to the same.
const SMALL_STEPS: u32 = 4;
const LARGEST_STEP: f64 = 0.25;
/// Latencies that fall by less than this (as a logarithm) in a trial have not fallen.
const NO_DIFFERENCE: f64 = 0.05;
/// How much of the limit is left in a trial.
const TRIAL: f64 = 0.5;
/// Trials come at multiples of this time, and of so many latencies.
const BETWEEN_TRIALS: Duration = Duration::from_secs(16);
const LATENCIES_BETWEEN_TRIALS: f64 = 60.0;
/// Where a webhook refuses more than so many, the limit falls to this part of that, and rises again to the second.
const FALL: f64 = 0.85;
const BELOW_CEILING: f64 = 0.95;
/// For how long. It doubles as long as the webhook still refuses about as many.
const FIRST_HOLD: Duration = Duration::from_secs(10);
const LONGEST_HOLD: Duration = Duration::from_secs(320);
const ABOUT: f64 = 0.2;
/// A webhook that refuses so many times, each time before it has taken as many as there may be under way, does not mind
/// how many come at a time, but how many come a second.
const STRIKES: u32 = 4;

/// The limit of a route, for one caller at a time.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    min: f64,
    max: f64,
    limit: f64,
    /// How many rounds have raised it in a row.
    raises: u32,
    /// The logarithm of the latency without a line, as far as it is known.
    base: Option<f64>,
    round: Tally,
    /// When the round began: attempts from before say nothing of the present limit.
    since: Time,
    stage: Stage,
    /// When the next trial is, where there is a reason for one.
    next_trial: Time,
    ceiling: Option<Ceiling>,
    /// How many deliveries there were since the webhook last refused something.
    taken: u32,
    strikes: u32,
    changes: Changes,
}

/// How far the search has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// It was never too high.
    Rising,
    /// In no round since the last trial did requests stand in line.
    Clear,
    /// In the last round, or in one before, they did. One alone may be a hiccup.
    Suspected { last: bool },
    /// The limit is lowered for a trial; this is what it was, and the latency (as a logarithm).
    Trial { limit: f64, mean: f64 },
}

/// What the webhook has refused.
#[derive(Clone, Copy, Debug)]
struct Ceiling {
    /// So many it would have taken.
    at: f64,
    from: Time,
    hold: Duration,
}

impl Controller {
    /// Begins slowly, and stays from `min` to `max`.
    pub(super) fn new(min: usize, max: usize) -> Self {
        let (min, max) = (min as f64, max as f64);
        let limit = FIRST.clamp(min, max);
        Self {
            min,
            max,
            limit,
            raises: 0,
            base: None,
            round: Tally::default(),
            since: Time::START,
            stage: Stage::Rising,
            next_trial: Time::START,
            ceiling: None,
            taken: 0,
            strikes: 0,
            changes: Changes::default(),
        }
    }

    /// How many attempts may be under way.
    #[expect(clippy::cast_possible_truncation, reason = "it is from 1 to the maximum, which is a usize")]
    pub(super) const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How often it was changed, and why.
    pub(super) const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Has it at `limit` from now on, for this reason.
    fn change(&mut self, limit: f64, why: Change) {
        let before = self.limit();
        self.limit = limit;
        // Parts of an attempt can't be seen by anybody.
        if self.limit() != before {
            self.changes.count(why);
        }
    }

    /// From when on attempts tell of the present limit.
    pub(super) const fn since(&self) -> Time {
        self.since
    }

    /// Takes note of deliveries that began after [`Self::since`]. At the start of time the clock on the wall said `wall`.
    pub(super) fn delivered(&mut self, tally: &Tally, now: Time, wall: Duration) {
        self.taken = self.taken.saturating_add(tally.count());
        self.round.merge(tally);
        let is_due = matches!(self.stage, Stage::Suspected { .. }) && now >= self.next_trial;
        if is_due && self.round.limited && self.round.count() > 0 {
            self.try_less(now, self.round.mean());
        } else if self.round_is_over(now) {
            let round = std::mem::take(&mut self.round);
            self.since = now;
            match self.stage {
                Stage::Trial { limit, mean } => {
                    self.change(limit, Change::Tried);
                    self.learn(mean, &round, now, wall);
                }
                _ => self.follow(&round, now),
            }
        }
    }

    fn round_is_over(&self, now: Time) -> bool {
        let count = self.round.count();
        let is_long = f64::from(count) >= self.limit.max(FEWEST) && now.since(self.since) >= SHORTEST;
        let (precise, longest) = match self.stage {
            Stage::Rising => (COARSE, LONGEST),
            Stage::Trial { .. } => (PRECISE / 2.0, 2.0 * LONGEST),
            _ => (PRECISE, LONGEST),
        };
        let longest = seconds(self.round.mean()).mul_f64(longest);
        is_long && (self.round.error() <= precise || now.since(self.since) >= longest)
    }

    fn follow(&mut self, round: &Tally, now: Time) {
        let (mean, error) = (round.mean(), round.error());
        let base = self.base.filter(|base| mean + NO_CHANCE * error >= *base).unwrap_or(mean);
        self.base = Some(base);
        if mean - CHANCE * error <= allowed(base) {
            if let Stage::Suspected { last } = &mut self.stage {
                *last = false;
            }
            if round.limited {
                self.grow(now);
            }
            return;
        }
        self.raises = 0;
        match self.stage {
            Stage::Rising if round.limited => self.try_less(now, mean),
            Stage::Suspected { last: true } => {
                let part = (allowed(base) - mean).exp().max(LARGEST_CUT);
                let cut = self.limit * part + self.line();
                // A limit that is not used is not what makes them stand in line.
                let least = if round.limited { self.min } else { 2.0 * round.peak as f64 };
                self.change(cut.max(least).min(self.limit), Change::Slower);
            }
            _ => self.stage = Stage::Suspected { last: true },
        }
    }

    /// Lowers the limit, to see how long the webhook takes without a line. What is there already takes about as long as
    /// this `mean`.
    fn try_less(&mut self, now: Time, mean: f64) {
        self.stage = Stage::Trial { limit: self.limit, mean };
        self.change((self.limit * TRIAL).max(self.min), Change::Trial);
        self.round = Tally::default();
        self.since = now + seconds(mean).max(SHORTEST);
    }

    /// The trial is over: its `round` says how long the webhook takes without a line, where it took `before` with one.
    fn learn(&mut self, before: f64, round: &Tally, now: Time, wall: Duration) {
        let latency = round.mean();
        // Where it may be chance that it differs from what was known, that counts too.
        let known = self.base.filter(|base| (base - latency).abs() <= NO_CHANCE * round.error());
        let learned = known.map_or(latency, |base| base + (latency - base) * NEWS);
        // Where it is shorter than before there is a line. What others have in it may still be there, so that it says
        // nothing of a webhook that has become slower.
        let has_line = before - latency > NO_DIFFERENCE;
        self.base = Some(if has_line { learned.min(self.base.unwrap_or(learned)) } else { learned });
        self.raises = 0;
        self.stage = Stage::Clear;
        self.next_trial = trial_after(now, wall, latency.exp());
    }

    /// How many of our requests may stand in line. The same for all who have the same limit, so that of two senders the
    /// larger one loses more and wins less.
    fn line(&self) -> f64 {
        self.limit.sqrt().max(1.0)
    }

    fn grow(&mut self, now: Time) {
        let held = self.ceiling.filter(|ceiling| now < ceiling.from + ceiling.hold);
        let most =
            held.map_or(self.max, |ceiling| (ceiling.at * BELOW_CEILING).ceil().clamp(self.min, self.max));
        if self.limit >= most {
            self.raises = 0;
            return;
        }
        self.change((self.limit + self.step()).min(most), Change::Quick);
        self.raises += 1;
    }

    /// By how much a good round raises the limit.
    fn step(&self) -> f64 {
        let is_near = |ceiling: &Ceiling| self.limit < ceiling.at * (1.0 + ABOUT);
        if self.ceiling.as_ref().is_some_and(is_near) {
            return 1.0;
        }
        if self.stage == Stage::Rising {
            return self.limit;
        }
        let longer = self.raises.saturating_sub(SMALL_STEPS).min(16);
        let line = self.line();
        (line * f64::from(1_u32 << longer)).min((self.limit * LARGEST_STEP).max(line))
    }

    /// Takes note that the webhook had too much with so many `under_way`, by an attempt that began at `began`. Whether
    /// fewer at a time may be what it wants.
    pub(super) fn refused(&mut self, began: Time, now: Time, under_way: usize) -> bool {
        if began >= self.since {
            self.strikes =
                if f64::from(self.taken) < self.limit { self.strikes.saturating_add(1) } else { 1 };
            // One that takes nothing is not full but down, and that is the business of others.
            if std::mem::take(&mut self.taken) > 0 || self.strikes < STRIKES {
                self.fall(now, under_way);
            }
            self.round = Tally::default();
            self.since = now;
        }
        self.strikes < STRIKES
    }

    /// Goes below what was too much, for a while.
    fn fall(&mut self, now: Time, under_way: usize) {
        let at = (under_way as f64 - 1.0).clamp(self.min, self.limit.max(self.min));
        let is_about = |former: &Ceiling| (former.at - at).abs() <= ABOUT * former.at.max(at);
        let hold = match self.ceiling.filter(is_about) {
            Some(former) if self.strikes == 1 => (former.hold * 2).min(LONGEST_HOLD),
            Some(former) => former.hold,
            None => FIRST_HOLD,
        };
        self.ceiling = Some(Ceiling { at, from: now, hold });
        self.change((at * FALL).max(self.min), Change::Refused);
        self.raises = 0;
        self.stage = Stage::Clear;
    }
}

/// The duration of this logarithm.
fn seconds(log: f64) -> Duration {
    Duration::try_from_secs_f64(log.exp()).unwrap_or(Duration::MAX)
}

/// The longest latency with a line that is not too long, where it is `base` without one. All are logarithms.
fn allowed(base: f64) -> f64 {
    (base.exp() * TOLERANCE + UNNOTICED).ln()
}

/// When the next trial is, where the webhook takes so many seconds: at a multiple of a power of two, so that those who
/// take it to be faster or slower are there too.
fn trial_after(now: Time, wall: Duration, latency: f64) -> Time {
    let mut every = BETWEEN_TRIALS;
    while every.as_secs_f64() < latency * LATENCIES_BETWEEN_TRIALS {
        every *= 2;
    }
    let passed = (wall + now.since_start()).as_nanos() % every.as_nanos();
    now + (every - Duration::from_nanos(u64::try_from(passed).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
